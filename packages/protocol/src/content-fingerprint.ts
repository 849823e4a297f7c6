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
const headBytes = 32;
/** Bytes of one block, its head included; a longer row is a block of its own. */
const blockBytesMax = 32 * 1024;

/**
 * Starts a content fingerprint: rows as JSON of [id, fields], one after another in blocks of at most 32 KiB
 * that are cut between rows; h_k = H(h_k-1, block), h_0 = 32 zero bytes; the digest is that of the last block.
 *
 * A server and a device that hold the same records with the same values have the same fingerprint,
 * whatever their incarnations, versions and CRDT histories. Rows must come in id order. Memory: one block.
 */
export const startContentFingerprint = (hash: Hash): ContentFingerprint => {
  const block = new Uint8Array(blockBytesMax);
  let at = headBytes;
  let count = 0;
  const cut = (head: Uint8Array): void => {
    block.set(head);
    at = headBytes;
  };
  const addBytes: ContentFingerprint['addBytes'] = (id, fields) => {
    const begin = utf8Encode(`[${JSON.stringify(id)},`);
    const length = begin.length + fields.length + 1;
    count += 1;
    if (at + length > blockBytesMax && at > headBytes) cut(hash(block.subarray(0, at)));
    if (at + length > blockBytesMax) {
      cut(hash(concatBytes([block.subarray(0, headBytes), begin, fields, end])));
      return;
    }
    block.set(begin, at);
    block.set(fields, at + begin.length);
    block.set(end, at + length - 1);
    at += length;
  };
  return {
    add: ({ id, fields }) => addBytes(id, utf8Encode(fieldsText(fields))),
    addBytes,
    digest: () => `${count}-${toHex(hash(block.subarray(0, at)).subarray(0, 16))}`,
  };
};

/** Content fingerprint of rows in id order; see `startContentFingerprint`. */
export const contentFingerprint = (rows: Iterable<ContentRow>, hash: Hash): string => {
  const fingerprint = startContentFingerprint(hash);
  for (const row of rows) fingerprint.add(row);
  return fingerprint.digest();
};
