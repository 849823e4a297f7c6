import { compareBytes, TidemarkError, utf8Encode } from '@tidemark/model';
import type { LayerRow } from '@tidemark/ports';
import { getU32, setU32 } from './keys.js';

/*
 * Block: rows in id order under the key of the last one.
 *
 *   format u8, count u16, per row {id length u8, row length u32}, ids, rows
 */
const blockFormat = 1;
const headBytes = 3;
const entryBytes = 5;

/** Bytes of rows at which a block is full: small enough that reading one row of it stays cheap. */
export const blockBytes = 16 * 1_024;
/** Most rows of a block. */
export const blockRowsMax = 256;

/** Rows of a block, each a view of its bytes. */
export interface OpenBlock {
  readonly ids: readonly Uint8Array[];
  readonly values: readonly Uint8Array[];
}

/** Cuts rows in id order into blocks: the id bytes of the last row, and the value. */
export const packBlocks = (
  rows: readonly LayerRow[],
): readonly { readonly last: Uint8Array; readonly value: Uint8Array }[] => {
  const blocks: { last: Uint8Array; value: Uint8Array }[] = [];
  let ids: Uint8Array[] = [];
  let first = 0;
  let bytes = 0;
  for (let i = 0; i < rows.length; i += 1) {
    const { id, value } = rows[i] as LayerRow;
    const idBytes = utf8Encode(id);
    ids.push(idBytes);
    bytes += idBytes.length + value.length;
    if (bytes < blockBytes && ids.length < blockRowsMax && i + 1 < rows.length) continue;
    blocks.push({ last: idBytes, value: packBlock(ids, rows, first, bytes) });
    ids = [];
    first = i + 1;
    bytes = 0;
  }
  return blocks;
};

const packBlock = (
  ids: readonly Uint8Array[],
  rows: readonly LayerRow[],
  first: number,
  bytes: number,
): Uint8Array => {
  const out = new Uint8Array(headBytes + entryBytes * ids.length + bytes);
  out[0] = blockFormat;
  out[1] = ids.length >>> 8;
  out[2] = ids.length;
  let at = headBytes;
  let idAt = headBytes + entryBytes * ids.length;
  for (let i = 0; i < ids.length; i += 1) {
    const id = ids[i] as Uint8Array;
    out[at] = id.length;
    setU32(out, at + 1, (rows[first + i] as LayerRow).value.length);
    at += entryBytes;
    out.set(id, idAt);
    idAt += id.length;
  }
  for (let i = 0; i < ids.length; i += 1) {
    const { value } = rows[first + i] as LayerRow;
    out.set(value, idAt);
    idAt += value.length;
  }
  return out;
};

/** Opens the value of a block. Throws `storage-damaged` for another form. */
export const openBlock = (bytes: Uint8Array): OpenBlock => {
  const count = bytes.length < headBytes ? 0 : ((bytes[1] as number) << 8) | (bytes[2] as number);
  const ids: Uint8Array[] = [];
  const values: Uint8Array[] = [];
  let idAt = headBytes + entryBytes * count;
  let at = headBytes;
  if (bytes[0] === blockFormat && count > 0 && idAt <= bytes.length) {
    for (let i = 0; i < count; i += 1) {
      const end = idAt + (bytes[at] as number);
      ids.push(viewOf(bytes, idAt, Math.min(end, bytes.length)));
      idAt = end;
      at += entryBytes;
    }
    at = headBytes;
    for (let i = 0; i < count; i += 1) {
      const end = idAt + getU32(bytes, at + 1);
      values.push(viewOf(bytes, Math.min(idAt, bytes.length), Math.min(end, bytes.length)));
      idAt = end;
      at += entryBytes;
    }
    if (idAt === bytes.length) return { ids, values };
  }
  throw new TidemarkError('storage-damaged', 'a stored block of rows has another form');
};

/** Row of a block by id bytes; undefined when the block lacks it. */
export const rowInBlock = ({ ids, values }: OpenBlock, id: Uint8Array): Uint8Array | undefined => {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(ids[middle] as Uint8Array, id) < 0) low = middle + 1;
    else high = middle;
  }
  const found = ids[low];
  return found !== undefined && compareBytes(found, id) === 0 ? values[low] : undefined;
};

const viewOf = (bytes: Uint8Array, from: number, to: number): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + from, Math.max(0, to - from));
