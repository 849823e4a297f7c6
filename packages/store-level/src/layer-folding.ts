import { compareBytes, invariant } from '@tidemark/model';
import { del, plain, put, type Database, type DatabaseOperation } from './database.js';
import { layerPrefix, prefixEnd, setU32, space, tablePrefix } from './keys.js';

/** Maximum bytes of values that one step of folding moves, except that one entry always goes. */
export const foldBytesMax = 4 * 1_024 * 1_024;

const layeredSpaces = [space.image, space.view, space.index] as const;
const chunkEntries = 1_000;
const chunkBytes = 256 * 1_024;

/** A bounded step: the operations to write, and whether nothing is left behind them. */
export interface FoldStep {
  readonly operations: readonly DatabaseOperation[];
  readonly done: boolean;
  /** First key that the step left: where the next one begins. Undefined when it is done. */
  readonly next: Uint8Array | undefined;
}

const visitPrefix = async (
  database: Database,
  prefix: Uint8Array,
  start: Uint8Array | undefined,
  values: boolean,
  visit: (key: Uint8Array, value: Uint8Array) => boolean,
): Promise<boolean> => {
  const end = prefixEnd(prefix) as Uint8Array;
  if (start !== undefined && compareBytes(start, end) >= 0) return true;
  const range = {
    gte: start !== undefined && compareBytes(start, prefix) > 0 ? start : prefix,
    lt: end,
    values,
    highWaterMarkBytes: chunkBytes,
  };
  const iterator = database.iterator(range);
  try {
    for (;;) {
      const entries = await iterator.nextv(chunkEntries);
      if (entries.length === 0) return true;
      for (const [key, value] of entries) if (!visit(key, value)) return false;
    }
  } finally {
    await iterator.close();
  }
};

/**
 * Plans to move at most `limit` entries of layer `from` into the older layer `into`, beginning at `start`:
 * a step that began at the front again would walk over all that earlier steps deleted.
 */
export const foldStep = async (
  database: Database,
  from: number,
  into: number,
  limit: number,
  start: Uint8Array | undefined,
): Promise<FoldStep> => {
  invariant(from !== into, 'a layer cannot be folded into itself');
  const operations: DatabaseOperation[] = [];
  let next: Uint8Array | undefined;
  let moved = 0;
  let bytes = 0;
  for (const first of layeredSpaces) {
    const ended = await visitPrefix(
      database,
      layerPrefix(first, from),
      start,
      true,
      (key, value) => {
        if (moved >= limit || (moved > 0 && bytes + value.length > foldBytesMax)) {
          next = plain(key);
          return false;
        }
        const target = plain(key).slice();
        setU32(target, 1, into);
        operations.push(put(target, value), del(key));
        moved += 1;
        bytes += value.length;
        return true;
      },
    );
    if (!ended) return { operations, done: false, next };
  }
  return { operations, done: true, next: undefined };
};

/** Plans to remove at most `limit` entries of a layer, of one table if given. */
export const clearStep = async (
  database: Database,
  layer: number,
  limit: number,
  table: number | undefined,
  start: Uint8Array | undefined,
): Promise<FoldStep> => {
  const operations: DatabaseOperation[] = [];
  let next: Uint8Array | undefined;
  for (const first of layeredSpaces) {
    const prefix =
      table === undefined ? layerPrefix(first, layer) : tablePrefix(first, layer, table);
    const ended = await visitPrefix(database, prefix, start, false, (key) => {
      if (operations.length >= limit) {
        next = plain(key);
        return false;
      }
      operations.push(del(key));
      return true;
    });
    if (!ended) return { operations, done: false, next };
  }
  return { operations, done: true, next: undefined };
};
