import { equalBytes, TidemarkError, toHex, utf8Decode, utf8Encode } from '@tidemark/model';
import type { Database } from './database.js';
import { space } from './keys.js';
import { verifyRing, type RingState } from './ordinal-ring.js';
import { guarded } from './storage-error.js';

/** Kind of a store: a database of one kind is never opened as another. */
export type StoreKind = 'replica' | 'server' | 'input';

/** Length of a store id in bytes. */
export const storeIdBytes = 16;

const identityKey = new Uint8Array([space.meta, 0x01]);

/** Database that was opened and found to be ours. */
export interface OpenedDatabase {
  readonly database: Database;
  /** Random id of this store, given when it was created. */
  readonly storeId: Uint8Array;
  /** True when this call created the store. */
  readonly created: boolean;
  /** True when damage had taken the identity and the marker's id was written again. */
  readonly identityRestored: boolean;
  readonly ring: RingState;
  /** True when a batch copies what is put into it at once: the bytes may be used again once it is written. */
  readonly copiesBatches?: boolean;
}

/** Options of `openDatabase`. */
export interface OpenDatabaseOptions {
  readonly database: Database;
  readonly kind: StoreKind;
  /** Newest format of this kind that the caller reads; new stores get it, and older ones once they are opened. */
  readonly format: number;
  /** Id of the store that was here before, from its marker; undefined when there was none. */
  readonly expectedId: Uint8Array | undefined;
  /** Id for a new store; random when absent. */
  readonly newId?: Uint8Array;
  /** False when an empty database can only mean that all was lost, as after a repair. */
  readonly mayCreate?: boolean;
}

const randomId = (): Uint8Array => globalThis.crypto.getRandomValues(new Uint8Array(storeIdBytes));

const isEmpty = async (database: Database): Promise<boolean> => {
  const iterator = database.keys({ limit: 1 });
  try {
    return (await iterator.next()) === undefined;
  } finally {
    await iterator.close();
  }
};

const identityValue = (kind: StoreKind, format: number, id: Uint8Array): Uint8Array => {
  const text = utf8Encode(kind);
  const value = new Uint8Array(1 + storeIdBytes + text.length);
  value[0] = format;
  value.set(id, 1);
  value.set(text, 1 + storeIdBytes);
  return value;
};

const writeIdentity = async (database: Database, value: Uint8Array): Promise<void> => {
  const batch = database.batch();
  batch.put(identityKey, value);
  // `sync` is an option of LevelDB that databases without an fsync ignore.
  await batch.write({ sync: true } as object);
};

const kinds: readonly string[] = ['replica', 'server', 'input'] satisfies readonly StoreKind[];

const checkIdentity = (identity: Uint8Array, options: OpenDatabaseOptions): Uint8Array => {
  const bytes = new Uint8Array(identity);
  const kind = utf8Decode(bytes.subarray(1 + storeIdBytes));
  const inUse = (): TidemarkError =>
    new TidemarkError('folder-in-use', `the folder holds a store of kind ${kind}`, {
      found: kind,
      wanted: options.kind,
    });
  // Each kind counts its own formats.
  if (kind !== options.kind && kinds.includes(kind)) throw inUse();
  const format = bytes[0] ?? 0;
  if (format > options.format)
    throw new TidemarkError('newer-format', 'a newer version wrote this store', {
      found: format,
      known: options.format,
    });
  const id = bytes.slice(1, 1 + storeIdBytes);
  if (id.length !== storeIdBytes)
    throw new TidemarkError('storage-damaged', 'the identity of the store is too short', {});
  if (kind !== options.kind) throw inUse();
  if (options.expectedId !== undefined && !equalBytes(id, options.expectedId))
    throw new TidemarkError('storage-damaged', 'marker and store belong to different stores', {
      marker: toHex(options.expectedId),
      store: toHex(id),
    });
  return id;
};

/**
 * Opens a store on a database: checks format, kind and identity, verifies the ring of ordinals. An empty
 * database becomes a new store only when nothing was expected in it.
 *
 * Rejects with `newer-format`, `folder-in-use` (another kind of store), `store-missing` (the marker says
 * that a store existed, the database is empty) or `storage-damaged`; nothing is written then.
 */
export const openDatabase = (options: OpenDatabaseOptions): Promise<OpenedDatabase> =>
  guarded(async () => {
    const { database, kind, format, expectedId } = options;
    await database.open();
    const identity = await database.get(identityKey);
    if (identity !== undefined) {
      const storeId = checkIdentity(identity, options);
      // From now on it may hold what an earlier version would overlook.
      if ((identity[0] ?? 0) < format)
        await writeIdentity(database, identityValue(kind, format, storeId));
      const ring = await verifyRing(database);
      return { database, storeId, created: false, identityRestored: false, ring };
    }
    const empty = await isEmpty(database);
    if (!empty) {
      if (expectedId === undefined)
        throw new TidemarkError('storage-damaged', 'the database lost its identity', {});
      await writeIdentity(database, identityValue(kind, format, expectedId));
      const ring = await verifyRing(database);
      return { database, storeId: expectedId, created: false, identityRestored: true, ring };
    }
    if (options.mayCreate === false)
      throw new TidemarkError('storage-damaged', 'nothing was left to repair', { keys: 0 });
    if (expectedId !== undefined)
      throw new TidemarkError('store-missing', 'the database is empty, but a store existed', {
        keys: 0,
        marker: toHex(expectedId),
      });
    const storeId = options.newId ?? randomId();
    await writeIdentity(database, identityValue(kind, format, storeId));
    const ring = await verifyRing(database);
    return { database, storeId, created: true, identityRestored: false, ring };
  });

/** Tells whether a key belongs to the store itself (identity, ordinals): dumps and clears leave it out. */
export const isOwnKey = (key: Uint8Array): boolean =>
  key[0] === space.meta || key[0] === space.ring;
