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
