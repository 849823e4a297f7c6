import { newBytes, TidemarkError, type OpenBlock } from '@tidemark/model';
import type { IndexRun } from '@tidemark/ports';
import { put, type DatabaseOperation } from './database.js';
import { indexPrefix, indexPrefixBytes, setU32, space } from './keys.js';
import { seal, unseal } from './sealed-value.js';
import { sortSuffixes, suffixesOf, type Suffixes } from './sorted-suffixes.js';

/*
 * Block of a run: what follows the prefix in index keys, in order, under the last of them.
 *
 *   format u8, count u16, per entry length u16, entries; numbers big-endian
 */
const blockFormat = 1;
const headBytes = 3;
/** Bytes of entries at which a block is full. */
const blockBytes = 16 * 1_024;
/** Most entries of a block. */
const blockEntriesMax = 1_024;

/** Length of the prefix `[space][layer u32][table u32][index u32][run u32]` of a run. */
export const runPrefixBytes = indexPrefixBytes + 4;

/** Prefix of the blocks of a run. */
export const runPrefix = (layer: number, table: number, index: number, run: number): Uint8Array => {
  const key = new Uint8Array(runPrefixBytes);
  key.set(indexPrefix(layer, table, index, space.run));
  setU32(key, indexPrefixBytes, run);
  return key;
};

/** Turns runs into operations: their entries sorted, in blocks. */
export const runOperations = (runs: readonly IndexRun[]): DatabaseOperation[] => {
  const operations: DatabaseOperation[] = [];
  for (const run of runs) {
    const prefix = runPrefix(run.layer, run.table, run.index, run.run);
    const suffixes = suffixesOf(run);
    const order = sortSuffixes(suffixes);
    let from = 0;
    let length = 0;
    for (let i = 0; i < order.length; i += 1) {
      const entry = order[i] as number;
      length += (suffixes.starts[entry + 1] as number) - (suffixes.starts[entry] as number);
      const isFull = length >= blockBytes || i + 1 - from >= blockEntriesMax;
      if (!isFull && i + 1 < order.length) continue;
      operations.push(blockOf(prefix, suffixes, order.subarray(from, i + 1), length));
      from = i + 1;
      length = 0;
    }
  }
  return operations;
};

const blockOf = (
  prefix: Uint8Array,
  { bytes, starts }: Suffixes,
  order: Uint32Array,
  length: number,
): DatabaseOperation => {
  const value = new Uint8Array(headBytes + 2 * order.length + length);
  value[0] = blockFormat;
  value[1] = order.length >>> 8;
  value[2] = order.length;
  let at = headBytes + 2 * order.length;
  for (let i = 0; i < order.length; i += 1) {
    const entry = order[i] as number;
    const start = starts[entry] as number;
    const end = starts[entry + 1] as number;
    value[headBytes + 2 * i] = (end - start) >>> 8;
    value[headBytes + 2 * i + 1] = end - start;
    // A view of each costs more than its bytes.
    for (let from = start; from < end; from += 1, at += 1) value[at] = bytes[from] as number;
  }
  const last = order[order.length - 1] as number;
  const suffix = bytes.subarray(starts[last], starts[last + 1]);
  const key = newBytes(prefix.length + suffix.length);
  key.set(prefix);
  key.set(suffix, prefix.length);
  return put(key, seal(key, true, value));
};

const present = new Uint8Array(0);

/**
 * Opens a stored block of a run: ends of index keys, in order, each with an empty value. Throws
 * `storage-damaged` when key or value were altered.
 */
export const openRunBlock = (key: Uint8Array, sealed: Uint8Array): OpenBlock => {
  const value = unseal(key, true, sealed);
  const count = value === null ? 0 : ((value[1] as number) << 8) | (value[2] as number);
  let at = headBytes + 2 * count;
  if (value === null || value[0] !== blockFormat || count === 0 || at > value.length)
    throw damaged();
  const ids: Uint8Array[] = [];
  const values: Uint8Array[] = [];
  for (let i = 0; i < count; i += 1) {
    const lengthAt = headBytes + 2 * i;
    const length = ((value[lengthAt] as number) << 8) | (value[lengthAt + 1] as number);
    ids.push(value.subarray(at, at + length));
    values.push(present);
    at += length;
  }
  if (at !== value.length) throw damaged();
  return { ids, values };
};

const damaged = (): TidemarkError =>
  new TidemarkError('storage-damaged', 'a stored block of an index has another form', {});

/** Operations that put the entries of a stored block as entries of their own into a layer. */
export const entriesOfBlock = (
  key: Uint8Array,
  sealed: Uint8Array,
  into: Uint8Array,
): DatabaseOperation[] =>
  openRunBlock(key, sealed).ids.map((suffix) => {
    const entry = newBytes(into.length + suffix.length);
    entry.set(into);
    entry.set(suffix, into.length);
    return put(entry, seal(entry, true, present));
  });
