import type { ChainState } from '@tidemark/merge';
import {
  utf8Decode,
  utf8Encode,
  type RecordId,
  type RowFields,
  type TableId,
} from '@tidemark/model';
import type { ServerBatch, ServerStore } from '@tidemark/ports';
import { EntryCache, type EntryCodec } from './entry-cache.js';
import {
  decodeParkedTransaction,
  encodeParkedTransaction,
  type ParkedTransaction,
} from './parked-transaction.js';
import { RecordCache } from './record-cache.js';
import { decodeReplicaState, encodeReplicaState, type ReplicaState } from './replica-state.js';

/** Last row that was seen in a system of record, or written there. */
export interface Shadow {
  readonly fields: RowFields;
  readonly modifiedOn: number;
  readonly rowVersion: number;
  readonly deleted: boolean;
}

const json = <T>(): EntryCodec<T> => ({
  encode: (value) => utf8Encode(JSON.stringify(value)),
  decode: (bytes) => JSON.parse(utf8Decode(bytes)) as T,
});

const same: EntryCodec<Uint8Array> = { encode: (bytes) => bytes, decode: (bytes) => bytes };

/** Key of a replica's chain on a record. */
export const chainKey = (replica: string, table: TableId, id: RecordId): string =>
  `${replica}/${table}/${id}`;

/** Key of a replica's side document of a CRDT field. */
export const sideKey = (replica: string, table: TableId, field: number, id: RecordId): string =>
  `${replica}/${table}/${field}/${id}`;

/** Key of a shadow. */
export const shadowKey = (backend: string, table: TableId, id: RecordId): string =>
  `${backend}/${table}/${id}`;

/** What a transaction reads: collected for the whole window first, so that reads are few and sorted. */
export class Wanted {
  readonly records = new Map<TableId, Set<RecordId>>();
  readonly chains: string[] = [];
  readonly sides: string[] = [];
  readonly parkedOps: string[] = [];
  readonly parkedCreates: string[] = [];
  readonly shadows: string[] = [];

  record(table: TableId, id: RecordId): void {
    const ids = this.records.get(table);
    if (ids === undefined) this.records.set(table, new Set([id]));
    else ids.add(id);
  }
}

/**
 * State of the store as the transactions of one window leave it. It lives one window: everything changed
 * goes into one batch.
 */
export class Overlay {
  readonly store: ServerStore;
  readonly records: RecordCache;
  readonly replicas = new EntryCache<ReplicaState>('replicas', {
    encode: encodeReplicaState,
    decode: decodeReplicaState,
  });
  readonly chains = new EntryCache<ChainState>('chains', json<ChainState>());
  readonly sides = new EntryCache<Uint8Array>('side-documents', same);
  readonly shadows = new EntryCache<Shadow>('shadows', json<Shadow>());
  readonly parkedTransactions = new EntryCache<ParkedTransaction>('parked', {
    encode: encodeParkedTransaction,
    decode: decodeParkedTransaction,
  });
  readonly parkedOps = new EntryCache<string>('parked', { encode: utf8Encode, decode: utf8Decode });
  /** Roots under which creates of a record wait, in log order. */
  readonly parkedCreates = new EntryCache<readonly string[]>('parked', {
    encode: (roots) => utf8Encode(roots.join('\n')),
    decode: (bytes) => utf8Decode(bytes).split('\n'),
  });
  readonly parkedMembers = new EntryCache<readonly string[]>('parked', json<readonly string[]>());
  readonly #notes: ServerBatch['entries'][number][] = [];

  /** `records`: those that were read ahead. */
  constructor(store: ServerStore, records = new RecordCache()) {
    this.store = store;
    this.records = records;
  }

  /** Loads everything wanted that is not here yet; resolves at once when nothing is missing. */
  async load(wanted: Wanted): Promise<void> {
    await Promise.all([
      this.records.load(this.store, wanted.records),
      this.chains.load(this.store, wanted.chains),
      this.sides.load(this.store, wanted.sides),
      this.parkedOps.load(this.store, wanted.parkedOps),
      this.parkedCreates.load(this.store, wanted.parkedCreates),
      this.shadows.load(this.store, wanted.shadows),
    ]);
  }

  /** Loads one record. */
  async loadRecord(table: TableId, id: RecordId): Promise<void> {
    if (!this.records.has(table, id))
      await this.records.load(this.store, new Map([[table, new Set([id])]]));
  }

  /** Writes an entry that no decision of this window reads. */
  note(
    space: 'heads' | 'quarantine' | 'lives' | 'known-input',
    key: string,
    value: Uint8Array | null,
  ): void {
    this.#notes.push({ space, key, value });
  }

  /** Everything that changed in the spaces. */
  entries(): ServerBatch['entries'] {
    const entries = [...this.#notes];
    this.replicas.drainTo(entries);
    this.chains.drainTo(entries);
    this.sides.drainTo(entries);
    this.shadows.drainTo(entries);
    this.parkedTransactions.drainTo(entries);
    this.parkedOps.drainTo(entries);
    this.parkedCreates.drainTo(entries);
    this.parkedMembers.drainTo(entries);
    return entries;
  }
}
