import type { RecordId, Value } from '@tidemark/model';

/*
 * Outline of a feed segment: tells without the segment whether a reader may need it. Integers big-endian:
 *
 *   format u8, first version u48, count of scope keys u32 (2^32 - 1: unknown), scope keys u32 each,
 *   record ids u32 each
 *
 * Both lists hold hashes, ascending and distinct: two texts of one hash cost a reader a segment, never a change.
 */
const outlineFormat = 1;
const countAt = 7;
const head = 11;
const unknown = 0xffff_ffff;

/** Hash of a text: FNV-1a over its UTF-16 units, 32 bits. */
const hashText = (text: string): number => {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
};

/** Hash of a record id, as outlines hold it. */
export const hashOfId = (id: RecordId): number => hashText(id);

/** Hash of a value of a scope key, as outlines hold it. */
export const hashOfScopeKey = (value: Value): number => hashText(JSON.stringify(value));

const sortedHashes = (hashes: Uint32Array): Uint32Array => {
  hashes.sort();
  let kept = 0;
  for (let i = 0; i < hashes.length; i += 1)
    if (i === 0 || hashes[i] !== hashes[kept - 1]) hashes[kept++] = hashes[i] as number;
  return hashes.subarray(0, kept);
};

/**
 * Outline of a segment: its first version, ids of its records, and the values of the table's scope key before and after each
 * change (null for absent); null as a whole where the table has none.
 */
export const encodeOutline = (
  first: number,
  ids: readonly RecordId[],
  scopeKeys: ReadonlySet<Value> | null,
): Uint8Array => {
  const keys = sortedHashes(Uint32Array.from(scopeKeys ?? [], hashOfScopeKey));
  const records = sortedHashes(Uint32Array.from(ids, hashOfId));
  const out = new Uint8Array(head + 4 * (keys.length + records.length));
  const view = new DataView(out.buffer);
  out[0] = outlineFormat;
  view.setUint16(1, Math.floor(first / 2 ** 32));
  view.setUint32(3, first % 2 ** 32);
  view.setUint32(countAt, scopeKeys === null ? unknown : keys.length);
  let at = head;
  for (const list of [keys, records])
    for (let i = 0; i < list.length; i += 1, at += 4) view.setUint32(at, list[i] as number);
  return out;
};

/** Outline as readers ask it. What is unknown may be held. */
export class FeedOutline {
  /** First version of the segment; undefined where it is unknown: then everything may be held. */
  readonly first: number | undefined;
  readonly #view: DataView;
  /** Places of the lists in the bytes; equal where a list is unknown. */
  readonly #records: number;
  readonly #knowsScope: boolean;
  readonly #knowsRecords: boolean;

  /** Takes bytes of any form: another one tells nothing. */
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const isWhole =
      bytes.length >= head && bytes[0] === outlineFormat && (bytes.length - head) % 4 === 0;
    const count = isWhole ? this.#view.getUint32(countAt) : unknown;
    this.#records = head + 4 * (count === unknown ? 0 : count);
    this.#knowsRecords = isWhole && this.#records <= bytes.length;
    this.first = this.#knowsRecords
      ? this.#view.getUint16(1) * 2 ** 32 + this.#view.getUint32(3)
      : undefined;
    this.#knowsScope = this.#knowsRecords && count !== unknown;
  }

  /** Tells whether a change inside may concern a scope pinned to the key of this hash. */
  mayConcern(scopeKey: number): boolean {
    return !this.#knowsScope || this.#holds(head, this.#records, scopeKey);
  }

  /** Tells whether a change inside may be one of a record of these hashes. */
  mayChange(records: Iterable<number>): boolean {
    if (!this.#knowsRecords) return true;
    for (const hash of records)
      if (this.#holds(this.#records, this.#view.byteLength, hash)) return true;
    return false;
  }

  #holds(from: number, to: number, hash: number): boolean {
    let low = 0;
    let high = (to - from) / 4;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#view.getUint32(from + 4 * middle) < hash) low = middle + 1;
      else high = middle;
    }
    return from + 4 * low < to && this.#view.getUint32(from + 4 * low) === hash;
  }
}
