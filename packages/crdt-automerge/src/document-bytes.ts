import { ByteReader, UndecodableError } from './byte-reader.js';

const documentType = 0;
const chunkHeaderBytes = 8;

/** DocumentBytes are a document as it was saved last, and the changes since, in the order they came. */
export interface DocumentBytes {
  readonly saved: Uint8Array;
  readonly since: readonly Uint8Array[];
}

/** Length of the saved document that the bytes begin with. Throws UndecodableError when they do not. */
export const savedLength = (bytes: Uint8Array): number => {
  const reader = new ByteReader(bytes);
  reader.take(chunkHeaderBytes);
  if (reader.byte() !== documentType) throw new UndecodableError('not a chunk of a document');
  reader.take(reader.uleb());
  return reader.at;
};

/** Splits the bytes of a document, as views on the same memory. Throws UndecodableError on malformed bytes. */
export const splitDocument = (bytes: Uint8Array): DocumentBytes => {
  const length = savedLength(bytes);
  const since: Uint8Array[] = [];
  for (let from = length; from < bytes.length;) {
    const reader = new ByteReader(bytes.subarray(from));
    reader.take(chunkHeaderBytes + 1);
    reader.take(reader.uleb());
    since.push(bytes.subarray(from, from + reader.at));
    from += reader.at;
  }
  return { saved: bytes.subarray(0, length), since };
};

// A change of one keystroke takes 130 bytes, and 2 once it is saved: few of them must not be many bytes, and
// saving must be rare. Saving costs time by the document's size, so what may gather grows with it.
const sinceBytesMin = 16 * 1024;
/** Most bytes of changes that a document gathers before it is saved anew. */
export const sinceBytesMax = 64 * 1024;
const sinceShare = 4;

/** Tells whether a document with a saved part of `saved` bytes has gathered too much to go on. */
export const mustSave = (saved: number, whole: number): boolean =>
  whole - saved > Math.min(sinceBytesMax, Math.max(sinceBytesMin, sinceShare * saved));
