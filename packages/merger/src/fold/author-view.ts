import type { Author, LogPart, MergeContext, MergeReader, MergeRecord } from '@tidemark/merge';
import {
  printOpId,
  utf8Encode,
  type FieldId,
  type Operation,
  type RecordId,
  type TableId,
  type Transaction,
} from '@tidemark/model';
import type { EntryCache } from './entry-cache.js';
import { chainKey, sideKey, type Wanted } from './overlay.js';
import { parkedCreateKey, parkedOperationKey } from './parked-transaction.js';
import { epochOfIndex, logParts, partOfIndex, type ReplicaState } from './replica-state.js';
import type { Window } from './window.js';

/** Replica and epoch that wrote the operation at an index of a replica's log. */
export const placeOfIndex = (
  state: ReplicaState,
  index: number,
): Pick<LogPart, 'replica' | 'epoch'> =>
  (state.origin === null ? undefined : partOfIndex(logParts(state), index)) ?? {
    replica: state.replica,
    epoch: epochOfIndex(state, index),
  };

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
  /** Parts of the log that are not of this replica id, and their replicas, the newest first. */
  readonly #inherited: readonly LogPart[];
  readonly #origins: readonly string[];

  /** `stored` is the state of the author as the window found it; undefined: it is new. */
  constructor(window: Window, state: ReplicaState, stored: ReplicaState | undefined) {
    this.#window = window;
    this.state = state;
    const clone = state.origin !== null;
    const { replica } = state;
    this.#inherited = clone ? logParts(state).filter((part) => part.replica !== replica) : [];
    const origins = this.#inherited.map((part) => part.replica).reverse();
    this.#origins = origins.length === 0 ? [] : [...new Set(origins)];
    this.#chains = clone || (stored?.chains ?? 0) > 0;
    this.#parked = clone || (stored?.parked ?? 0) > 0;
    this.#sides = clone || (stored?.sides ?? 0) > 0;
  }

  #parkedOpKey(index: number): string {
    const { replica, epoch } = placeOfIndex(this.state, index);
    return parkedOperationKey(replica, epoch, index);
  }

  /** Calls back with the record of each reference that an operation newly makes. */
  #references(op: Operation, visit: (table: TableId, id: RecordId) => void): void {
    const { schema } = this.#window.context;
    const table = schema.tablesById.get(op.table);
    for (const { field: id, after } of op.set) {
      const field = table?.fieldsById.get(id);
      if (field?.type !== 'reference' || typeof after !== 'string') continue;
      const target = schema.tablesByName.get(field.table ?? '');
      if (target !== undefined) visit(target.id, after);
    }
  }

  /** Adds everything that deciding the transaction may read. `indexes`: those of its operations. */
  collect(transaction: Transaction, indexAt: (position: number) => number, wanted: Wanted): void {
    const { ops } = transaction;
    const { replica } = this.state;
    for (let i = 0; i < ops.length; i += 1) {
      const op = ops[i];
      if (op === undefined) continue;
      wanted.record(op.table, op.record);
      if (this.#chains) {
        wanted.chains.push(chainKey(replica, op.table, op.record));
        for (const origin of this.#origins)
          wanted.chains.push(chainKey(origin, op.table, op.record));
      }
      if (this.#sides)
        for (const field of this.#sideFields(op)) {
          wanted.sides.push(sideKey(replica, op.table, field, op.record));
          for (const origin of this.#origins)
            wanted.sides.push(sideKey(origin, op.table, field, op.record));
        }
      if (!this.#parked) continue;
      if (op.prev > 0 && indexAt(i) > op.prev)
        wanted.parkedOps.push(this.#parkedOpKey(indexAt(i) - op.prev));
      this.#references(op, (table, id) => {
        wanted.parkedCreates.push(parkedCreateKey(replica, table, id));
        for (const origin of this.#origins)
          wanted.parkedCreates.push(parkedCreateKey(origin, table, id));
      });
    }
  }

  /** Text fields whose document beside an operation may read, or drop because it begins a chain. */
  #sideFields(op: Operation): readonly FieldId[] {
    if (op.prev > 0) return [...op.crdt, ...op.set].map(({ field }) => field);
    const fields = this.#window.context.schema.tablesById.get(op.table)?.fields ?? [];
    return fields.filter(({ type }) => type === 'text').map(({ id }) => id);
  }

  /** Roots under which an operation waits by its predecessor, or by a record that it refers to. */
  rootsOf(op: Operation, index: number): readonly string[] {
    const before = op.prev > 0 ? this.parkedUnder(index - op.prev) : undefined;
    const roots = before === undefined ? [] : [before];
    this.#references(op, (table, id) => {
      roots.push(...this.#parkedCreates(table, id));
    });
    return roots;
  }

  /** Root under which the operation at an index waits. */
  parkedUnder(index: number): string | undefined {
    const { parkedOps } = this.#window.overlay;
    return index < 1 || parkedOps.isEmpty ? undefined : parkedOps.peek(this.#parkedOpKey(index));
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

  /** The author's own value in a space, else that of the nearest replica whose log it continued. */
  #peek<T>(cache: EntryCache<T>, keyOf: (replica: string) => string): T | undefined {
    if (cache.isEmpty) return undefined;
    const own = cache.peek(keyOf(this.state.replica));
    if (own !== undefined) return own;
    for (const origin of this.#origins) {
      const inherited = cache.peek(keyOf(origin));
      if (inherited !== undefined) return inherited;
    }
    return undefined;
  }

  /** Roots under which creates of a record wait, in log order. */
  #parkedCreates(table: TableId, id: RecordId): readonly string[] {
    const { parkedCreates } = this.#window.overlay;
    return this.#peek(parkedCreates, (replica) => parkedCreateKey(replica, table, id)) ?? [];
  }

  /** What decide reads. Everything it may ask for has been loaded. */
  reader(): MergeReader {
    const { chains, sides } = this.#window.overlay;
    return {
      record: (table, id) => this.#record(table, id),
      chain: (table, id) => this.#peek(chains, (replica) => chainKey(replica, table, id)),
      side: (table, id, field) =>
        this.#peek(sides, (replica) => sideKey(replica, table, field, id)),
      parkedUnder: (index) => this.parkedUnder(index),
      parkedCreate: (table, id) => this.#parkedCreates(table, id)[0],
    };
  }

  /** Author of a transaction of this replica for decide. */
  author(epoch: number, firstIndex: number, indexes?: readonly number[]): Author {
    const { replica, user } = this.state;
    return {
      kind: 'device',
      replica,
      epoch,
      user,
      firstIndex,
      ...(indexes === undefined ? {} : { indexes }),
      origin: this.#inherited.length === 0 ? null : this.#inherited,
    };
  }

  /** Author of operations that may be of several epochs, or of the log that the replica continued. */
  authorOf(epoch: number, indexes: readonly number[]): Author {
    const ids = indexes.map((index) => printOpId({ ...placeOfIndex(this.state, index), index }));
    return { ...this.author(epoch, indexes[0] ?? 0, indexes), ids };
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
