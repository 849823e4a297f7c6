import { toBase64, type FieldId } from '@tidemark/model';
import { storedDocument } from './stored-document.js';

/** Documents of a row by field, in base64. */
export type RowDocuments = Readonly<Record<FieldId, string>>;

interface Held {
  readonly bytes: Uint8Array;
  text: string | undefined;
}

/*
 * A window edits one long note many times in a row, and few of its versions are ever stored. So a row under
 * edit holds its documents as bytes, too, and prints one when somebody reads it.
 */
const heldOf = new WeakMap<object, Map<FieldId, Held>>();

const hold = (docs: Record<FieldId, string>, field: FieldId, held: Held): void => {
  let all = heldOf.get(docs);
  if (all === undefined) heldOf.set(docs, (all = new Map()));
  all.set(field, held);
  Object.defineProperty(docs, field, {
    get: () => (held.text ??= toBase64(held.bytes)),
    enumerable: true,
    configurable: true,
  });
};

/** Puts a document into a row under edit. It is printed when it is read. The bytes must not be changed. */
export const putDocument = (
  docs: Record<FieldId, string>,
  field: FieldId,
  bytes: Uint8Array,
): void => hold(docs, field, { bytes, text: undefined });

/** Documents of a row, to be edited. Nothing is printed for it. */
export const copyDocuments = (docs: RowDocuments): Record<FieldId, string> => {
  const all = heldOf.get(docs);
  const copy: Record<FieldId, string> = {};
  for (const key in docs) {
    const field = Number(key);
    const held = all?.get(field);
    if (held === undefined) copy[field] = docs[field] ?? '';
    else hold(copy, field, held);
  }
  return copy;
};

/** Document of a field of a row; undefined where the field has none. The bytes must not be changed. */
export const documentIn = (
  crdt: object,
  docs: RowDocuments,
  field: FieldId,
): Uint8Array | undefined => {
  const held = heldOf.get(docs)?.get(field);
  if (held !== undefined) return held.bytes;
  const text = docs[field];
  return text === undefined ? undefined : storedDocument(crdt, text);
};

/** Tells whether two rows hold the same document of a field, byte for byte. */
export const isSameDocument = (a: RowDocuments, b: RowDocuments, field: FieldId): boolean => {
  const [one, other] = [heldOf.get(a)?.get(field), heldOf.get(b)?.get(field)];
  if (one !== undefined && other !== undefined) {
    if (one.bytes === other.bytes) return true;
    if (one.bytes.length !== other.bytes.length) return false;
  }
  return a[field] === b[field];
};

/** Bytes that the documents of a row take in JSON, as `JSON.stringify` prints them. */
export const documentsJsonLength = (docs: RowDocuments): number => {
  const all = heldOf.get(docs);
  // Braces; then of each document its key, a colon, five quotes and commas less one comma.
  let bytes = 2;
  for (const key in docs) {
    const held = all?.get(Number(key));
    const length =
      held === undefined ? (docs[Number(key)] ?? '').length : 4 * Math.ceil(held.bytes.length / 3);
    bytes += (bytes === 2 ? 0 : 1) + key.length + 2 + 1 + length + 2;
  }
  return bytes;
};

/**
 * Documents of a row in the bytes that are stored, where edits have put others there; the same object where
 * nothing is to be done.
 */
export const settledDocuments = (
  crdt: { readonly settle: (document: Uint8Array) => Uint8Array },
  docs: RowDocuments,
): RowDocuments => {
  let copy: Record<FieldId, string> | undefined;
  for (const [field, { bytes }] of heldOf.get(docs) ?? []) {
    const settled = crdt.settle(bytes);
    if (settled !== bytes) putDocument((copy ??= copyDocuments(docs)), field, settled);
  }
  return copy ?? docs;
};

/**
 * Documents of a row, each in as few bytes as it takes. Every document of the row: which one made the row too
 * large is nobody's business, and the next edits find room.
 */
export const compactDocuments = (
  crdt: { readonly compact: (document: Uint8Array) => Uint8Array },
  docs: RowDocuments,
): Record<FieldId, string> => {
  const compacted = copyDocuments(docs);
  for (const key in docs) {
    const field = Number(key);
    const bytes = documentIn(crdt, docs, field);
    const saved = bytes && crdt.compact(bytes);
    if (saved !== undefined && saved !== bytes) putDocument(compacted, field, saved);
  }
  return compacted;
};
