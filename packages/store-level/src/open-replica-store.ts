import { TidemarkError, type Hash } from '@tidemark/model';
import type { Marker, ReplicaStore, StoreDamage } from '@tidemark/ports';
import type { Database } from './database.js';
import { LevelReplicaStore } from './level-replica-store.js';
import { openDatabase, type OpenedDatabase } from './open-database.js';
import { guarded } from './storage-error.js';
import { decodeMarker, StoreMarker, type MarkerContent } from './store-marker.js';

/** Newest format of replica stores. Since 2, rows of a first fill may lie in blocks; since 3, entries of an index in runs. */
export const replicaStoreFormat = 3;

/** A replica's store, and the marker that the engine keeps beside it. */
export interface OpenReplica {
  readonly store: ReplicaStore;
  readonly marker: Marker;
}

/** Options of `openReplicaStore`. */
export interface OpenReplicaStoreOptions {
  /** Database with binary keys and values (`view` or `buffer` encodings). The store closes it. */
  readonly database: Database;
  /** Where the bytes of the marker are kept; only this store writes them. */
  readonly marker: Marker;
  readonly hash: Hash;
  /** Id of 16 bytes for a new store; random when absent. */
  readonly newId?: Uint8Array;
}

/** Marker as it was found: its content, or the damage of it. */
export interface FoundMarker {
  readonly content: MarkerContent | undefined;
  readonly damage: readonly StoreDamage[];
}

/** Reads and checks a marker. Rejects with `newer-format`. */
export const findMarker = async (marker: Marker, hash: Hash): Promise<FoundMarker> => {
  const bytes = await guarded(() => marker.read());
  if (bytes === undefined) return { content: undefined, damage: [] };
  const content = decodeMarker(bytes, hash);
  if (content === 'newer-format')
    throw new TidemarkError('newer-format', 'a newer version wrote the marker', {});
  if (content === 'damaged')
    return { content: undefined, damage: [{ kind: 'log-tail', where: 'marker', count: 1 }] };
  return { content, damage: [] };
};

/** Parts of a replica that were opened before its store. */
export interface ReplicaParts {
  readonly opened: OpenedDatabase;
  readonly marker: Marker;
  readonly hash: Hash;
  readonly found: FoundMarker;
  readonly damage: readonly StoreDamage[];
}

/** Puts store and marker together; writes the marker if it is new, damaged, or asked for a repair. */
export const assembleReplica = async (parts: ReplicaParts): Promise<OpenReplica> => {
  const { opened, hash, found } = parts;
  const content: MarkerContent = {
    storeId: opened.storeId,
    ordinal: found.content?.ordinal ?? 0,
    repairWanted: false,
    payload: found.content?.payload,
  };
  const late: { store?: LevelReplicaStore } = {};
  const marker = new StoreMarker({
    raw: parts.marker,
    hash,
    content,
    durableOrdinal: () => late.store?.durableOrdinal ?? 0,
  });
  const store = await guarded(() =>
    LevelReplicaStore.open({
      opened,
      hash,
      markerOrdinal: content.ordinal,
      damage: [...found.damage, ...parts.damage],
      // Best effort: if the marker cannot be written either, the next read finds the damage again.
      onCorruption: () => void marker.wantRepair().catch(() => undefined),
      onClose: () => marker.recordOrdinal(),
    }),
  );
  late.store = store;
  if (found.content === undefined || found.content.repairWanted) await marker.rewrite();
  return { store, marker };
};

/**
 * Opens the store of a replica on a given database. `store.damage` tells what is missing.
 *
 * Rejects with `store-missing` (the marker knows a store, the database is empty), `storage-damaged`,
 * `newer-format`, `folder-in-use`, `storage-unavailable`; nothing was written then, the database is closed.
 */
export const openReplicaStore = async (options: OpenReplicaStoreOptions): Promise<OpenReplica> => {
  const { database, hash } = options;
  try {
    const found = await findMarker(options.marker, hash);
    const opened = await openDatabase({
      database,
      kind: 'replica',
      format: replicaStoreFormat,
      expectedId: found.content?.storeId,
      ...(options.newId === undefined ? {} : { newId: options.newId }),
    });
    return await assembleReplica({ opened, marker: options.marker, hash, found, damage: [] });
  } catch (error) {
    await database.close().catch(() => undefined);
    throw error;
  }
};
