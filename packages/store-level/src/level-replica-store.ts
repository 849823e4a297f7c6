import { invariant, TidemarkError, type Hash } from '@tidemark/model';
import type {
  Durability,
  IndexEntry,
  IndexRange,
  LayerPage,
  LayerSpace,
  OpLog,
  ReplicaBatch,
  ReplicaStore,
  StoreDamage,
} from '@tidemark/ports';
import { BlockPlaces } from './block-places.js';
import { del, put, type Database, type DatabaseOperation } from './database.js';
import { EmptyTables } from './empty-tables.js';
import { runOperations } from './index-runs.js';
import { KnownRuns } from './known-runs.js';
import { GroupWriter } from './group-writer.js';
import { space, textKey } from './keys.js';
import {
  blockOperations,
  blockPrefix,
  readBlocksBehind,
  sealedBlockBytes,
} from './layer-blocks.js';
import { clearStep, foldStep, type FoldStep } from './layer-folding.js';
import {
  getLayerRows,
  layerOperations,
  scanIndexEntries,
  scanLayerRows,
  scanOneLayer,
  type IndexScanOptions,
  type RowPlace,
  type RowScanOptions,
} from './layer-rows.js';
import {
  encodeLogNote,
  forgetLogBase,
  LevelOpLog,
  readExtent,
  type LogExtent,
  type LogPlan,
} from './level-op-log.js';
import { noteOperations, scanNotesOf } from './notes.js';
import type { OpenedDatabase } from './open-database.js';
import type { RingState } from './ordinal-ring.js';
import { checkReplica } from './replica-damage.js';
import { SealRooms } from './seal-rooms.js';
import { seal, sealBytes, unseal } from './sealed-value.js';
import { isCorruption, storageError } from './storage-error.js';

/** Maximum bytes of the engine's state. */
export const stateBytesMax = 1_000_000;

const stateKey = new Uint8Array([space.state]);
/** Present while a clear is under way: the next open ends it. */
const clearingKey = new Uint8Array([space.meta, 0x04]);
const clearEntries = 5_000;
const emptyExtent: LogExtent = {
  first: 1,
  headBefore: new Uint8Array(32),
  end: { lastIndex: 0, head: new Uint8Array(32) },
};

/** What a LevelReplicaStore is made of. */
export interface LevelReplicaStoreParts {
  readonly opened: OpenedDatabase;
  readonly hash: Hash;
  /** Ordinal that the marker knows to be fsynced. */
  readonly markerOrdinal: number;
  /** Damage that was found before the store was opened. */
  readonly damage: readonly StoreDamage[];
  /** Called when a read or write finds corruption. */
  readonly onCorruption: () => void;
  /** Called at close, when everything is fsynced. */
  readonly onClose: () => Promise<void>;
}

/** LevelReplicaStore is a ReplicaStore on any ordered binary key-value database. */
export class LevelReplicaStore implements ReplicaStore {
  readonly #database: Database;
  readonly #place: RowPlace;
  readonly #hash: Hash;
  readonly #writer: GroupWriter;
  readonly #sealRooms: SealRooms | undefined;
  readonly #log: LevelOpLog;
  readonly #damage: StoreDamage[];
  readonly #onCorruption: () => void;
  readonly #onClose: () => Promise<void>;
  /** Plans that read before they write: others queue behind. */
  #planning: Promise<unknown> | undefined;
  /** Where the next step of the fold or clear that ran last begins; forgotten when its layer is written. */
  #stepping:
    { readonly layer: number; readonly name: string; readonly next: Uint8Array } | undefined;
  /** The log did not end where it was known to, when the database was opened again: to be told once. */
  #moved: { readonly known: number; readonly found: number } | undefined;
  /** How often the database was opened again: what was planned before may be wrong behind it. */
  #reopenings = 0;
  #closing: Promise<void> | undefined;

  private constructor(parts: LevelReplicaStoreParts, extent: LogExtent, damage: StoreDamage[]) {
    const { opened } = parts;
    this.#database = opened.database;
    const { database } = opened;
    this.#place = {
      database,
      emptyTables: new EmptyTables(database),
      blockPlaces: new BlockPlaces(),
      runs: new KnownRuns(database),
    };
    this.#sealRooms = opened.copiesBatches === true ? new SealRooms() : undefined;
    this.#hash = parts.hash;
    this.#damage = damage;
    this.#onCorruption = parts.onCorruption;
    this.#onClose = parts.onClose;
    this.#log = new LevelOpLog(opened.database, extent, this.#read);
    this.#writer = new GroupWriter({
      database: opened.database,
      ring: opened.ring,
      ordinalAtLeast: parts.markerOrdinal,
      onReopened: (ring, before) => this.#reload(ring, before),
      onBatch: (operations) => {
        this.#place.emptyTables.note(operations);
        this.#place.runs.note(operations);
      },
    });
  }

  /** Opens a store on an opened database: verifies its log, ends a clear that was cut off. */
  static async open(parts: LevelReplicaStoreParts): Promise<LevelReplicaStore> {
    const { opened, hash, markerOrdinal } = parts;
    const extent = await readExtent(opened.database);
    const found = await checkReplica({ ...opened, extent, hash, ordinalBefore: markerOrdinal });
    const store = new LevelReplicaStore(parts, extent, [...parts.damage, ...found]);
    if ((await opened.database.get(clearingKey)) !== undefined) await store.#clearRest();
    return store;
  }

  get damage(): readonly StoreDamage[] {
    return this.#damage;
  }

  get log(): OpLog {
    return this.#log;
  }

  /** Ordinal of the newest batch that this store has fsynced. */
  get durableOrdinal(): number {
    return this.#writer.durableOrdinal;
  }

  readonly readState = (): Promise<Uint8Array | undefined> => this.#get(stateKey);

  readonly write = async (batch: ReplicaBatch, durability: Durability): Promise<void> => {
    invariant((batch.state?.length ?? 0) <= stateBytesMax, 'the state of a replica is too long');
    if (this.#writer.full)
      throw new TidemarkError('storage-unavailable', 'too many writes are waiting', {});
    const removes = batch.trimLogTo !== undefined || batch.cutLogFrom !== undefined;
    if (
      removes ||
      this.#planning !== undefined ||
      this.#writer.broken ||
      this.#moved !== undefined
    ) {
      const planned = (this.#planning ?? Promise.resolve()).then(() =>
        this.#writeBehind(batch, durability),
      );
      // Others queue behind the start of this write, not behind its end: they may share its fsync.
      const started = planned.then(
        () => undefined,
        () => undefined,
      );
      this.#planning = started;
      void started.then(() => {
        if (this.#planning === started) this.#planning = undefined;
      });
      return (await planned).done;
    }
    const plan = this.#log.plan(batch) as LogPlan;
    return this.#commit(batch, plan, durability);
  };

  readonly sync = (): Promise<void> => this.#written(() => this.#writer.sync());

  readonly getRows = (
    name: LayerSpace,
    table: number,
    ids: readonly string[],
    layers: readonly number[],
  ): Promise<readonly (Uint8Array | undefined)[]> =>
    this.#read(() => getLayerRows(this.#place, name, table, ids, layers));

  readonly scanRows = (
    name: LayerSpace,
    table: number,
    options: RowScanOptions,
  ): Promise<LayerPage> => this.#read(() => scanLayerRows(this.#place, name, table, options));

  readonly scanLayer = (
    name: LayerSpace,
    table: number,
    layer: number,
    after: string | undefined,
    limit: number,
  ): Promise<readonly { readonly id: string; readonly value: Uint8Array | null }[]> =>
    this.#read(() => scanOneLayer(this.#database, name, table, layer, after, limit));

  readonly readBlocks = (
    table: number,
    layer: number,
    after: string | undefined,
    maxBytes: number,
  ): Promise<readonly Uint8Array[]> =>
    this.#read(() => readBlocksBehind(this.#database, blockPrefix(layer, table), after, maxBytes));

  readonly scanIndex = (
    table: number,
    index: number,
    range: IndexRange,
    options: IndexScanOptions,
  ): Promise<readonly IndexEntry[]> =>
    this.#read(() => scanIndexEntries(this.#place, table, index, range, options));

  readonly foldLayer = (
    from: number,
    into: number,
    limit: number,
    isOldest = false,
  ): Promise<boolean> =>
    this.#step(from, `fold ${from} ${into}`, (start) =>
      foldStep(this.#database, { from, into, isOldest }, limit, start),
    );

  readonly clearLayer = (layer: number, limit: number, table?: number): Promise<boolean> =>
    this.#step(layer, `clear ${layer} ${table ?? 'all'}`, (start) =>
      clearStep(this.#database, layer, limit, table, start),
    );

  readonly readNote = (key: string): Promise<Uint8Array | undefined> =>
    this.#get(textKey(space.note, key));

  readonly scanNotes = (
    prefix: string,
    limit: number,
    reverse = false,
  ): Promise<readonly { readonly key: string; readonly value: Uint8Array }[]> =>
    this.#read(() => scanNotesOf(this.#database, prefix, limit, reverse));

  /** Removes everything but the identity and the ordinals. A crash on the way is ended by the next open. */
  readonly clear = async (): Promise<void> => {
    await this.#writer.idle();
    await this.#written(() =>
      this.#writer.write(
        [put(clearingKey, new Uint8Array([1])), del(stateKey), forgetLogBase()],
        'disk',
        encodeLogNote(emptyExtent.end),
      ),
    );
    await this.#clearRest();
  };

  /** Fsyncs what was written, records so in the marker, closes. Later calls wait for the first. */
  readonly close = (): Promise<void> => {
    this.#closing ??= this.#close();
    return this.#closing;
  };

  async #close(): Promise<void> {
    try {
      await this.#planning;
      if (!this.#writer.broken) await this.#written(() => this.#writer.sync());
      await this.#writer.close();
      await this.#onClose();
    } finally {
      await this.#database.close().catch((error: unknown) => {
        throw storageError(error);
      });
    }
  }

  /** Starts a write whose plan must read first. Resolves when it is under way. */
  async #writeBehind(
    batch: ReplicaBatch,
    durability: Durability,
  ): Promise<{ readonly done: Promise<void> }> {
    if (this.#writer.broken || this.#moved !== undefined) await this.#recover();
    // A plan reads the database: what was planned before must be in it.
    if (batch.trimLogTo !== undefined || batch.cutLogFrom !== undefined) await this.#writer.idle();
    const reopenings = this.#reopenings;
    const plan = await this.#read(async () => this.#log.plan(batch));
    this.#expectUnbroken(reopenings);
    const done = this.#commit(batch, plan, durability);
    done.catch(() => undefined);
    return { done };
  }

  async #commit(batch: ReplicaBatch, plan: LogPlan, durability: Durability): Promise<void> {
    const operations = [...plan.operations];
    if (batch.state !== undefined)
      operations.push(put(stateKey, seal(stateKey, false, batch.state)));
    const stepped = this.#stepping?.layer;
    const { puts = [], blocks = [], runs = [] } = batch;
    const isOfStep = ({ layer }: { readonly layer: number }): boolean => layer === stepped;
    const isStepped = puts.some(isOfStep) || blocks.some(isOfStep) || runs.some(isOfStep);
    if (stepped !== undefined && isStepped) this.#stepping = undefined;
    const room = blocks.length === 0 ? undefined : this.#sealRooms?.take(sealedBlockBytes(blocks));
    const packed = blockOperations(blocks, room);
    this.#place.blockPlaces.note(packed, sealBytes);
    append(operations, packed);
    append(operations, layerOperations(puts));
    append(operations, runOperations(runs));
    if (batch.notes !== undefined) append(operations, noteOperations(batch.notes));
    this.#log.planned(plan.after);
    const note = encodeLogNote(plan.after.end);
    const answersLoss = batch.state !== undefined;
    await this.#written(() => this.#writer.write(operations, durability, note, answersLoss));
    if (room !== undefined) this.#sealRooms?.give(room);
    this.#log.applied(plan.after);
  }

  async #step(
    layer: number,
    name: string,
    plan: (start: Uint8Array | undefined) => Promise<FoldStep>,
  ): Promise<boolean> {
    await this.#writer.idle();
    // The plan is one of what is stored then. That the log moved concerns no step: the next write is told.
    if (this.#writer.broken) await this.#written(() => this.#writer.recover());
    const reopenings = this.#reopenings;
    const stepping = this.#stepping?.name === name ? this.#stepping : undefined;
    this.#stepping = undefined;
    const { operations, done, next } = await this.#read(() => plan(stepping?.next));
    this.#expectUnbroken(reopenings);
    if (next !== undefined) this.#stepping = { layer, name, next };
    try {
      if (operations.length > 0) await this.#written(() => this.#writer.write(operations, 'os'));
    } catch (error) {
      this.#stepping = undefined;
      throw error;
    }
    return done;
  }

  /** Rejects what was planned while a write before it failed, as all that waits behind a failed write. */
  #expectUnbroken(reopenings: number): void {
    if (this.#writer.broken || this.#reopenings !== reopenings)
      throw new TidemarkError('storage-unavailable', 'a write before this one failed', {});
  }

  /**
   * Opens the database again behind a failed write. Rejects once if its log is not where we knew it, also when
   * a reader opened it first.
   */
  async #recover(): Promise<void> {
    await this.#written(() => this.#writer.recover());
    const moved = this.#moved;
    this.#moved = undefined;
    if (moved !== undefined)
      throw new TidemarkError(
        'storage-unavailable',
        'a write that had failed turned out to be applied; read the log and the state again',
        moved,
      );
  }

  /** Reads anew what was cached, after the database was opened again. */
  async #reload(ring: RingState, before: number): Promise<void> {
    const extent = await readExtent(this.#database);
    const parts = { database: this.#database, extent, hash: this.#hash };
    const found = await checkReplica({
      ...parts,
      ring,
      identityRestored: false,
      ordinalBefore: before,
    });
    const told = new Set(this.#damage.map(({ kind, where }) => `${kind} ${where}`));
    for (const damage of found)
      if (!told.has(`${damage.kind} ${damage.where}`)) this.#damage.push(damage);
    const known = this.#moved?.known ?? this.#log.end().lastIndex;
    const { lastIndex } = extent.end;
    this.#moved = lastIndex === known ? undefined : { known, found: lastIndex };
    this.#log.reset(extent);
    this.#reopenings += 1;
    this.#stepping = undefined;
    this.#place.emptyTables.forget();
    this.#place.runs.forget();
    this.#place.blockPlaces.forget();
  }

  async #clearRest(): Promise<void> {
    this.#moved = undefined;
    this.#log.reset(emptyExtent);
    // Tables that are remembered stay so, for a write behind the clear may be under way.
    this.#place.blockPlaces.forget();
    for (;;) {
      const operations = await this.#read(() => this.#oldKeys());
      const last = operations.length < clearEntries;
      if (last) operations.push(del(clearingKey));
      const note = encodeLogNote(emptyExtent.end);
      await this.#written(() => this.#writer.write(operations, last ? 'disk' : 'os', note, last));
      if (last) return;
    }
  }

  async #oldKeys(): Promise<DatabaseOperation[]> {
    const iterator = this.#database.keys({ gte: new Uint8Array([space.log]), limit: clearEntries });
    try {
      return (await iterator.all()).map(del);
    } finally {
      await iterator.close();
    }
  }

  readonly #get = (key: Uint8Array): Promise<Uint8Array | undefined> =>
    this.#read(async () => {
      const value = await this.#database.get(key);
      return value === undefined ? undefined : (unseal(key, false, value) ?? undefined);
    });

  readonly #read = async <A>(call: () => A | Promise<A>): Promise<A> => {
    const opening = this.#writer.ready();
    if (opening !== undefined) await opening.catch(() => undefined);
    try {
      const result = call();
      return result instanceof Promise ? await result : result;
    } catch (error) {
      if (isCorruption(error)) this.#onCorruption();
      throw storageError(error);
    }
  };

  async #written(call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (isCorruption(error)) this.#onCorruption();
      if (this.#writer.broken) this.#log.forgetPlans();
      throw storageError(error);
    }
  }
}

const append = (operations: DatabaseOperation[], more: readonly DatabaseOperation[]): void => {
  for (const operation of more) operations.push(operation);
};
