import {
  compareBytes,
  invariant,
  openBlock,
  rowInBlock,
  utf8Encode,
  type OpenBlock,
} from '@tidemark/model';
import type { LayerBlock } from '@tidemark/ports';
import { put, type Database, type DatabaseOperation } from './database.js';
import { prefixEnd, rowPrefixBytes, space, tablePrefix } from './keys.js';
import { seal, unseal } from './sealed-value.js';

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

/** Turns blocks into operations. */
export const blockOperations = (blocks: readonly LayerBlock[]): DatabaseOperation[] => {
  const operations: DatabaseOperation[] = [];
  for (const { layer, table, block } of blocks) {
    const key = joined(blockPrefix(layer, table), block.last);
    operations.push(put(key, seal(key, true, block.bytes)));
  }
  return operations;
};

/** Opens a stored block. Throws `storage-damaged` when key or value were altered. */
export const openStoredBlock = (key: Uint8Array, sealed: Uint8Array): OpenBlock => {
  const value = unseal(key, true, sealed);
  invariant(value !== null, 'a block is no marker');
  return openBlock(value);
};

/** Reads the rows of the ids at `places` from the blocks under a prefix, in id order. */
export const getBlockRows = async (
  database: Database,
  prefix: Uint8Array,
  ids: readonly string[],
  places: readonly number[],
  found: (at: number, value: Uint8Array) => void,
): Promise<void> => {
  const wanted = places
    .map((at) => ({ at, id: utf8Encode(ids[at] as string) }))
    .sort((a, b) => compareBytes(a.id, b.id));
  const range = {
    gte: prefix,
    lt: prefixEnd(prefix) as Uint8Array,
    highWaterMarkBytes: lookBytes,
  };
  const iterator = database.iterator(range);
  let last: Uint8Array | undefined;
  let block: OpenBlock | undefined;
  try {
    for (const { at, id } of wanted) {
      if (block === undefined || last === undefined || compareBytes(last, id) < 0) {
        iterator.seek(joined(prefix, id));
        const entry = await iterator.next();
        // No block ends behind this id, nor behind the greater ones.
        if (entry === undefined) return;
        last = entry[0].subarray(rowPrefixBytes);
        block = openStoredBlock(entry[0], entry[1]);
      }
      const value = rowInBlock(block, id);
      if (value !== undefined) found(at, value);
    }
  } finally {
    await iterator.close();
  }
};
