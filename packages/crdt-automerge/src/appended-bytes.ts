/** Bytes in use of memory that has room behind them. */
const used = new WeakMap<ArrayBufferLike, number>();

/** Memory grows by this share of the bytes in it. */
const roomShare = 2;

/**
 * Byte strings one after the other. A result has room behind it in memory, and appending to the newest one
 * copies only what is appended: all of them are views on the same memory, and none is ever changed.
 */
export const appendBytes = (base: Uint8Array, parts: readonly Uint8Array[]): Uint8Array => {
  let length = base.length;
  for (const part of parts) length += part.length;
  let { buffer } = base;
  const isNewest = base.byteOffset === 0 && used.get(buffer) === base.length;
  if (!isNewest || buffer.byteLength < length) {
    buffer = new ArrayBuffer(length + Math.ceil(length / roomShare));
    new Uint8Array(buffer).set(base);
  }
  const out = new Uint8Array(buffer, 0, length);
  let at = base.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  used.set(buffer, length);
  return out;
};
