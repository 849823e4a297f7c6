import {
  compareBytes,
  findInBlock,
  invariant,
  openBlock,
  utf8Encode,
  type OpenBlock,
  newBytes,
} from '@tidemark/model';
import type { LayerBlock } from '@tidemark/ports';
import { placeText, type BlockPlaces } from './block-places.js';
import { getValues, put, type Database, type DatabaseOperation } from './database.js';
import { prefixEnd, rowPrefixBytes, space, tablePrefix } from './keys.js';
import { seal, sealBytes, unseal } from './sealed-value.js';

/** Bytes that one call of an iterator over blocks fetches at most; an option of LevelDB. */
const lookBytes = 1_024;

/** Prefix of the blocks of a table in a layer. */
export const blockPrefix = (layer: number, table: number): Uint8Array =>
  tablePrefix(space.block, layer, table);

const joined = (prefix: Uint8Array, bytes: Uint8Array): Uint8Array => {
  const key = new Uint8Array(prefix.length + bytes.length);
  key.set(prefix);
  key.set(bytes, prefix.length);
  return key;
};

/** Bytes that blocks take when they are sealed. */
export const sealedBlockBytes = (blocks: readonly LayerBlock[]): number =>
  blocks.reduce((sum, { block }) => sum + sealBytes + block.bytes.length, 0);

/** Turns blocks into operations. Their values lie in `room`, where one of `sealedBlockBytes` is given. */
export const blockOperations = (
  blocks: readonly LayerBlock[],
  room?: Uint8Array,
): DatabaseOperation[] => {
  const operations: DatabaseOperation[] = [];
  let at = 0;
  for (const { layer, table, block } of blocks) {
    const key = joined(blockPrefix(layer, table), block.last);
    const value = seal(key, true, block.bytes, room?.subarray(at));
    at += value.length;
    operations.push(put(key, value));
  }
  return operations;
};

/** Opens a stored block. Throws `storage-damaged` when key or value were altered. */
export const openStoredBlock = (key: Uint8Array, sealed: Uint8Array): OpenBlock =>
  openBlock(unsealedBlock(key, sealed));

const unsealedBlock = (key: Uint8Array, sealed: Uint8Array): Uint8Array => {
  const value = unseal(key, true, sealed);
  invariant(value !== null, 'a block is no marker');
  return value;
};

/** Reads the blocks of a table that end behind an id, in order: at least one if there is any, up to `maxBytes`. */
export const readBlocksBehind = async (
  database: Database,
  prefix: Uint8Array,
  after: string | undefined,
  maxBytes: number,
): Promise<readonly Uint8Array[]> => {
  // Behind an id: keys with a byte more are ids of their own.
  const gte = after === undefined ? prefix : joined(prefix, utf8Encode(`${after}\0`));
  const range = { gte, lt: prefixEnd(prefix) as Uint8Array, highWaterMarkBytes: maxBytes };
  const iterator = database.iterator(range);
  const blocks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const entries = await iterator.nextv(blocksPerRead);
      if (entries.length === 0) return blocks;
      for (const [key, sealed] of entries) {
        bytes += sealed.length;
        if (blocks.length > 0 && bytes > maxBytes) return blocks;
        blocks.push(unsealedBlock(key, sealed));
      }
    }
  } finally {
    await iterator.close();
  }
};

/** Blocks that one call reads at most: about as many as a page of rows needs, 1 MB. */
const blocksPerRead = 64;

/** Row that is looked for: its place in the answer, its id in UTF-8 and as `BlockPlaces` compares it. */
interface Wanted {
  readonly at: number;
  readonly id: Uint8Array;
  readonly text: string;
}

type Found = (at: number, value: Uint8Array) => void;

/** Where blocks are read: the database, and what is known of their places. */
export interface BlockPlace {
  readonly database: Database;
  readonly blockPlaces: BlockPlaces;
}

/** Reads the rows of the ids at `places` from the blocks under a prefix. */
export const getBlockRows = (
  place: BlockPlace,
  prefix: Uint8Array,
  ids: readonly string[],
  places: readonly number[],
  found: Found,
): Promise<void> | undefined => {
  const unknown: Wanted[] = [];
  const known = new Map<string, Wanted[]>();
  for (const at of places) {
    const id = ids[at] as string;
    const text = placeText(id);
    const wanted = { at, id: utf8Encode(id), text };
    const last = place.blockPlaces.find(prefix, text);
    const others = last === undefined ? unknown : known.get(last);
    if (others !== undefined) others.push(wanted);
    else known.set(last as string, [wanted]);
  }
  const search = { place, prefix, found, unknown };
  if (known.size === 1) {
    const [[last, wanted]] = known as unknown as [[string, readonly Wanted[]]];
    const key = joinedText(prefix, last);
    const take = ([value]: readonly (Uint8Array | undefined)[]): Promise<void> | undefined => {
      takeBlock(search, last, key, value, wanted);
      return unknown.length === 0 ? undefined : seekBlockRows(search);
    };
    const values = getValues(place.database, [key]);
    return values instanceof Promise ? values.then(take) : take(values);
  }
  return known.size === 0 ? seekBlockRows(search) : readKnownBlocks(search, known);
};

interface BlockSearch {
  readonly place: BlockPlace;
  readonly prefix: Uint8Array;
  readonly found: Found;
  /** Rows in blocks whose place is not known. */
  readonly unknown: Wanted[];
}

const joinedText = (prefix: Uint8Array, text: string): Uint8Array => {
  const key = newBytes(prefix.length + text.length);
  key.set(prefix);
  for (let i = 0; i < text.length; i += 1) key[prefix.length + i] = text.charCodeAt(i);
  return key;
};

/** Takes rows out of a block that was read by its key; gives back those that it has no place for. */
const takeBlock = (
  { place, prefix, found, unknown }: BlockSearch,
  last: string,
  key: Uint8Array,
  sealed: Uint8Array | undefined,
  wanted: readonly Wanted[],
): void => {
  const bytes = sealed === undefined ? undefined : unsealedBlock(key, sealed);
  let isStale = bytes === undefined;
  for (const one of wanted) {
    const row = bytes === undefined ? null : findInBlock(bytes, one.id);
    // The block has gone or begins further behind: an iterator finds what took its place.
    if (row === null) {
      isStale = true;
      unknown.push(one);
    } else if (row !== undefined) found(one.at, row);
  }
  if (isStale) place.blockPlaces.drop(prefix, last);
};

const readKnownBlocks = async (
  search: BlockSearch,
  known: ReadonlyMap<string, readonly Wanted[]>,
): Promise<void> => {
  const blocks = [...known];
  for (let from = 0; from < blocks.length; from += blocksPerRead) {
    const some = blocks.slice(from, from + blocksPerRead);
    const keys = some.map(([last]) => joinedText(search.prefix, last));
    const values = await getValues(search.place.database, keys);
    for (const [i, [last, wanted]] of some.entries())
      takeBlock(search, last, keys[i] as Uint8Array, values[i], wanted);
  }
  if (search.unknown.length > 0) await seekBlockRows(search);
};

/** Looks for rows with an iterator, in the order of their ids, and remembers the blocks that it comes by. */
const seekBlockRows = async ({ place, prefix, found, unknown }: BlockSearch): Promise<void> => {
  unknown.sort((a, b) => compareBytes(a.id, b.id));
  const range = {
    gte: prefix,
    lt: prefixEnd(prefix) as Uint8Array,
    highWaterMarkBytes: lookBytes,
  };
  const iterator = place.database.iterator(range);
  let last: Uint8Array | undefined;
  let block: Uint8Array | undefined;
  try {
    for (const { at, id } of unknown) {
      if (block === undefined || last === undefined || compareBytes(last, id) < 0) {
        iterator.seek(joined(prefix, id));
        const entry = await iterator.next();
        // No block ends behind this id, nor behind the greater ones.
        if (entry === undefined) return;
        const [key, sealed] = entry;
        last = key.subarray(rowPrefixBytes);
        block = unsealedBlock(key, sealed);
        place.blockPlaces.learn(key, sealed, sealBytes);
      }
      const value = findInBlock(block, id);
      if (value !== undefined && value !== null) found(at, value);
    }
  } finally {
    await iterator.close();
  }
};
