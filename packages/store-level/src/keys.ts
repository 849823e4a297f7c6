import { concatBytes, invariant, utf8Decode, utf8Encode, newBytes } from '@tidemark/model';

/**
 * First byte of every key. 0x00 to 0x0f belong to every kind of store, 0x10 to 0x3f to the replica store,
 * 0x40 to 0x5f to the server store, 0x60 to 0x7f to the input log.
 */
export const space = {
  meta: 0x00,
  ring: 0x01,
  log: 0x10,
  logBase: 0x11,
  state: 0x12,
  note: 0x13,
  run: 0x1e,
  block: 0x1f,
  image: 0x20,
  view: 0x21,
  index: 0x22,
} as const;

/** Greatest integer that six bytes hold. */
export const u48Max = 2 ** 48 - 1;

/** Writes an integer of six bytes, big-endian, so that keys order by value. */
export const setU48 = (bytes: Uint8Array, at: number, value: number): void => {
  invariant(Number.isInteger(value) && value >= 0 && value <= u48Max, 'u48 out of range');
  invariant(at + 6 <= bytes.length, 'six bytes do not fit');
  const high = Math.floor(value / 2 ** 32);
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  setLow(bytes, at + 2, value % 2 ** 32);
};

/** Reads an integer of six bytes, big-endian. */
export const getU48 = (bytes: Uint8Array, at: number): number => {
  // A value that was cut must not pass for a smaller number.
  if (at + 6 > bytes.length) throw new RangeError('six bytes lie outside of a stored value');
  return (
    (((bytes[at] as number) << 8) | (bytes[at + 1] as number)) * 2 ** 32 + getU32(bytes, at + 2)
  );
};

/** Writes an integer of four bytes, big-endian. */
export const setU32 = (bytes: Uint8Array, at: number, value: number): void => {
  invariant(Number.isInteger(value) && value >= 0 && value < 2 ** 32, 'u32 out of range');
  setLow(bytes, at, value);
};

const setLow = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
};

/** Reads an integer of four bytes, big-endian. */
export const getU32 = (bytes: Uint8Array, at: number): number =>
  (((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)) >>>
  0;

/** Key `[space][u48]`: entries in the order of a number. */
export const numberedKey = (first: number, value: number): Uint8Array => {
  const key = newBytes(7);
  key[0] = first;
  setU48(key, 1, value);
  return key;
};

/** Key `[space][UTF-8 of the text]`: entries in the order of the UTF-8 bytes. */
export const textKey = (first: number, text: string): Uint8Array => {
  const bytes = utf8Encode(text);
  const key = new Uint8Array(1 + bytes.length);
  key[0] = first;
  key.set(bytes, 1);
  return key;
};

/** Smallest byte string above all that start with `prefix`; undefined when there is none. */
export const prefixEnd = (prefix: Uint8Array): Uint8Array | undefined => {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  if (length === 0) return undefined;
  const end = prefix.slice(0, length);
  end[length - 1] = (end[length - 1] as number) + 1;
  return end;
};

/** Length of the prefix `[space][layer u32][table u32]` of a row key. */
export const rowPrefixBytes = 9;
/** Length of the prefix `[space][layer u32][table u32][index u32]` of an index key. */
export const indexPrefixBytes = 13;

/** Prefix of all keys of a layer in one space. */
export const layerPrefix = (first: number, layer: number): Uint8Array => {
  const key = new Uint8Array(5);
  key[0] = first;
  setU32(key, 1, layer);
  return key;
};

/** Prefix of all keys of a table of a layer in one space. */
export const tablePrefix = (first: number, layer: number, table: number): Uint8Array => {
  const key = new Uint8Array(rowPrefixBytes);
  key[0] = first;
  setU32(key, 1, layer);
  setU32(key, 5, table);
  return key;
};

/** Key of a row: prefix, then the UTF-8 bytes of the id, so that rows order by them. */
export const rowKey = (first: number, layer: number, table: number, id: string): Uint8Array =>
  concatBytes([tablePrefix(first, layer, table), utf8Encode(id)]);

/** Id within a row key. */
export const rowKeyId = (key: Uint8Array): string => utf8Decode(key.subarray(rowPrefixBytes));

/** Prefix of all keys of one index of a layer: of its entries, or of their runs. */
export const indexPrefix = (
  layer: number,
  table: number,
  index: number,
  first: number = space.index,
): Uint8Array => {
  const key = new Uint8Array(indexPrefixBytes);
  key.set(tablePrefix(first, layer, table));
  setU32(key, 9, index);
  return key;
};

/**
 * Escapes ordered key bytes so that another part can follow without changing the order: 0x00 becomes
 * 0x00 0xff, the end is 0x00 0x00.
 */
export const escapeKey = (bytes: Uint8Array): Uint8Array => {
  let zeros = 0;
  for (const byte of bytes) if (byte === 0) zeros += 1;
  const out = new Uint8Array(bytes.length + zeros + 2);
  let at = 0;
  for (const byte of bytes) {
    out[at] = byte;
    at += 1;
    if (byte === 0) {
      out[at] = 0xff;
      at += 1;
    }
  }
  return out;
};

/** Takes an escaped part off the start of `bytes`: the part and the rest behind its end. */
export const unescapeKey = (bytes: Uint8Array): { key: Uint8Array; rest: Uint8Array } => {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let at = 0;
  while (at + 1 < bytes.length) {
    const byte = bytes[at] as number;
    if (byte === 0 && bytes[at + 1] === 0)
      return { key: out.slice(0, length), rest: bytes.subarray(at + 2) };
    out[length] = byte;
    length += 1;
    at += byte === 0 ? 2 : 1;
  }
  invariant(false, 'an index key has no end mark');
};

/** Key of an index entry: prefix, escaped key, id: ordered by key, ties by id. */
export const indexKey = (
  layer: number,
  table: number,
  index: number,
  key: Uint8Array,
  id: string,
): Uint8Array => {
  const idBytes = utf8Encode(id);
  let zeros = 0;
  for (let i = 0; i < key.length; i += 1) if (key[i] === 0) zeros += 1;
  // First fills write one for each row: nothing is built but the key.
  const out = newBytes(indexPrefixBytes + key.length + zeros + 2 + idBytes.length);
  out[0] = space.index;
  setU32(out, 1, layer);
  setU32(out, 5, table);
  setU32(out, 9, index);
  let at = indexPrefixBytes;
  for (let i = 0; i < key.length; i += 1) {
    const byte = key[i] as number;
    out[at] = byte;
    at += 1;
    if (byte === 0) {
      out[at] = 0xff;
      at += 1;
    }
  }
  out.set(idBytes, at + 2);
  return out;
};
