import { fromBase64, invariant, toBase64 } from '@tidemark/model';

interface Pair {
  readonly text: string;
  readonly bytes: Uint8Array;
}

/*
 * A window edits one long note many times in a row, and each time the note is read as it was written before.
 * One document is remembered for each CRDT; what is remembered never changes a result.
 */
const lastPairs = new WeakMap<object, Pair>();

/** Prints a document as rows keep it, and remembers it until the next one. */
export const storedText = (crdt: object, bytes: Uint8Array): string => {
  const last = lastPairs.get(crdt);
  if (last?.bytes === bytes) return last.text;
  const text = toBase64(bytes);
  lastPairs.set(crdt, { text, bytes });
  return text;
};

/** Document that a row keeps as base64. Other text is a bug. The bytes must not be changed. */
export const storedDocument = (crdt: object, text: string): Uint8Array => {
  const last = lastPairs.get(crdt);
  if (last?.text === text) return last.bytes;
  const bytes = fromBase64(text);
  invariant(bytes !== undefined, 'a stored document is base64');
  lastPairs.set(crdt, { text, bytes });
  return bytes;
};
