import { utf8Decode, utf8Encode } from './bytes.js';
import { TidemarkError } from './error.js';

/*
 * Block: rows in id order.
 *
 *   format u8, count u16, per row {id length u8, row length u32}, ids, rows; numbers big-endian
 */
const blockFormat = 1;
const headBytes = 3;
const entryBytes = 5;

/** Bytes of ids and rows at which a block is full: small enough that reading one row of it stays cheap. */
export const blockBytes = 16 * 1_024;
/** Most rows of a block. */
export const blockRowsMax = 256;

/** Rows of one table in id order, packed: a server prepares, a page carries and a replica stores the same bytes. */
export interface RowBlock {
  /** Id of the last row in UTF-8. */
  readonly last: Uint8Array;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** Row by its id. */
export interface BlockRow {
  readonly id: string;
  readonly value: Uint8Array;
}

/** Rows of a block, each a view of its bytes. */
export interface OpenBlock {
  readonly ids: readonly Uint8Array[];
  readonly values: readonly Uint8Array[];
}

/** Cuts rows in id order into blocks. Ids are of 1 to 255 bytes in UTF-8. */
export const packBlocks = (rows: readonly BlockRow[]): readonly RowBlock[] => {
  const blocks: RowBlock[] = [];
  let ids: Uint8Array[] = [];
  let first = 0;
  let length = 0;
  for (let i = 0; i < rows.length; i += 1) {
    const { id, value } = rows[i] as BlockRow;
    const idBytes = utf8Encode(id);
    ids.push(idBytes);
    length += idBytes.length + value.length;
    if (length < blockBytes && ids.length < blockRowsMax && i + 1 < rows.length) continue;
    blocks.push({ last: idBytes, count: ids.length, bytes: packBlock(ids, rows, first, length) });
    ids = [];
    first = i + 1;
    length = 0;
  }
  return blocks;
};

const packBlock = (
  ids: readonly Uint8Array[],
  rows: readonly BlockRow[],
  first: number,
  length: number,
): Uint8Array => {
  const out = new Uint8Array(headBytes + entryBytes * ids.length + length);
  out[0] = blockFormat;
  out[1] = ids.length >>> 8;
  out[2] = ids.length;
  let at = headBytes;
  let idAt = headBytes + entryBytes * ids.length;
  for (let i = 0; i < ids.length; i += 1) {
    const id = ids[i] as Uint8Array;
    out[at] = id.length;
    setLength(out, at + 1, (rows[first + i] as BlockRow).value.length);
    at += entryBytes;
    out.set(id, idAt);
    idAt += id.length;
  }
  for (let i = 0; i < ids.length; i += 1) {
    const { value } = rows[first + i] as BlockRow;
    out.set(value, idAt);
    idAt += value.length;
  }
  return out;
};

/**
 * Checks bytes that claim to be a block and finds its last id; rows are not looked at. Undefined unless the
 * lengths add up and the ids are UTF-8 without NUL and ascend, the first one above `above`.
 */
export const checkBlock = (bytes: Uint8Array, above: Uint8Array): RowBlock | undefined => {
  const count = countOf(bytes);
  const idsAt = headBytes + entryBytes * count;
  if (bytes[0] !== blockFormat || count === 0 || count > blockRowsMax || idsAt > bytes.length)
    return undefined;
  let from = 0;
  let to = idsAt;
  let rowBytes = 0;
  // Every row of a first fill passes here on both sides: no view is made of its id.
  for (let i = 0, at = headBytes; i < count; i += 1, at += entryBytes) {
    const end = to + (bytes[at] as number);
    rowBytes += lengthAt(bytes, at + 1);
    if (end > bytes.length) return undefined;
    const order =
      i === 0 ? compareWithin(bytes, to, end, above) : -compareNext(bytes, from, to, end);
    if (order <= 0 || !isId(bytes, to, end)) return undefined;
    from = to;
    to = end;
  }
  return to + rowBytes === bytes.length
    ? { last: viewOf(bytes, from, to), count, bytes }
    : undefined;
};

const isId = (bytes: Uint8Array, from: number, to: number): boolean => {
  let isAscii = true;
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] as number;
    if (byte === 0) return false;
    if (byte >= 0x80) isAscii = false;
  }
  if (isAscii) return true;
  try {
    utf8Decode(viewOf(bytes, from, to));
    return true;
  } catch {
    return false;
  }
};

/** Opens a block. Throws `storage-damaged` for another form. */
export const openBlock = (bytes: Uint8Array): OpenBlock => {
  const count = countOf(bytes);
  const ids: Uint8Array[] = [];
  const values: Uint8Array[] = [];
  let idAt = headBytes + entryBytes * count;
  if (bytes[0] === blockFormat && count > 0 && idAt <= bytes.length) {
    const take = (length: number): Uint8Array => {
      const from = Math.min(idAt, bytes.length);
      idAt += length;
      return viewOf(bytes, from, Math.min(idAt, bytes.length));
    };
    for (let i = 0, at = headBytes; i < count; i += 1, at += entryBytes)
      ids.push(take(bytes[at] as number));
    for (let i = 0, at = headBytes; i < count; i += 1, at += entryBytes)
      values.push(take(lengthAt(bytes, at + 1)));
    if (idAt === bytes.length) return { ids, values };
  }
  throw damagedBlock();
};

/**
 * Visits the rows of a block in order, by where id and row begin and end in its bytes. Throws `storage-damaged` for
 * another form.
 */
export const visitBlock = (
  bytes: Uint8Array,
  visit: (id: number, idEnd: number, row: number, rowEnd: number) => void,
): void => {
  const count = countOf(bytes);
  const idsAt = headBytes + entryBytes * count;
  if (bytes[0] !== blockFormat || count === 0 || idsAt > bytes.length) throw damagedBlock();
  let rowAt = idsAt;
  for (let i = 0, at = headBytes; i < count; i += 1, at += entryBytes) rowAt += bytes[at] as number;
  let idAt = idsAt;
  for (let i = 0, at = headBytes; i < count; i += 1, at += entryBytes) {
    const idEnd = idAt + (bytes[at] as number);
    const rowEnd = rowAt + lengthAt(bytes, at + 1);
    if (rowEnd > bytes.length) throw damagedBlock();
    visit(idAt, idEnd, rowAt, rowEnd);
    [idAt, rowAt] = [idEnd, rowEnd];
  }
  if (rowAt !== bytes.length) throw damagedBlock();
};

const damagedBlock = (cause?: unknown): TidemarkError =>
  new TidemarkError('storage-damaged', 'a stored block of rows has another form', {}, cause);

/** Rows of a block with their ids as text, in order. Throws `storage-damaged` as `openBlock`. */
export const rowsOfBlock = (bytes: Uint8Array): readonly BlockRow[] => {
  const { ids, values } = openBlock(bytes);
  try {
    return ids.map((id, i) => ({ id: utf8Decode(id), value: values[i] as Uint8Array }));
  } catch (cause) {
    throw damagedBlock(cause);
  }
};

/**
 * Row of a block by id bytes, without opening the others: undefined when the block lacks it, null when its ids
 * begin above it. Throws `storage-damaged` for another form.
 */
export const findInBlock = (bytes: Uint8Array, id: Uint8Array): Uint8Array | undefined | null => {
  const count = countOf(bytes);
  let end = headBytes + entryBytes * count;
  if (bytes[0] !== blockFormat || count === 0 || end > bytes.length) throw damagedBlock();
  let found = -1;
  let isBelow = false;
  for (let i = 0, at = headBytes; i < count; i += 1, at += entryBytes) {
    const from = end;
    end += bytes[at] as number;
    if (found >= 0 || end > bytes.length) continue;
    if (i === 0) isBelow = compareWithin(bytes, from, end, id) > 0;
    if (end - from === id.length && endsWith(bytes, end, id)) found = i;
  }
  let value: Uint8Array | undefined;
  for (let i = 0, at = headBytes; i < count; i += 1, at += entryBytes) {
    const from = end;
    end += lengthAt(bytes, at + 1);
    if (i === found && end <= bytes.length) value = viewOf(bytes, from, end);
  }
  if (end !== bytes.length) throw damagedBlock();
  return isBelow ? null : value;
};

/** Ids that share a beginning are told apart at their ends. */
const endsWith = (bytes: Uint8Array, end: number, id: Uint8Array): boolean => {
  for (let k = 1; k <= id.length; k += 1) if (bytes[end - k] !== id[id.length - k]) return false;
  return true;
};

const compareWithin = (bytes: Uint8Array, from: number, to: number, id: Uint8Array): number => {
  const shared = Math.min(to - from, id.length);
  for (let k = 0; k < shared; k += 1) {
    const difference = (bytes[from + k] as number) - (id[k] as number);
    if (difference !== 0) return difference;
  }
  return to - from - id.length;
};

/** Compares the bytes from `from` to `middle` with those from there to `to`. */
const compareNext = (bytes: Uint8Array, from: number, middle: number, to: number): number => {
  const shared = Math.min(middle - from, to - middle);
  for (let k = 0; k < shared; k += 1) {
    const difference = (bytes[from + k] as number) - (bytes[middle + k] as number);
    if (difference !== 0) return difference;
  }
  return middle - from - (to - middle);
};

const countOf = (bytes: Uint8Array): number =>
  bytes.length < headBytes ? 0 : ((bytes[1] as number) << 8) | (bytes[2] as number);

const lengthAt = (bytes: Uint8Array, at: number): number =>
  (((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)) >>>
  0;

const setLength = (bytes: Uint8Array, at: number, length: number): void => {
  bytes[at] = length >>> 24;
  bytes[at + 1] = length >>> 16;
  bytes[at + 2] = length >>> 8;
  bytes[at + 3] = length;
};

const viewOf = (bytes: Uint8Array, from: number, to: number): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + from, Math.max(0, to - from));
