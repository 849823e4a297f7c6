import { invariant } from '@tidemark/model';
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
}

const visitPrefix = async (
  database: Database,
  prefix: Uint8Array,
  values: boolean,
  visit: (key: Uint8Array, value: Uint8Array) => boolean,
): Promise<boolean> => {
  const range = {
    gte: prefix,
    lt: prefixEnd(prefix) as Uint8Array,
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

/** Plans to move at most `limit` entries of layer `from` into the older layer `into`. */
export const foldStep = async (
  database: Database,
  from: number,
  into: number,
  limit: number,
): Promise<FoldStep> => {
  invariant(from !== into, 'a layer cannot be folded into itself');
  const operations: DatabaseOperation[] = [];
  let moved = 0;
  let bytes = 0;
  for (const first of layeredSpaces) {
    const ended = await visitPrefix(database, layerPrefix(first, from), true, (key, value) => {
      if (moved >= limit || (moved > 0 && bytes + value.length > foldBytesMax)) return false;
      const target = plain(key).slice();
      setU32(target, 1, into);
      operations.push(put(target, value), del(key));
      moved += 1;
      bytes += value.length;
      return true;
    });
    if (!ended) return { operations, done: false };
  }
  return { operations, done: true };
};

/** Plans to remove at most `limit` entries of a layer, of one table if given. */
export const clearStep = async (
  database: Database,
  layer: number,
  limit: number,
  table: number | undefined,
): Promise<FoldStep> => {
  const operations: DatabaseOperation[] = [];
  for (const first of layeredSpaces) {
    const prefix =
      table === undefined ? layerPrefix(first, layer) : tablePrefix(first, layer, table);
    const ended = await visitPrefix(database, prefix, false, (key) => {
      if (operations.length >= limit) return false;
      operations.push(del(key));
      return true;
    });
    if (!ended) return { operations, done: false };
  }
  return { operations, done: true };
};
