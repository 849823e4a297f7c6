import {
  equalBytes,
  isLeft,
  nextHead,
  openTransaction,
  TidemarkError,
  type Hash,
} from '@tidemark/model';
import type { LogEnd, LogEntry, StoreDamage } from '@tidemark/ports';
import type { Database } from './database.js';
import { lastOf, visitLog, type LogExtent } from './level-op-log.js';

/** Number of newest operations whose chain is verified at open. */
export const verifiedOperationsMax = 100_000;
/** Maximum number of separate damages of a log that are listed; the last one counts the others. */
export const listedDamagesMax = 100;

const operations = (first: number, last: number): string => `operations ${first}..${last}`;

/** Collects damages up to the bound, then counts. */
class DamageList {
  readonly #list: StoreDamage[] = [];
  #more = 0;

  add(damage: StoreDamage): void {
    if (this.#list.length < listedDamagesMax) this.#list.push(damage);
    else this.#more += damage.count;
  }

  finish(): readonly StoreDamage[] {
    return this.#more === 0
      ? this.#list
      : [...this.#list, { kind: 'log-hole', where: 'further operations', count: this.#more }];
  }
}

/** Verifies one entry against the head before it; an unknown head (behind a hole) is taken on trust. */
const isIntact = (entry: LogEntry, before: Uint8Array | undefined, hash: Hash): boolean => {
  const opened = openTransaction(entry.bytes, hash);
  if (isLeft(opened)) {
    if (opened.left === 'newer-format')
      throw new TidemarkError('newer-format', 'a newer version wrote transactions of this log', {
        index: entry.index,
      });
    return false;
  }
  if (opened.right.opCount !== entry.opCount) return false;
  return before === undefined || equalBytes(nextHead(before, opened.right, hash), entry.head);
};

/**
 * Verifies the log: indexes without a gap from the first kept, and the chain over the stored bytes of the
 * newest 100,000 operations. `noted` is where the newest batch said that the log ended.
 */
export const checkLog = async (
  database: Database,
  extent: LogExtent,
  noted: LogEnd | undefined,
  hash: Hash,
): Promise<readonly StoreDamage[]> => {
  const damages = new DamageList();
  const start = Math.max(extent.first, extent.end.lastIndex - verifiedOperationsMax + 1);
  let expected: number | undefined = start === extent.first ? start : undefined;
  let head: Uint8Array | undefined = start === extent.first ? extent.headBefore : undefined;
  await visitLog(database, start, (entries) => {
    for (const entry of entries) {
      if (expected !== undefined && entry.index > expected) {
        const where = operations(expected, entry.index - 1);
        damages.add({ kind: 'log-hole', where, count: entry.index - expected });
        head = undefined;
      }
      if (!isIntact(entry, head, hash))
        damages.add({
          kind: 'log-hole',
          where: `${operations(entry.index, lastOf(entry))} altered`,
          count: entry.opCount,
        });
      head = entry.head;
      expected = lastOf(entry) + 1;
    }
    return true;
  });
  if (noted !== undefined && noted.lastIndex > extent.end.lastIndex) {
    const where = operations(extent.end.lastIndex + 1, noted.lastIndex);
    damages.add({ kind: 'log-tail', where, count: noted.lastIndex - extent.end.lastIndex });
  } else if (noted !== undefined && noted.lastIndex < extent.end.lastIndex) {
    const where = `${operations(noted.lastIndex + 1, extent.end.lastIndex)} came back`;
    damages.add({ kind: 'log-tail', where, count: extent.end.lastIndex - noted.lastIndex });
  }
  return damages.finish();
};
