import {
  emptyHead,
  equalBytes,
  eraseTransaction,
  isLeft,
  nextHead,
  openTransaction,
  storeTransaction,
  TidemarkError,
  toHex,
  transactionOpsMax,
  type Hash,
  type StoredTransaction,
} from '@tidemark/model';
import type { LogEntry } from '@tidemark/ports';
import type { LostRange } from './local-replica.js';
import { headAt, rewrapped, writeMark } from './log-upkeep.js';
import type { ReplicaCore } from './replica-core.js';

const bytesPerRead = 1024 * 1024;
const provisionalBytes = 16;

const lastOf = (entry: LogEntry): number => entry.index + entry.opCount - 1;

/** Visits the entries from an index on; the log may have holes. */
const visitEntries = async (
  core: ReplicaCore,
  from: number,
  visit: (entry: LogEntry) => void,
): Promise<void> => {
  const { log } = core.store;
  let at = from;
  while (at <= log.end().lastIndex) {
    const entries = await log.read(at, bytesPerRead);
    if (entries.length === 0) return;
    for (const entry of entries) visit(entry);
    at = lastOf(entries[entries.length - 1] as LogEntry) + 1;
  }
};

/** Takes an entry apart; undefined when it does not follow the head before it. */
const opened = (
  entry: LogEntry,
  before: Uint8Array | undefined,
  hash: Hash,
): StoredTransaction | undefined => {
  const found = openTransaction(entry.bytes, hash);
  if (isLeft(found) || found.right.opCount !== entry.opCount) return undefined;
  const follows =
    before === undefined || equalBytes(nextHead(before, found.right, hash), entry.head);
  return follows ? found.right : undefined;
};

/** Operations that the log does not hold any more, or holds altered: ascending ranges. */
export const findLost = async (core: ReplicaCore): Promise<readonly LostRange[]> => {
  const lost: { from: number; to: number }[] = [];
  const add = (from: number, to: number): void => {
    const last = lost.at(-1);
    if (last !== undefined && last.to === from - 1) last.to = to;
    else lost.push({ from, to });
  };
  const { sha256 } = core.options.crypto;
  const first = core.store.log.firstIndex();
  let expected = first;
  // What lies before the first transaction that is kept, or in a hole, is unknown: taken on trust.
  let head: Uint8Array | undefined = first === 1 ? emptyHead : undefined;
  await visitEntries(core, first, (entry) => {
    if (entry.index > expected) {
      add(expected, entry.index - 1);
      head = undefined;
    }
    if (opened(entry, head, sha256) === undefined) add(entry.index, lastOf(entry));
    head = entry.head;
    expected = lastOf(entry) + 1;
  });
  return lost;
};

/** Erased transactions in the place of lost operations: the server reports each as unreadable. */
const placeholders = (core: ReplicaCore, { from, to }: LostRange): readonly LogEntry[] => {
  const { sha256 } = core.options.crypto;
  const out: LogEntry[] = [];
  for (let index = from; index <= to; index += transactionOpsMax) {
    const opCount = Math.min(transactionOpsMax, to - index + 1);
    const empty = storeTransaction(opCount, core.random(16), new Uint8Array(0));
    const found = openTransaction(empty, sha256);
    if (isLeft(found)) continue;
    out.push({ index, opCount, head: emptyHead, bytes: eraseTransaction(found.right) });
  }
  return out;
};

/**
 * Closes the holes of the log from the first of `lost` on: erased transactions take the place of what is
 * lost, so that indexes and distances between operations stay; all behind is chained anew, its bytes
 * unchanged, under a provisional epoch. Only the holder of the write turn calls it. False when the log
 * cannot tell the head before the first hole.
 */
export const mendLog = async (core: ReplicaCore, lost: readonly LostRange[]): Promise<boolean> => {
  const [first] = lost;
  if (first === undefined) return true;
  const { sha256 } = core.options.crypto;
  const before = await headAt(core, first.from - 1);
  if (before === undefined) return false;
  const entries: LogEntry[] = lost.flatMap((range) => placeholders(core, range));
  const isLost = (index: number): boolean =>
    lost.some(({ from, to }) => index >= from && index <= to);
  await visitEntries(core, first.from, (entry) => {
    if (!isLost(entry.index)) entries.push(entry);
  });
  entries.sort((a, b) => a.index - b.index);
  let head = before;
  const append: LogEntry[] = [];
  for (const entry of entries) {
    const found = openTransaction(entry.bytes, sha256);
    if (isLeft(found)) return false;
    head = nextHead(head, found.right, sha256);
    append.push({ ...entry, head });
  }
  const { meta } = core;
  await core.commit({
    batch: { cutLogFrom: first.from, append },
    meta: rewrapped(meta, {
      epoch: meta.epoch,
      provisional: meta.awaitsGrant ? meta.provisional : toHex(core.random(provisionalBytes)),
      granted: false,
      above: first.from - 1,
    }),
    durability: 'disk',
  });
  await writeMark(core);
  return true;
};

/**
 * Closes holes among operations that were published before, now that a receipt tells what the server has.
 * Rejects with `storage-unavailable` when it did: the log goes on in an epoch that is not granted yet.
 */
export const closeHoles = (core: ReplicaCore): Promise<void> =>
  core.turn.run(async () => {
    const { mergedTo } = core.meta;
    const found = await findLost(core);
    const lost = found.filter(({ to }) => to > mergedTo);
    if (lost.length > 0 && !(await mendLog(core, lost)))
      throw new TidemarkError('storage-damaged', 'the log begins with a hole', {
        from: lost[0]?.from ?? 0,
      });
    core.logHasHoles = found.length > lost.length;
    if (lost.length > 0)
      throw new TidemarkError('storage-unavailable', 'the log was mended; the next run goes on', {
        lost: lost.reduce((sum, { from, to }) => sum + to - from + 1, 0),
      });
  });
