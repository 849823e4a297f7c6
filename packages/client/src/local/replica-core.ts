import {
  indexSchema,
  systemTables,
  TidemarkError,
  utf8Decode,
  utf8Encode,
  zeroHlc,
  type Customization,
  type Hlc,
  type RecordId,
  type Schema,
  type SchemaTable,
  type TableId,
} from '@tidemark/model';
import type { Durability, FieldCrdt, ReplicaBatch, ReplicaStore } from '@tidemark/ports';
import { tableIndexes, type TableIndex } from './index-entries.js';
import type { LocalChange, LocalReplicaOptions } from './local-replica.js';
import { OpenRanges } from './open-ranges.js';
import { encodeMeta, type ReplicaMeta } from './replica-meta.js';
import { RandomPool } from './random-pool.js';
import { SharedFsync } from './shared-fsync.js';
import { TextActors } from './text-actors.js';
import { Stamps, WriteTurn } from './write-turn.js';

/** Note that holds the replica's state. */
export const metaNote = 'replica/meta';
/** Note that holds the newest customization as JSON. */
export const customizationNote = 'replica/customization';

const stateFormat = 1;

/** Encodes what changes with every edit: the last reading of the hybrid clock. */
export const encodeState = (hlc: Hlc): Uint8Array =>
  utf8Encode(JSON.stringify([stateFormat, hlc.wallMs, hlc.counter]));

/** Decodes the state blob; `newer-format` when a newer version wrote it. */
export const decodeState = (bytes: Uint8Array | undefined): Hlc => {
  if (bytes === undefined) return zeroHlc;
  const [format, wallMs, counter] = JSON.parse(utf8Decode(bytes)) as [number, number, number];
  if (format > stateFormat)
    throw new TidemarkError('newer-format', 'the replica was written by a newer version', {
      format,
    });
  return { wallMs, counter };
};

/** One write of the core: a batch, and what it changes in memory once it is stored. */
export interface CoreWrite {
  readonly batch?: Omit<ReplicaBatch, 'state'>;
  readonly meta?: ReplicaMeta;
  readonly hlc?: Hlc;
  readonly open?: OpenRanges;
  readonly customization?: Customization;
  readonly durability?: Durability;
  /** Tables whose visible records change; `all` when layers move. */
  readonly touched?: ReadonlySet<TableId> | 'all';
  readonly change?: LocalChange;
}

/** Builds the schema with the system tables. */
export const schemaOf = (customization: Customization): Schema =>
  indexSchema(customization, systemTables);

/** State of an open replica in memory, and the one place that writes. */
export class ReplicaCore {
  readonly options: LocalReplicaOptions;
  readonly store: ReplicaStore;
  readonly turn = new WriteTurn();
  readonly stamps = new Stamps();
  /** Where edits at `disk` wait outside of their turns. */
  readonly fsyncs: SharedFsync;
  /** Name the writers of CRDT changes. */
  readonly textActors: TextActors;
  readonly #random: RandomPool;
  /** True while published operations are missing in the log and nobody asked whether the server has them. */
  logHasHoles = false;
  #meta: ReplicaMeta;
  #schema: Schema;
  #hlc: Hlc;
  #open = new OpenRanges([]);
  #crdt: FieldCrdt | null = null;
  readonly #indexes = new Map<TableId, readonly TableIndex[]>();
  readonly #closers = new Set<() => void>();
  readonly #listeners = new Set<(change: LocalChange) => void>();

  constructor(
    options: LocalReplicaOptions,
    state: { readonly meta: ReplicaMeta; readonly customization: Customization; readonly hlc: Hlc },
  ) {
    this.options = options;
    this.store = options.store;
    this.fsyncs = new SharedFsync(options.store, this.turn, options.clock);
    this.#random = new RandomPool(options.entropy);
    this.textActors = new TextActors(options.crypto, options.entropy);
    this.#meta = state.meta;
    this.#schema = schemaOf(state.customization);
    this.#hlc = state.hlc;
  }

  get meta(): ReplicaMeta {
    return this.#meta;
  }

  get schema(): Schema {
    return this.#schema;
  }

  get hlc(): Hlc {
    return this.#hlc;
  }

  get open(): OpenRanges {
    return this.#open;
  }

  /** Random bytes for salts and ids. */
  random(count: number): Uint8Array {
    return this.#random.bytes(count);
  }

  /** Newest layer of the current image: edits go there. */
  get topLayer(): number {
    return this.#meta.layers[0] as number;
  }

  /** Sets the open operations as they were read at open. */
  startWith(open: OpenRanges): void {
    this.#open = open;
  }

  /** Table by name. Throws `unknown-table`. */
  table(name: string): SchemaTable {
    const table = this.#schema.tablesByName.get(name);
    if (table === undefined)
      throw new TidemarkError('unknown-table', 'the schema has no such table', { table: name });
    return table;
  }

  /** Indexes of a table, ready or being built: those of a table that fills follow its rows before the flip. */
  indexesOf(table: SchemaTable): readonly TableIndex[] {
    let found = this.#indexes.get(table.id);
    if (found === undefined) {
      found = tableIndexes(table, this.#meta.indexes[table.id], this.isFilling(table.id));
      this.#indexes.set(table.id, found);
    }
    return found;
  }

  /** Layers with the staged one on top; the current ones when nothing is staged. */
  stagedStack(): readonly number[] {
    const { staging, layers } = this.#meta;
    return staging === null ? layers : [staging.layer, ...layers];
  }

  /** Tells whether the table is read while it fills for the first time. */
  isFilling(table: TableId): boolean {
    return this.#meta.staging?.filling.includes(table) === true;
  }

  /** Layers that readers of a table see. */
  readStack(table: TableId): readonly number[] {
    return this.isFilling(table) ? this.stagedStack() : this.#meta.layers;
  }

  /** Tells whether the record's view is staged already, so that an edit must go to both layers. */
  isStaged(table: TableId, id: RecordId, compare: (a: string, b: string) => number): boolean {
    const closing = this.#meta.staging?.closing;
    if (closing === null || closing === undefined) return false;
    return table < closing.table || (table === closing.table && compare(id, closing.id) <= 0);
  }

  /** The CRDT, loaded at its first use. */
  async crdt(): Promise<FieldCrdt> {
    this.#crdt ??= await this.options.crdt();
    return this.#crdt;
  }

  /** Writes atomically, then updates memory and tells listeners. Only the holder of the turn calls it. */
  async commit(write: CoreWrite): Promise<void> {
    const { batch = {}, meta, hlc } = write;
    const notes = [...(batch.notes ?? [])];
    if (meta !== undefined) notes.push({ key: metaNote, value: encodeMeta(meta) });
    if (write.customization !== undefined)
      notes.push({
        key: customizationNote,
        value: utf8Encode(JSON.stringify(write.customization)),
      });
    const full: ReplicaBatch = {
      ...batch,
      ...(notes.length === 0 ? {} : { notes }),
      ...(hlc === undefined ? {} : { state: encodeState(hlc) }),
    };
    await this.stamps.around(write.touched ?? new Set(), async () => {
      await this.store.write(full, write.durability ?? 'os');
      if (write.customization !== undefined) this.#schema = schemaOf(write.customization);
      if (meta !== undefined) {
        this.#meta = meta;
        this.#indexes.clear();
      }
      if (hlc !== undefined) this.#hlc = hlc;
      if (write.open !== undefined) this.#open = write.open;
    });
    if (write.change !== undefined) this.tell(write.change);
  }

  /** Tells listeners. A listener that throws does not keep others from hearing. */
  tell(change: LocalChange): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(change);
      } catch (cause) {
        // The write is done; an application's bug in a listener must not make the edit look failed.
        void Promise.reject(cause as Error);
      }
    }
  }

  /** Adds a listener; returns the way to remove it. */
  listen(listener: (change: LocalChange) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Calls back when the replica closes; returns the way to forget it. */
  onClose(callback: () => void): () => void {
    this.#closers.add(callback);
    return () => void this.#closers.delete(callback);
  }

  /** Refuses everything from now on, after the write in flight and the fsyncs that edits wait for. */
  async close(): Promise<void> {
    await this.turn.close();
    await this.fsyncs.settled();
    for (const callback of [...this.#closers]) callback();
    this.#listeners.clear();
  }

  /** Operations that the receipts do not cover, and open ones. */
  pendingCount(): { readonly pending: number; readonly parked: number } {
    const pending = this.store.log.end().lastIndex - this.#meta.mergedTo;
    return { pending: Math.max(0, pending), parked: this.#open.count() };
  }
}
