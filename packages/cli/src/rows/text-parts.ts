import type { Readable } from 'node:stream';
import { TidemarkError } from '@tidemark/model';

/** What to do about a file in another encoding than UTF-8. */
const encodingHint =
  'save it as UTF-8, such as by `iconv -f WINDOWS-1252 -t UTF-8`, and import that file';

/** Part of a stream that is no UTF-8. The readers tell it with the number of the row. */
export class NotUtf8 extends Error {}

/** Failure for a row in which the file is no UTF-8. */
export const notUtf8At = (row: number, line: number | null): TidemarkError =>
  new TidemarkError(
    'malformed-message',
    `row ${row}${line === null ? '' : `, line ${line}`}: the file is not in UTF-8; ${encodingHint}`,
    line === null ? { row } : { row, line },
  );

const isReadable = (bytes: Uint8Array): boolean => {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
};

/** Bytes at the beginning that can be read; the rest begins with one that cannot. */
const readableBytes = (bytes: Uint8Array): number => {
  let [good, bad] = [0, bytes.length];
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (isReadable(bytes.subarray(0, middle))) good = middle;
    else bad = middle;
  }
  return good;
};

/** Bytes at the end that begin a character and do not end it, at most three. */
const openBytes = (bytes: Uint8Array): number => {
  for (let back = 1; back <= 3 && back <= bytes.length; back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return wanted > back ? back : 0;
  }
  return 0;
};

/**
 * Text of a stream, part by part, in UTF-8 without a byte order mark. The stream is closed at the end. Throws
 * NotUtf8 behind the last text that can be read.
 */
export async function* textsOf(source: Readable): AsyncGenerator<string> {
  // A mark at the beginning is no text; further ones are.
  let decoder = new TextDecoder('utf-8', { fatal: true });
  let carried: Uint8Array = new Uint8Array(0);
  try {
    for await (const part of source as AsyncIterable<Buffer | string>) {
      if (typeof part === 'string') {
        yield part;
        continue;
      }
      const bytes = carried.length === 0 ? part : Buffer.concat([carried, part]);
      const whole = bytes.subarray(0, bytes.length - openBytes(bytes));
      carried = bytes.subarray(whole.length);
      if (whole.length === 0) continue;
      let text: string | undefined;
      try {
        text = decoder.decode(whole);
      } catch {
        yield decoder.decode(whole.subarray(0, readableBytes(whole)), { stream: true });
      }
      if (text === undefined) throw new NotUtf8();
      yield text;
      decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    }
    if (carried.length > 0) throw new NotUtf8();
  } finally {
    source.destroy();
  }
}
