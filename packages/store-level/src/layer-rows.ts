import { utf8Decode, utf8Encode, newBytes } from '@tidemark/model';
import type { IndexEntry, IndexRange, LayerPage, LayerPut, LayerSpace } from '@tidemark/ports';
import { getValues, put, type Database, type DatabaseOperation } from './database.js';
import type { EmptyTables } from './empty-tables.js';
import { escapeKey, indexKey, indexPrefix, space, tablePrefix, unescapeKey } from './keys.js';
import { openRunBlock, runPrefix } from './index-runs.js';
import type { KnownRuns } from './known-runs.js';
import { blockPrefix, getBlockRows, openStoredBlock, type BlockPlace } from './layer-blocks.js';
import { mergeLayers, type LayerSource, type SuffixBounds } from './layer-merge.js';
import { seal, unseal } from './sealed-value.js';

const present = new Uint8Array(0);

/** Where the rows of layers lie, newest first: a row of its own hides one in a block of its layer. */
const rowSources = (
  name: LayerSpace,
  table: number,
  layers: readonly number[],
): readonly LayerSource[] =>
  layers.flatMap((layer): LayerSource[] => {
    const rows = { prefix: tablePrefix(spaceByte(name), layer, table) };
    return name === 'image'
      ? [rows, { prefix: blockPrefix(layer, table), open: openStoredBlock }]
      : [rows];
  });

const spaceByte = (name: LayerSpace): number => (name === 'image' ? space.image : space.view);

/** Key from a prefix and a text. Most ids are ASCII: those are written without a detour. */
const joined = (prefix: Uint8Array, text: string): Uint8Array => {
  const key = newBytes(prefix.length + text.length);
  key.set(prefix);
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return joinedBytes(prefix, utf8Encode(text));
    key[prefix.length + i] = unit;
  }
  return key;
};

const joinedBytes = (prefix: Uint8Array, bytes: Uint8Array): Uint8Array => {
  const key = new Uint8Array(prefix.length + bytes.length);
  key.set(prefix);
  key.set(bytes, prefix.length);
  return key;
};

/** Turns the puts of a batch into operations, in the given order. */
export const layerOperations = (puts: readonly LayerPut[]): DatabaseOperation[] => {
  const operations: DatabaseOperation[] = [];
  let prefix: Uint8Array | undefined;
  let prefixOf: LayerPut | undefined;
  for (const item of puts) {
    if (item.space === 'index') {
      const key = indexKey(item.layer, item.table, item.index, item.key, item.id);
      operations.push(put(key, seal(key, true, item.present ? present : null)));
      continue;
    }
    // Puts come in runs of one table: the prefix of the run is built once.
    if (
      prefix === undefined ||
      prefixOf?.space !== item.space ||
      prefixOf.layer !== item.layer ||
      prefixOf.table !== item.table
    ) {
      prefix = tablePrefix(spaceByte(item.space), item.layer, item.table);
      prefixOf = item;
    }
    const key = joined(prefix, item.id);
    operations.push(put(key, seal(key, true, item.value)));
  }
  return operations;
};

/** Where rows are read: the database, and what is known of it. */
export interface RowPlace extends BlockPlace {
  readonly emptyTables: EmptyTables;
  readonly runs: KnownRuns;
}

/** Rows that are looked for, and which of them are still missing. */
interface Search {
  readonly place: RowPlace;
  readonly name: LayerSpace;
  readonly table: number;
  readonly ids: readonly string[];
  readonly rows: (Uint8Array | undefined)[];
  missing: readonly number[];
}

/** Rows by id, at once where all of them could be read synchronously. */
export type FoundRows = readonly (Uint8Array | undefined)[];

/** Reads rows by id over layers, newest first: lower layers are asked only for what is still missing. */
export const getLayerRows = (
  place: RowPlace,
  name: LayerSpace,
  table: number,
  ids: readonly string[],
  layers: readonly number[],
): FoundRows | Promise<FoundRows> => {
  const rows: (Uint8Array | undefined)[] = [];
  const missing: number[] = [];
  for (let at = 0; at < ids.length; at += 1) {
    rows.push(undefined);
    missing.push(at);
  }
  const search: Search = { place, name, table, ids, rows, missing };
  for (let at = 0; at < layers.length && search.missing.length > 0; at += 1) {
    const step = searchLayer(search, layers[at] as number);
    if (step !== undefined) return searchRest(search, layers, at + 1, step);
  }
  return rows;
};

const searchRest = async (
  search: Search,
  layers: readonly number[],
  from: number,
  begun: Promise<void>,
): Promise<FoundRows> => {
  await begun;
  for (let at = from; at < layers.length && search.missing.length > 0; at += 1)
    await searchLayer(search, layers[at] as number);
  return search.rows;
};

/** Looks for what is missing in one layer; undefined when it is done. */
const searchLayer = (search: Search, layer: number): Promise<void> | undefined => {
  const { place, name, table } = search;
  const prefix = tablePrefix(spaceByte(name), layer, table);
  const empty = place.emptyTables.isEmpty(prefix);
  const step =
    empty === true
      ? undefined
      : empty === false
        ? searchOwnRows(search, prefix)
        : empty.then((isEmpty) => (isEmpty ? undefined : searchOwnRows(search, prefix)));
  if (name !== 'image') return step;
  const blocks = blockPrefix(layer, table);
  return step === undefined
    ? searchBlocks(search, blocks)
    : step.then(() => searchBlocks(search, blocks));
};

const searchOwnRows = (search: Search, prefix: Uint8Array): Promise<void> | undefined => {
  const { place, ids, missing } = search;
  const keys: Uint8Array[] = [];
  for (const at of missing) keys.push(joined(prefix, ids[at] as string));
  const values = getValues(place.database, keys);
  if (values instanceof Promise) return values.then((read) => takeValues(search, keys, read));
  takeValues(search, keys, values);
  return undefined;
};

const takeValues = (
  search: Search,
  keys: readonly Uint8Array[],
  values: readonly (Uint8Array | undefined)[],
): void => {
  const still: number[] = [];
  for (let k = 0; k < keys.length; k += 1) {
    const at = search.missing[k] as number;
    const value = values[k];
    if (value === undefined) still.push(at);
    else search.rows[at] = unseal(keys[k] as Uint8Array, true, value) ?? undefined;
  }
  search.missing = still;
};

const searchBlocks = (search: Search, blocks: Uint8Array): Promise<void> | undefined => {
  if (search.missing.length === 0) return undefined;
  const empty = search.place.emptyTables.isEmpty(blocks);
  if (empty === true) return undefined;
  if (empty === false) return readBlocks(search, blocks);
  return empty.then((isEmpty) => (isEmpty ? undefined : readBlocks(search, blocks)));
};

const readBlocks = (search: Search, blocks: Uint8Array): Promise<void> | undefined => {
  const { place, ids, rows, missing } = search;
  const read = getBlockRows(place, blocks, ids, missing, (at, value) => {
    rows[at] = value;
  });
  const end = (): void => {
    search.missing = missing.filter((at) => rows[at] === undefined);
  };
  if (read !== undefined) return read.then(end);
  end();
  return undefined;
};

/** Options of a row scan. `after` is exclusive, `upTo` the inclusive far end, in the order of the scan. */
export interface RowScanOptions {
  readonly layers: readonly number[];
  readonly limit: number;
  readonly after?: string;
  readonly upTo?: string;
  readonly reverse?: boolean;
}

const rowBounds = ({ after, upTo, reverse }: RowScanOptions): SuffixBounds => {
  const near = after === undefined ? undefined : utf8Encode(after);
  const far = upTo === undefined ? undefined : utf8Encode(upTo);
  if (reverse === true) return { ...(near ? { lt: near } : {}), ...(far ? { gte: far } : {}) };
  return { ...(near ? { gt: near } : {}), ...(far ? { lte: far } : {}) };
};

/** Looks which of the sources hold something, where that is not known yet: the others cost an iterator each. */
const lookAt = async (
  { emptyTables }: RowPlace,
  sources: readonly LayerSource[],
): Promise<void> => {
  for (const { prefix } of sources)
    if (emptyTables.known(prefix) === undefined) await emptyTables.isEmpty(prefix);
};

/** Scans rows in the order of their ids over layers; markers hide, and are not returned. */
export const scanLayerRows = async (
  place: RowPlace,
  name: LayerSpace,
  table: number,
  options: RowScanOptions,
): Promise<LayerPage> => {
  const { layers, limit } = options;
  const rows: { id: string; value: Uint8Array }[] = [];
  if (limit < 1) return { rows, next: options.after };
  const sources = rowSources(name, table, layers);
  await lookAt(place, sources);
  const ended = await mergeLayers({
    database: place.database,
    // At once with the opening of the iterators: an entry on its way into an older layer is seen in one of both.
    sources: sources.filter(({ prefix }) => place.emptyTables.known(prefix) !== true),
    bounds: rowBounds(options),
    reverse: options.reverse === true,
    limit,
    visit: (suffix, value) => {
      if (value === null) return true;
      if (rows.length === limit) return false;
      rows.push({ id: utf8Decode(suffix), value });
      return true;
    },
  });
  return { rows, next: ended ? undefined : rows.at(-1)?.id };
};

/** Scans one layer in the order of ids and keeps its markers as null. */
export const scanOneLayer = async (
  database: Database,
  name: LayerSpace,
  table: number,
  layer: number,
  after: string | undefined,
  limit: number,
): Promise<readonly { readonly id: string; readonly value: Uint8Array | null }[]> => {
  const rows: { id: string; value: Uint8Array | null }[] = [];
  if (limit < 1) return rows;
  await mergeLayers({
    database,
    sources: rowSources(name, table, [layer]),
    bounds: after === undefined ? {} : { gt: utf8Encode(after) },
    reverse: false,
    limit,
    visit: (suffix, value) => {
      rows.push({ id: utf8Decode(suffix), value });
      return rows.length < limit;
    },
  });
  return rows;
};

/** Options of an index scan. `after` is exclusive, in the order of the scan. */
export interface IndexScanOptions {
  readonly layers: readonly number[];
  readonly limit: number;
  readonly after?: IndexEntry;
  readonly reverse?: boolean;
}

const indexBounds = (range: IndexRange, { after, reverse }: IndexScanOptions): SuffixBounds => {
  const gte = escapeKey(range.gte);
  const lt = escapeKey(range.lt);
  if (after === undefined) return { gte, lt };
  const from = joined(escapeKey(after.key), after.id);
  return reverse === true ? { gte, lt: from } : { gt: from, lt };
};

/** Looks which runs an index has in layers, until that is known of all of them. */
const lookForRuns = async (
  { runs }: RowPlace,
  table: number,
  index: number,
  layers: readonly number[],
): Promise<void> => {
  const unknown = (): number | undefined =>
    layers.find((layer) => runs.of(layer, table, index) === undefined);
  for (let layer = unknown(); layer !== undefined; layer = unknown())
    await runs.look(layer, table, index);
};

/** Where the entries of an index lie, newest first: an entry of its own hides one in a run of its layer. */
const indexSources = (
  { runs }: RowPlace,
  table: number,
  index: number,
  layers: readonly number[],
): readonly LayerSource[] =>
  layers.flatMap((layer): LayerSource[] => [
    { prefix: indexPrefix(layer, table, index) },
    ...[...(runs.of(layer, table, index) ?? [])].map((run) => ({
      prefix: runPrefix(layer, table, index, run),
      open: openRunBlock,
    })),
  ]);

/** Scans index entries of a key range over layers, by key, ties by id. */
export const scanIndexEntries = async (
  place: RowPlace,
  table: number,
  index: number,
  range: IndexRange,
  options: IndexScanOptions,
): Promise<readonly IndexEntry[]> => {
  const entries: IndexEntry[] = [];
  if (options.limit < 1) return entries;
  await lookForRuns(place, table, index, options.layers);
  await mergeLayers({
    database: place.database,
    // At once with the opening of the iterators, as for rows.
    sources: indexSources(place, table, index, options.layers),
    bounds: indexBounds(range, options),
    reverse: options.reverse === true,
    limit: options.limit,
    visit: (suffix, value) => {
      if (value === null) return true;
      const { key, rest } = unescapeKey(suffix);
      entries.push({ key, id: utf8Decode(rest) });
      return entries.length < options.limit;
    },
  });
  return entries;
};
