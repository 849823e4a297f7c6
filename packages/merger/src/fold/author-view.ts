import type { Author, MergeContext, MergeReader, MergeRecord } from '@tidemark/merge';
import { utf8Encode, type RecordId, type TableId, type Transaction } from '@tidemark/model';
import { chainKey, sideKey, type Wanted } from './overlay.js';
import { parkedCreateKey, parkedOperationKey } from './parked-transaction.js';
import { epochOfIndex, type ReplicaState } from './replica-state.js';
import type { Window } from './window.js';

interface LogPlace {
  readonly replica: string;
  readonly epoch: number;
}

/** Replica and epoch that wrote the operation at an index of a replica's log. */
export const placeOfIndex = (state: ReplicaState, index: number): LogPlace =>
  state.origin !== null && index <= state.origin.lastIndex
    ? { replica: state.origin.replica, epoch: state.origin.epoch }
    : { replica: state.replica, epoch: epochOfIndex(state, index) };

/**
 * What a window reads about one author. Chains, parked operations and side documents are looked up only
 * if the stored state of the author says that there are any.
 */
export class AuthorView {
  readonly #window: Window;
  readonly state: ReplicaState;
  readonly #chains: boolean;
  readonly #parked: boolean;
  readonly #sides: boolean;

  /** `stored` is the state of the author as the window found it; undefined: it is new. */
  constructor(window: Window, state: ReplicaState, stored: ReplicaState | undefined) {
    this.#window = window;
    this.state = state;
    const clone = state.origin !== null;
    this.#chains = clone || (stored?.chains ?? 0) > 0;
    this.#parked = clone || (stored?.parked ?? 0) > 0;
    this.#sides = clone || (stored?.sides ?? 0) > 0;
  }

  #parkedOpKey(index: number): string {
    const { replica, epoch } = placeOfIndex(this.state, index);
    return parkedOperationKey(replica, epoch, index);
  }

  /** Adds everything that deciding the transaction may read. `indexes`: those of its operations. */
  collect(transaction: Transaction, indexAt: (position: number) => number, wanted: Wanted): void {
    const { ops } = transaction;
    const { replica, origin } = this.state;
    for (let i = 0; i < ops.length; i += 1) {
      const op = ops[i];
      if (op === undefined) continue;
      wanted.record(op.table, op.record);
      if (this.#chains) {
        wanted.chains.push(chainKey(replica, op.table, op.record));
        if (origin !== null) wanted.chains.push(chainKey(origin.replica, op.table, op.record));
      }
      if (this.#sides)
        for (const { field } of [...op.crdt, ...op.set]) {
          wanted.sides.push(sideKey(replica, op.table, field, op.record));
          if (origin !== null)
            wanted.sides.push(sideKey(origin.replica, op.table, field, op.record));
        }
      if (!this.#parked) continue;
      if (op.prev > 0 && indexAt(i) > op.prev)
        wanted.parkedOps.push(this.#parkedOpKey(indexAt(i) - op.prev));
      const table = this.#window.context.schema.tablesById.get(op.table);
      for (const { field: id, after } of op.set) {
        const field = table?.fieldsById.get(id);
        if (field?.type !== 'reference' || typeof after !== 'string') continue;
        const target = this.#window.context.schema.tablesByName.get(field.table ?? '');
        if (target === undefined) continue;
        wanted.parkedCreates.push(parkedCreateKey(replica, target.id, after));
        if (origin !== null)
          wanted.parkedCreates.push(parkedCreateKey(origin.replica, target.id, after));
      }
    }
  }

  /** Root under which the operation at an index waits. */
  parkedUnder(index: number): string | undefined {
    return index < 1 ? undefined : this.#window.overlay.parkedOps.peek(this.#parkedOpKey(index));
  }

  #record(table: TableId, id: RecordId): MergeRecord | undefined {
    const record = this.#window.overlay.records.get(table, id);
    if (record === undefined || !this.state.forked) return record;
    const { lastOp } = record;
    if (!lastOp.startsWith(`${this.state.replica}/`)) return record;
    const [, epoch, index] = lastOp.split('/').map(Number);
    // An operation that the replica lost with its old epoch is not its own any more.
    return epochOfIndex(this.state, index ?? 0) === epoch
      ? record
      : { ...record, lastOp: `lost:${lastOp}` };
  }

  /** What decide reads. Everything it may ask for has been loaded. */
  reader(): MergeReader {
    const { overlay } = this.#window;
    const { replica, origin } = this.state;
    return {
      record: (table, id) => this.#record(table, id),
      chain: (table, id) =>
        overlay.chains.peek(chainKey(replica, table, id)) ??
        (origin === null ? undefined : overlay.chains.peek(chainKey(origin.replica, table, id))),
      side: (table, id, field) =>
        overlay.sides.peek(sideKey(replica, table, field, id)) ??
        (origin === null
          ? undefined
          : overlay.sides.peek(sideKey(origin.replica, table, field, id))),
      parkedUnder: (index) => this.parkedUnder(index),
      parkedCreate: (table, id) =>
        overlay.parkedCreates.peek(parkedCreateKey(replica, table, id)) ??
        (origin === null
          ? undefined
          : overlay.parkedCreates.peek(parkedCreateKey(origin.replica, table, id))),
    };
  }

  /** Author of a transaction of this replica for decide. */
  author(epoch: number, firstIndex: number, indexes?: readonly number[]): Author {
    const { replica, user, origin } = this.state;
    return {
      kind: 'device',
      replica,
      epoch,
      user,
      firstIndex,
      ...(indexes === undefined ? {} : { indexes }),
      origin: origin === null ? null : { replica: origin.replica, lastIndex: origin.lastIndex },
    };
  }
}

const emptyActor = new Uint8Array(16);

/** Context of a decision at the version under way. */
export const mergeContext = (
  window: Window,
  author: Author,
  times: Pick<MergeContext, 'receivedAt' | 'offsetMs' | 'foreignModifiedOn'>,
  more: Partial<Pick<MergeContext, 'refusal' | 'resolution'>> = {},
): MergeContext => {
  const { tenant, schema, crdt, hash, hasText } = window.context;
  const seed = `${tenant}/${window.incarnation}/${window.n}`;
  return {
    tenant,
    schema,
    author,
    version: window.version,
    now: window.now,
    receivedAt: times.receivedAt,
    offsetMs: times.offsetMs,
    foreignModifiedOn: times.foreignModifiedOn,
    crdt,
    mergerActor: hasText ? hash(utf8Encode(seed)).subarray(0, 16) : emptyActor,
    refusal: more.refusal ?? null,
    resolution: more.resolution ?? null,
  };
};
