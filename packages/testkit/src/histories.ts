import {
  emptyHead,
  encodeEnvelope,
  encodeTransaction,
  invariant,
  nextHead,
  openTransaction,
  saltBytes,
  storeTransaction,
  toHex,
  transactionBytesMax,
  type Hash,
  type Operation,
  type Transaction,
} from '@tidemark/model';

/** Operation of which only what matters to a test is given. */
export type OperationSketch = Pick<Operation, 'table' | 'record' | 'kind'> & Partial<Operation>;

/** Fills in an operation: no base, no predecessor, no parts. */
export const sketchOperation = (sketch: OperationSketch): Operation => ({
  base: null,
  prev: 0,
  since: sketch.prev ?? 0,
  seen: 0,
  set: [],
  inc: [],
  crdt: [],
  row: null,
  ...sketch,
});

/** Fills in a transaction of the given operations. */
export const sketchTransaction = (
  ops: readonly OperationSketch[],
  more: Partial<Omit<Transaction, 'ops'>> = {},
): Transaction => ({
  schemaVersion: 1,
  hlc: { wallMs: 1_000, counter: 0 },
  atomicity: 'whole',
  ...more,
  ops: ops.map(sketchOperation),
});

/** One stored transaction of a DeviceLog. */
export interface LoggedTransaction {
  /** Indexes of its first and last operation. */
  readonly first: number;
  readonly last: number;
  readonly bytes: Uint8Array;
  /** Chain head after it. */
  readonly head: Uint8Array;
}

/** Who writes a DeviceLog. */
export interface DeviceLogOptions {
  readonly replica: string;
  readonly user: string;
  readonly hash: Hash;
  readonly epoch?: number;
}

/**
 * Op log of a device in memory: chains transactions as a replica does and packs them into envelopes.
 * Salts follow from the positions, so that equal histories have equal bytes.
 */
export class DeviceLog {
  readonly replica: string;
  readonly user: string;
  epoch: number;
  readonly transactions: LoggedTransaction[] = [];
  readonly #hash: Hash;

  constructor(options: DeviceLogOptions) {
    this.replica = options.replica;
    this.user = options.user;
    this.epoch = options.epoch ?? 1;
    this.#hash = options.hash;
  }

  /** Index of the last operation. */
  get lastIndex(): number {
    return this.transactions[this.transactions.length - 1]?.last ?? 0;
  }

  /** Chain head at the end of the transaction that ends at `index`. */
  headAt(index: number): Uint8Array {
    if (index === 0) return emptyHead;
    const found = this.transactions.find(({ last }) => last === index);
    invariant(found !== undefined, `no transaction ends at ${index}`);
    return found.head;
  }

  /** Head as the messages carry it. */
  headTextAt(index: number): string {
    return toHex(this.headAt(index));
  }

  /** Appends a transaction; returns the index of its first operation. */
  append(transaction: Transaction): number {
    return this.appendPayload(encodeTransaction(transaction), transaction.ops.length);
  }

  /** Appends any payload, also one that does not decode. */
  appendPayload(payload: Uint8Array, opCount: number): number {
    const first = this.lastIndex + 1;
    const salt = new Uint8Array(saltBytes).fill(first % 251);
    const bytes = storeTransaction(opCount, salt, payload);
    invariant(bytes.length <= transactionBytesMax, 'the transaction fits its bound');
    const opened = openTransaction(bytes, this.#hash);
    invariant(opened._tag === 'Right', 'a stored transaction opens');
    const head = nextHead(this.headAt(this.lastIndex), opened.right, this.#hash);
    this.transactions.push({ first, last: first + opCount - 1, bytes, head });
    return first;
  }

  /** Copy of this log under another replica id or epoch, as a clone or a restored backup has it. */
  copy(changes: Partial<DeviceLogOptions> = {}, upTo: number = this.lastIndex): DeviceLog {
    const { replica, user, epoch } = this;
    const log = new DeviceLog({ replica, user, epoch, hash: this.#hash, ...changes });
    log.transactions.push(...this.transactions.filter(({ last }) => last <= upTo));
    return log;
  }

  /** Packs the transactions from the one that starts at `from` to the one that ends at `to`. */
  envelope(from = 1, to: number = this.lastIndex, offsetMs = 0): Uint8Array {
    const packed = this.transactions.filter(({ first, last }) => first >= from && last <= to);
    const [start] = packed;
    const end = packed[packed.length - 1];
    invariant(start?.first === from && end?.last === to, 'envelopes hold whole transactions');
    return encodeEnvelope({
      replica: this.replica,
      epoch: this.epoch,
      user: this.user,
      from,
      to,
      offsetMs,
      headBefore: this.headAt(from - 1),
      headAfter: end.head,
      signature: '',
      transactions: packed.map(({ bytes }) => bytes),
    });
  }
}
