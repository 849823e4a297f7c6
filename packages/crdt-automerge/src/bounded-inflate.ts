import { Inflate } from 'fflate';
import { TooLargeError, UndecodableError } from './byte-reader.js';

// Deflate grows at most 1,032 times, so one slice can pass the bound by at most about 0.5 MB.
const sliceBytes = 512;

/**
 * Bytes that a change may always inflate to: the longest text, three bytes to a character, and its columns.
 * More takes text that shrinks as texts do: inflating costs time, and 49 kB can claim 50 MB.
 */
export const inflatedBytesFree = 4 * 1024 * 1024;
/** Times its length that a change may inflate to beyond that. */
export const inflatedTimesMax = 64;

/** Bytes that deflated bytes may inflate to under a bound. */
const outputMax = (bytes: Uint8Array, outputBytesMax: number): number =>
  Math.min(outputBytesMax, Math.max(inflatedBytesFree, inflatedTimesMax * bytes.length));

/**
 * Inflates raw deflate bytes and stops as soon as the output passes `outputBytesMax`, or what so few bytes may
 * inflate to.
 * Throws TooLargeError over the bound, UndecodableError on malformed, truncated or trailing bytes.
 */
export const inflateBounded = (bytes: Uint8Array, outputBytesMax: number): Uint8Array => {
  const parts: Uint8Array[] = [];
  const most = outputMax(bytes, outputBytesMax);
  let length = 0;
  const inflate = new Inflate((part) => {
    length += part.length;
    if (length > most) throw new TooLargeError('a change inflates over the bound');
    parts.push(part.slice());
  });
  try {
    for (let at = 0; at < bytes.length; at += sliceBytes) {
      inflate.push(bytes.subarray(at, at + sliceBytes), at + sliceBytes >= bytes.length);
    }
  } catch (cause) {
    if (cause instanceof TooLargeError) throw cause;
    throw new UndecodableError('malformed deflate bytes');
  }
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};
