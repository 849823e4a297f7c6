import {
  decodeTransaction,
  isLeft,
  openTransaction,
  type Hash,
  type Operation,
  type Transaction,
} from '@tidemark/model';
import type { LogEntry, OpLog } from '@tidemark/ports';

/** Bytes read at once, and how many such reads are kept: records of one time have operations side by side. */
const windowBytes = 64 * 1024;
const windowsMax = 8;

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

/**
 * Reads single operations of a log, keeping the entries that it read last. Made for one piece of work on
 * one record after the other: indexes ascend within a record.
 */
export class LogOperations {
  readonly #log: OpLog;
  readonly #hash: Hash;
  /** Entries read last, the newest read first. */
  #windows: (readonly LogEntry[])[] = [];
  #decoded: { readonly entry: LogEntry; readonly transaction: Transaction | undefined } | undefined;

  constructor(log: OpLog, hash: Hash) {
    this.#log = log;
    this.#hash = hash;
  }

  /** Operation at an index; `undefined` when the log does not hold it any more or it was erased. */
  async at(index: number): Promise<LogOperation | undefined> {
    let entry = this.#held(index);
    if (entry === undefined) {
      const window = await this.#log.read(index, windowBytes);
      this.#windows = [window, ...this.#windows].slice(0, windowsMax);
      entry = this.#held(index);
    }
    if (entry === undefined) return undefined;
    if (this.#decoded?.entry !== entry)
      this.#decoded = { entry, transaction: transactionOf(entry, this.#hash) };
    const { transaction } = this.#decoded;
    const op = transaction?.ops[index - entry.index];
    return op === undefined || transaction === undefined ? undefined : { index, op, transaction };
  }

  #held(index: number): LogEntry | undefined {
    for (const window of this.#windows) {
      const found = entryIn(window, index);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

const entryIn = (window: readonly LogEntry[], index: number): LogEntry | undefined => {
  let low = 0;
  let high = window.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const entry = window[middle] as LogEntry;
    if (entry.index + entry.opCount <= index) low = middle + 1;
    else high = middle;
  }
  const found = window[low];
  return found !== undefined && found.index <= index ? found : undefined;
};
