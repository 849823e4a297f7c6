import {
  concatBytes,
  toHex,
  utf8Encode,
  type FieldId,
  type Hash,
  type RowFields,
  type Value,
} from '@tidemark/model';

/** Record as a content fingerprint sees it: what a person sees, without versions and documents. */
export interface ContentRow {
  readonly id: string;
  readonly fields: RowFields;
}

/** Running content fingerprint: rows are added in id order (by UTF-8 bytes), one at a time. */
export interface ContentFingerprint {
  readonly add: (row: ContentRow) => void;
  /** Like `add`, with the canonical JSON of the fields (`fieldBytesOfRow`). */
  readonly addBytes: (id: string, fields: Uint8Array) => void;
  /** Number of rows so far and the digest over them, as `count-hex`. */
  readonly digest: () => string;
}

const canonicalValue = (value: Value): Value => {
  if (value === null || typeof value !== 'object') return value;
  const { sha256, bytes, mediaType, name } = value;
  return { sha256, bytes, mediaType, name };
};

/** Canonical text of fields: ascending ids, no nulls. A CRDT field counts by its projected text. */
const fieldsText = (fields: RowFields): string => {
  const out: Record<string, Value> = {};
  for (const key in fields) {
    const value = fields[key as unknown as FieldId];
    if (value !== null && value !== undefined) out[key] = canonicalValue(value);
  }
  return JSON.stringify(out);
};

const end = Uint8Array.of(0x5d);

/**
 * Starts a content fingerprint: h_k = H(h_k-1, JSON of [id, fields]), h_0 = 32 zero bytes.
 *
 * A server and a device that hold the same records with the same values have the same fingerprint,
 * whatever their incarnations, versions and CRDT histories. Rows must come in id order. Memory: O(1).
 */
export const startContentFingerprint = (hash: Hash): ContentFingerprint => {
  let head: Uint8Array = new Uint8Array(32);
  let count = 0;
  const addBytes: ContentFingerprint['addBytes'] = (id, fields) => {
    const begin = utf8Encode(`[${JSON.stringify(id)},`);
    head = hash(concatBytes([head, begin, fields, end]));
    count += 1;
  };
  return {
    add: ({ id, fields }) => addBytes(id, utf8Encode(fieldsText(fields))),
    addBytes,
    digest: () => `${count}-${toHex(head.subarray(0, 16))}`,
  };
};

/** Content fingerprint of rows in id order; see `startContentFingerprint`. */
export const contentFingerprint = (rows: Iterable<ContentRow>, hash: Hash): string => {
  const fingerprint = startContentFingerprint(hash);
  for (const row of rows) fingerprint.add(row);
  return fingerprint.digest();
};
