import {
  decodeTransaction,
  isLeft,
  openTransaction,
  type Hash,
  type Operation,
  type Transaction,
} from '@tidemark/model';
import type { LogEntry, OpLog } from '@tidemark/ports';

/** Bytes read ahead when operations are asked for one after the other. */
const aheadBytes = 64 * 1024;

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
  #window: readonly LogEntry[] = [];
  #decoded: { readonly entry: LogEntry; readonly transaction: Transaction | undefined } | undefined;
  #next = 0;

  constructor(log: OpLog, hash: Hash) {
    this.#log = log;
    this.#hash = hash;
  }

  /** Operation at an index; `undefined` when the log does not hold it any more or it was erased. */
  async at(index: number): Promise<LogOperation | undefined> {
    let entry = this.#held(index);
    if (entry === undefined) {
      this.#window = await this.#log.read(index, index === this.#next ? aheadBytes : 1);
      entry = this.#held(index);
    }
    this.#next = index + 1;
    if (entry === undefined) return undefined;
    if (this.#decoded?.entry !== entry)
      this.#decoded = { entry, transaction: transactionOf(entry, this.#hash) };
    const { transaction } = this.#decoded;
    const op = transaction?.ops[index - entry.index];
    return op === undefined || transaction === undefined ? undefined : { index, op, transaction };
  }

  #held(index: number): LogEntry | undefined {
    let low = 0;
    let high = this.#window.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const entry = this.#window[middle] as LogEntry;
      if (entry.index + entry.opCount <= index) low = middle + 1;
      else high = middle;
    }
    const found = this.#window[low];
    return found !== undefined && found.index <= index ? found : undefined;
  }
}
