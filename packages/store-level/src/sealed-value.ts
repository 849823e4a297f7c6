import { TidemarkError, newBytes } from '@tidemark/model';

/**
 * Values of rows, index entries, notes and state are stored as `[tag u8][check u32][bytes]`: LevelDB reads
 * its table files without verifying their checksums, so a flipped bit would pass as data. The check
 * covers the key without its layer, so that folding moves values as they are.
 */
export const sealBytes = 5;
const tagMarker = 0;
const tagValue = 1;
const prime = 0x01000193;
/** Place of the layer number in the keys of layered spaces. */
const layerFrom = 1;
const layerTo = 5;

/** Bytes from which on a view of words pays. */
const viewBytesMin = 64;

/** Mixes bytes four at a time: each step is a bijection of the state, so no single altered word passes. */
const mix = (start: number, bytes: Uint8Array, from: number, to: number): number => {
  let state = start;
  let at = from;
  if (to - from >= viewBytesMin) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (; at + 4 <= to; at += 4) {
      state = Math.imul(state ^ view.getInt32(at, true), prime);
      state ^= state >>> 15;
    }
  }
  for (; at + 4 <= to; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    state = Math.imul(state ^ word, prime);
    state ^= state >>> 15;
  }
  for (; at < to; at += 1) state = Math.imul(state ^ (bytes[at] as number), prime);
  return state;
};

const checkOf = (
  key: Uint8Array,
  layered: boolean,
  tag: number,
  bytes: Uint8Array,
  from: number,
): number => {
  let state = mix(0x811c9dc5 ^ tag, key, 0, layered ? layerFrom : key.length);
  if (layered) state = mix(state, key, layerTo, key.length);
  state = Math.imul(state ^ (bytes.length - from), prime);
  return mix(state, bytes, from, bytes.length) >>> 0;
};

const nothing = new Uint8Array(0);

/**
 * Seals a value under its key; null is a marker. `layered` keys hold a layer number in bytes 1 to 4. The seal
 * is written to the start of `room`, where one is given that is long enough.
 */
export const seal = (
  key: Uint8Array,
  layered: boolean,
  value: Uint8Array | null,
  room?: Uint8Array,
): Uint8Array => {
  const bytes = value ?? nothing;
  const tag = value === null ? tagMarker : tagValue;
  const length = sealBytes + bytes.length;
  const out = room === undefined ? newBytes(length) : room.subarray(0, length);
  out[0] = tag;
  const check = checkOf(key, layered, tag, bytes, 0);
  out[1] = check >>> 24;
  out[2] = check >>> 16;
  out[3] = check >>> 8;
  out[4] = check;
  out.set(bytes, sealBytes);
  return out;
};

/** Tells a marker that was not altered from everything else, without a look at the bytes of a value. */
export const isMarker = (key: Uint8Array, layered: boolean, sealed: Uint8Array): boolean =>
  sealed.length === sealBytes &&
  sealed[0] === tagMarker &&
  storedCheck(sealed) === checkOf(key, layered, tagMarker, sealed, sealBytes);

const storedCheck = (sealed: Uint8Array): number =>
  (((sealed[1] as number) << 24) |
    ((sealed[2] as number) << 16) |
    ((sealed[3] as number) << 8) |
    (sealed[4] as number)) >>>
  0;

/** Opens a sealed value: null for a marker. Throws `storage-damaged` when key or value were altered. */
export const unseal = (
  key: Uint8Array,
  layered: boolean,
  sealed: Uint8Array,
): Uint8Array | null => {
  const tag = sealed[0];
  if (sealed.length >= sealBytes && (tag === tagMarker || tag === tagValue)) {
    const check = checkOf(key, layered, tag, sealed, sealBytes);
    if (storedCheck(sealed) === check)
      return tag === tagMarker
        ? null
        : new Uint8Array(sealed.buffer, sealed.byteOffset + sealBytes, sealed.length - sealBytes);
  }
  throw new TidemarkError(
    'storage-damaged',
    'a stored value was altered: corruption of the files',
    {
      space: key[0] ?? 0,
      bytes: sealed.length,
    },
  );
};
