import {
  decodeTransaction,
  isLeft,
  openTransaction,
  type Hash,
  type Operation,
  type Transaction,
} from '@tidemark/model';
import type { LogEntry, OpLog } from '@tidemark/ports';

/** Stored bytes of decoded transactions that are kept: records share transactions, in any order. */
const keptBytesMax = 4 * 1024 * 1024;

/** Operation of the log with its transaction. */
export interface LogOperation {
  readonly index: number;
  readonly op: Operation;
  readonly transaction: Transaction;
}

/** Decodes the transaction of a log entry; `undefined` when it was erased or cannot be read. */
export const transactionOf = (entry: LogEntry, hash: Hash): Transaction | undefined => {
  const opened = openTransaction(entry.bytes, hash);
  if (isLeft(opened) || opened.right.payload === undefined) return undefined;
  const decoded = decodeTransaction(opened.right.payload);
  return isLeft(decoded) ? undefined : decoded.right;
};

interface Kept {
  readonly index: number;
  readonly opCount: number;
  readonly bytes: number;
  readonly transaction: Transaction | undefined;
}

/**
 * Reads single operations of a log, keeping the transactions that it decoded last. Made for one piece of
 * work on one record after the other.
 */
export class LogOperations {
  readonly #log: OpLog;
  readonly #hash: Hash;
  /** Transactions of several operations by each of their indexes. */
  readonly #byIndex = new Map<number, Kept>();
  /** The same in the order of their use, the longest unused one first. */
  readonly #kept = new Set<Kept>();
  #keptBytes = 0;

  constructor(log: OpLog, hash: Hash) {
    this.#log = log;
    this.#hash = hash;
  }

  /** Operation at an index; `undefined` when the log does not hold it any more or it was erased. */
  async at(index: number): Promise<LogOperation | undefined> {
    const kept = this.#held(index) ?? (await this.#fetch(index));
    const op = kept?.transaction?.ops[index - kept.index];
    return op === undefined || kept?.transaction === undefined
      ? undefined
      : { index, op, transaction: kept.transaction };
  }

  #held(index: number): Kept | undefined {
    const kept = this.#byIndex.get(index);
    if (kept === undefined) return undefined;
    this.#kept.delete(kept);
    this.#kept.add(kept);
    return kept;
  }

  async #fetch(index: number): Promise<Kept | undefined> {
    const [entry] = await this.#log.read(index, 1);
    // In a hole the log answers with what follows it.
    if (entry === undefined || entry.index > index) return undefined;
    const kept: Kept = {
      index: entry.index,
      opCount: entry.opCount,
      bytes: entry.bytes.length,
      transaction: transactionOf(entry, this.#hash),
    };
    // A transaction of one operation is asked for once.
    if (entry.opCount > 1) this.#keep(kept);
    for (const oldest of this.#kept) {
      if (this.#keptBytes <= keptBytesMax) break;
      this.#drop(oldest);
    }
    return kept;
  }

  #keep(kept: Kept): void {
    for (let i = 0; i < kept.opCount; i += 1) this.#byIndex.set(kept.index + i, kept);
    this.#kept.add(kept);
    this.#keptBytes += kept.bytes;
  }

  #drop(kept: Kept): void {
    for (let i = 0; i < kept.opCount; i += 1) this.#byIndex.delete(kept.index + i);
    this.#kept.delete(kept);
    this.#keptBytes -= kept.bytes;
  }
}
