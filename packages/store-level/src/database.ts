import type { AbstractBatchOperation, AbstractLevel } from 'abstract-level';

/**
 * Database is any ordered key-value store of the abstract-level family with binary keys and values:
 * `keyEncoding` and `valueEncoding` must be `view` or `buffer`.
 */
export type Database = AbstractLevel<string | Buffer | Uint8Array, Uint8Array, Uint8Array>;

/** Operation of an atomic batch: a put or a delete of binary keys. */
export type DatabaseOperation = AbstractBatchOperation<Database, Uint8Array, Uint8Array>;

/** Builds the put of a batch. */
export const put = (key: Uint8Array, value: Uint8Array): DatabaseOperation => ({
  type: 'put',
  key,
  value,
});

/** Builds the delete of a batch. */
export const del = (key: Uint8Array): DatabaseOperation => ({ type: 'del', key });

/**
 * Gives a plain view of bytes that a database returned: classic-level hands out Buffers, whose `slice`
 * shares memory where that of Uint8Array copies.
 */
export const plain = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Values that one call reads synchronously at most: more would keep the event loop from its work. */
const syncReadsMax = 4;

/** The types of abstract-level leave this part of a database's manifest out. */
const readsSync = (database: Database): boolean =>
  (database.supports as { readonly getSync?: boolean }).getSync === true;

/**
 * Reads values by key, undefined for what is not there. A few are read synchronously where the database
 * can: the way over a thread takes ten times as long as the read itself.
 */
export const getValues = (
  database: Database,
  keys: readonly Uint8Array[],
): Promise<readonly (Uint8Array | undefined)[]> | readonly (Uint8Array | undefined)[] =>
  keys.length <= syncReadsMax && database.status === 'open' && readsSync(database)
    ? keys.map((key) => database.getSync(key))
    : database.getMany(keys as Uint8Array[]);
