import { createHash } from 'node:crypto';
import type { Durability, LogEntry } from '@tidemark/ports';

/** Name of a transaction for ever: hash of its stored bytes, which hold a salt of their own. */
export const transactionName = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex').slice(0, 24);

/** A transaction that an application was told is saved. */
export interface Promised {
  readonly name: string;
  readonly first: number;
  readonly last: number;
  readonly durability: Durability;
  readonly what: string;
}

/** What a device promised its application, and what it handed to its disk. */
export class PromiseBook {
  /** In log order. */
  promised: Promised[] = [];
  /** By index of the first operation: what was offered to the disk last under that index. */
  readonly offered = new Map<number, { readonly name: string; readonly opCount: number }>();
  /** Every transaction that went out to a server. */
  readonly published = new Set<string>();
  /** So many of the first promises are known to be folded: what was folded stays so. */
  #folded = 0;

  /** First promise that no server has folded. `names` only grows. */
  firstUnfolded(names: ReadonlySet<string>): Promised | undefined {
    for (; ; this.#folded += 1) {
      const next = this.promised[this.#folded];
      if (next === undefined || !names.has(next.name)) return next;
    }
  }

  noteOffered(entries: readonly LogEntry[]): readonly string[] {
    return entries.map(({ index, opCount, bytes }) => {
      const name = transactionName(bytes);
      this.offered.set(index, { name, opCount });
      return name;
    });
  }

  /** An edit that stored the operations `first`..`last` was confirmed. */
  notePromised(first: number, last: number, durability: Durability, what: string): void {
    for (let index = first; index <= last;) {
      const offered = this.offered.get(index);
      if (offered === undefined) throw new Error(`nothing was stored at ${index}`);
      const end = index + offered.opCount - 1;
      this.promised.push({ name: offered.name, first: index, last: end, durability, what });
      index = end + 1;
    }
  }

  /** Keeps the promises with these names; the others are dropped and told. */
  keepOnly(names: ReadonlySet<string>): readonly Promised[] {
    const others = this.promised.filter(({ name }) => !names.has(name));
    this.promised = this.promised.filter(({ name }) => names.has(name));
    this.#folded = 0;
    return others;
  }

  /** Promises above the end of a log that lost its tail; they are dropped. */
  takeAbove(lastIndex: number): readonly Promised[] {
    const lost = this.promised.filter(({ last }) => last > lastIndex);
    this.promised = this.promised.filter(({ last }) => last <= lastIndex);
    this.#folded = 0;
    return lost;
  }
}
