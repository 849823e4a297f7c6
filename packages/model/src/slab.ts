/* TextEncoder exists in every runtime we support, but not in the ES2022 library types. */
declare const TextEncoder: new () => {
  encode(text: string): Uint8Array;
  encodeInto(text: string, into: Uint8Array): { readonly written: number };
};

const encoder = new TextEncoder();

/** Bytes that are allocated at once, for keys and values on their way into a batch. */
export const slabBytes = 64 * 1_024;
/** Longer ones are allocated by themselves, so that a slab is used up. */
const slicedBytesMax = 4_096;

let slab = new Uint8Array(0);
let used = 0;

/**
 * Gives zeroed bytes of their own: a view of a slab, as an allocation for each key and value would cost more
 * than what is written into it. A slab lives as long as any view of it: only what is short-lived belongs here.
 */
export const newBytes = (length: number): Uint8Array => {
  if (length > slicedBytesMax) return new Uint8Array(length);
  if (used + length > slab.length) {
    slab = new Uint8Array(slabBytes);
    used = 0;
  }
  const bytes = new Uint8Array(slab.buffer, used, length);
  used += length;
  return bytes;
};

/** Most bytes that one UTF-16 unit takes in UTF-8. */
const bytesPerUnitMax = 3;

/** Encodes a short-lived text as UTF-8 into a slab, like `utf8Encode` and with the bounds of `newBytes`. */
export const utf8EncodeBriefly = (text: string): Uint8Array => {
  const room = text.length * bytesPerUnitMax;
  if (text.length > slicedBytesMax) return encoder.encode(text);
  if (used + room > slab.length) {
    slab = new Uint8Array(slabBytes);
    used = 0;
  }
  const { written } = encoder.encodeInto(text, new Uint8Array(slab.buffer, used, room));
  const bytes = new Uint8Array(slab.buffer, used, written);
  used += written;
  return bytes;
};
