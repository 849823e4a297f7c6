import { compareBytes, concatBytes, invariant } from '@tidemark/model';
import { del, plain, put, type Database, type DatabaseOperation } from './database.js';
import {
  getU32,
  indexPrefix,
  indexPrefixBytes,
  layerPrefix,
  prefixEnd,
  rowPrefixBytes,
  setU32,
  space,
  tablePrefix,
} from './keys.js';
import { blockPrefix, openStoredBlock } from './layer-blocks.js';
import { entriesOfBlock } from './index-runs.js';
import { isMarker, seal } from './sealed-value.js';

/** Maximum bytes of values that one step of folding moves, except that one entry always goes. */
export const foldBytesMax = 4 * 1_024 * 1_024;

/** Blocks go first: an entry of its own that hides one of a block must not come to rest before it. */
const layeredSpaces = [space.run, space.block, space.image, space.view, space.index] as const;
const nothing = new Uint8Array(0);
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

const inLayer = (key: Uint8Array, layer: number): Uint8Array => {
  const target = plain(key).slice();
  setU32(target, 1, layer);
  return target;
};

const firstKey = async (
  database: Database,
  prefix: Uint8Array,
  options: { readonly gte?: Uint8Array; readonly reverse?: boolean } = {},
): Promise<Uint8Array | undefined> => {
  const lt = prefixEnd(prefix) as Uint8Array;
  const iterator = database.keys({ gte: prefix, lt, limit: 1, ...options });
  try {
    return await iterator.next();
  } finally {
    await iterator.close();
  }
};

/** Beginnings of so many bytes of the keys under a prefix, each once. */
const beginningsOf = async (
  database: Database,
  all: Uint8Array,
  length: number,
): Promise<readonly Uint8Array[]> => {
  const found: Uint8Array[] = [];
  let key = await firstKey(database, all);
  while (key !== undefined) {
    const beginning = plain(key).slice(0, length);
    found.push(beginning);
    key = await firstKey(database, all, { gte: prefixEnd(beginning) as Uint8Array });
  }
  return found;
};

/**
 * Where blocks of layer `from` may stay whole in layer `into`: by table the greatest id that its blocks
 * hold there. Tables with rows of their own there are left out, as those would hide the blocks'.
 */
const placesForBlocks = async (
  database: Database,
  from: number,
  into: number,
): Promise<Map<number, Uint8Array>> => {
  const places = new Map<number, Uint8Array>();
  for (const prefix of await beginningsOf(
    database,
    layerPrefix(space.block, from),
    rowPrefixBytes,
  )) {
    const table = getU32(prefix, 5);
    if ((await firstKey(database, tablePrefix(space.image, into, table))) !== undefined) continue;
    const last = await firstKey(database, blockPrefix(into, table), { reverse: true });
    places.set(table, last === undefined ? nothing : plain(last).slice(rowPrefixBytes));
  }
  return places;
};

/** What is known of runs where two layers are folded. */
interface RunPlaces {
  /** Indexes whose runs may stay whole: no entry of its own lies there that would hide theirs. */
  readonly free: ReadonlySet<string>;
  /** Indexes with runs in the older layer: markers hide entries of theirs. */
  readonly held: Set<string>;
}

/** Table and index of a key of an index entry or of a run. */
const indexOf = (key: Uint8Array): string => `${getU32(key, 5)} ${getU32(key, 9)}`;

const placesForRuns = async (
  database: Database,
  from: number,
  into: number,
): Promise<RunPlaces> => {
  const runsOf = (layer: number): Promise<readonly Uint8Array[]> =>
    beginningsOf(database, layerPrefix(space.run, layer), indexPrefixBytes);
  const free = new Set<string>();
  for (const prefix of await runsOf(from)) {
    const entries = indexPrefix(into, getU32(prefix, 5), getU32(prefix, 9));
    if ((await firstKey(database, entries)) === undefined) free.add(indexOf(prefix));
  }
  return { free, held: new Set((await runsOf(into)).map(indexOf)) };
};

/** Moves a block of a run: whole where nothing hides its entries there, else entry by entry. */
const pushRunBlock = (
  operations: DatabaseOperation[],
  { free, held }: RunPlaces,
  into: number,
  key: Uint8Array,
  value: Uint8Array,
): number => {
  const index = indexOf(key);
  operations.push(del(key));
  if (free.has(index)) {
    held.add(index);
    operations.push(put(inLayer(key, into), value));
    return 1;
  }
  const entries = entriesOfBlock(key, value, indexPrefix(into, getU32(key, 5), getU32(key, 9)));
  for (const entry of entries) operations.push(entry);
  return entries.length;
};

/** Moves a block: whole where it lies above all rows of its table there, else row by row. */
const pushBlock = (
  operations: DatabaseOperation[],
  places: Map<number, Uint8Array>,
  into: number,
  key: Uint8Array,
  value: Uint8Array,
): number => {
  const table = getU32(key, 5);
  const last = places.get(table);
  const block = openStoredBlock(key, value);
  operations.push(del(key));
  if (last !== undefined && compareBytes(block.ids[0] as Uint8Array, last) > 0) {
    operations.push(put(inLayer(key, into), value));
    places.set(table, plain(key).slice(rowPrefixBytes));
    return 1;
  }
  places.delete(table);
  const prefix = tablePrefix(space.image, into, table);
  block.ids.forEach((id, at) => {
    const row = concatBytes([prefix, id]);
    operations.push(put(row, seal(row, true, block.values[at] as Uint8Array)));
  });
  return block.ids.length;
};

/** Two layers of which the newer one is folded into the older one. */
export interface FoldedLayers {
  readonly from: number;
  readonly into: number;
  /** Nothing lies beneath `into`. */
  readonly isOldest: boolean;
}

/**
 * Plans to move at most `limit` entries of layer `from` into the older layer `into`, beginning at `start`:
 * a step that began at the front again would walk over all that earlier steps deleted.
 *
 * Into the oldest layer no marker goes that would hide nothing there: each uploaded edit leaves one. Only
 * those stay that may hide a row of a block, or an entry of a run.
 */
export const foldStep = async (
  database: Database,
  { from, into, isOldest }: FoldedLayers,
  limit: number,
  start: Uint8Array | undefined,
): Promise<FoldStep> => {
  invariant(from !== into, 'a layer cannot be folded into itself');
  const operations: DatabaseOperation[] = [];
  let next: Uint8Array | undefined;
  let moved = 0;
  let bytes = 0;
  const places = await placesForBlocks(database, from, into);
  const runs = await placesForRuns(database, from, into);
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
        if (first === space.run) moved += pushRunBlock(operations, runs, into, key, value);
        else if (first === space.block) moved += pushBlock(operations, places, into, key, value);
        else {
          const target = inLayer(key, into);
          const hides =
            first === space.image || (first === space.index && runs.held.has(indexOf(key)));
          const ends = isOldest && !hides && isMarker(key, true, value);
          operations.push(ends ? del(target) : put(target, value), del(key));
          moved += 1;
        }
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
