import type { Hash } from '@tidemark/model';
import { del, put, type Database, type DatabaseOperation } from './database.js';
import type { GroupWriter } from './group-writer.js';
import { readDump } from './server-dump.js';
import { contentRanges, loadingKey } from './server-keys.js';

/** Bytes of one batch of a load. */
const loadBatchBytes = 4 * 1024 * 1024;
/** Entries of one batch of a load. */
const loadBatchEntries = 10_000;

/** Tells whether a load was under way when the store was closed or the process ended. */
export const loadWasInterrupted = async (database: Database): Promise<boolean> =>
  (await database.get(loadingKey())) !== undefined;

/** Notes that a load is under way: before the first removal, until everything is durable. */
export const markLoading = (writer: GroupWriter): Promise<void> =>
  writer.write([put(loadingKey(), Uint8Array.of(1))], 'disk');

/**
 * Replaces the content of a store that is marked by a dump. Where it rejects, a part is stored: `emptyStore`
 * ends that.
 */
export const loadStore = async (
  database: Database,
  writer: GroupWriter,
  chunks: AsyncIterable<Uint8Array>,
  hash: Hash,
): Promise<void> => {
  await clearContent(database);
  let operations: DatabaseOperation[] = [];
  let bytes = 0;
  for await (const { key, value } of readDump(chunks, hash)) {
    operations.push(put(key, value));
    bytes += key.length + value.length;
    if (bytes < loadBatchBytes && operations.length < loadBatchEntries) continue;
    await writer.write(operations, 'os');
    operations = [];
    bytes = 0;
  }
  await writer.write([...operations, del(loadingKey())], 'disk', undefined, true);
};

/** Empties a store and ends the mark of a load and the reports of lost batches. */
export const emptyStore = async (database: Database, writer: GroupWriter): Promise<void> => {
  await writer.recover();
  await clearContent(database);
  await writer.write([del(loadingKey())], 'disk', undefined, true);
};

/**
 * Removes the content and what was prepared from it, all but the mark of a load and input that this store keeps. LevelDB does it in small
 * batches of its own.
 */
const clearContent = async (database: Database): Promise<void> => {
  for (const range of contentRanges) await database.clear(range);
};
