import {
  utf8Decode,
  visitRowFields,
  type FieldDefinition,
  type FieldId,
  type Value,
} from '@tidemark/model';
import type { IndexRun } from '@tidemark/ports';
import type { TableIndex } from './index-entries.js';
import { indexTextBytesMax, pushComponent, textTag } from './index-key.js';

/** Bytes of entries at which a draft is full, over all its indexes: they lie in memory until they are stored. */
export const draftBytesMax = 6 * 1_024 * 1_024;
const firstBytes = 64 * 1_024;
const quote = 0x22;
const backslash = 0x5c;
/** Longest texts that are copied byte by byte: a view costs more than they do. */
const shortBytesMax = 64;

/** Entries of one index. */
class Entries {
  readonly index: TableIndex;
  count = 0;
  used = 0;
  #bytes = new Uint8Array(firstBytes);
  #ends = new Uint32Array(firstBytes / 16);

  constructor(index: TableIndex) {
    this.index = index;
  }

  push(byte: number): void {
    if (this.used === this.#bytes.length) this.#grow(1);
    this.#bytes[this.used] = byte;
    this.used += 1;
  }

  pushAll(from: Uint8Array, start: number, end: number): void {
    const { used } = this;
    const length = end - start;
    if (used + length > this.#bytes.length) this.#grow(length);
    const bytes = this.#bytes;
    if (length > shortBytesMax) bytes.set(from.subarray(start, end), used);
    else for (let i = 0; i < length; i += 1) bytes[used + i] = from[start + i] as number;
    this.used = used + length;
  }

  #grow(length: number): void {
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.used + length));
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }

  /** Ends an entry whose key ends at `keyEnd`. */
  end(keyEnd: number): void {
    const at = 2 * this.count;
    if (at === this.#ends.length) {
      const ends = new Uint32Array(2 * at);
      ends.set(this.#ends);
      this.#ends = ends;
    }
    this.#ends[at] = keyEnd;
    this.#ends[at + 1] = this.used;
    this.count += 1;
  }

  run(layer: number, table: number, run: number): IndexRun {
    const bytes = this.#bytes.subarray(0, this.used);
    const ends = this.#ends.subarray(0, 2 * this.count);
    return { layer, table, index: this.index.no, run, bytes, ends };
  }

  clear(): void {
    this.count = 0;
    this.used = 0;
  }
}

/** Entries of the indexes of a table on their way into runs, read from the bytes of rows. */
export class IndexDraft {
  readonly #entries: readonly Entries[];
  /** Fields that take part in an index, each with its place in `#places`. */
  readonly #slots = new Map<FieldId, number>();
  /** Where the values of those fields begin and end in the row at hand; 0 for null. */
  readonly #places: Int32Array;
  readonly #numbers: number[] = [];

  constructor(indexes: readonly TableIndex[]) {
    this.#entries = indexes.map((index) => new Entries(index));
    for (const { fields } of indexes)
      for (const { id } of fields)
        if (!this.#slots.has(id)) this.#slots.set(id, 2 * this.#slots.size);
    this.#places = new Int32Array(2 * this.#slots.size);
  }

  get isFull(): boolean {
    return this.#entries.reduce((sum, { used }) => sum + used, 0) >= draftBytesMax;
  }

  /** Number of entries, over all indexes. */
  get count(): number {
    return this.#entries.reduce((sum, { count }) => sum + count, 0);
  }

  /**
   * Adds a row, whose id no earlier call has added: id and row lie in `bytes` from and to the given places. Throws
   * `storage-damaged` for bytes that are no row.
   */
  add(bytes: Uint8Array, id: number, idEnd: number, row: Uint8Array): void {
    const places = this.#places.fill(0);
    visitRowFields(row, (field, from, to) => {
      const slot = this.#slots.get(field);
      if (slot === undefined) return;
      places[slot] = from;
      places[slot + 1] = to;
    });
    for (const entries of this.#entries) {
      for (const field of entries.index.fields) {
        const slot = this.#slots.get(field.id) as number;
        this.#push(entries, field, row, places[slot] as number, places[slot + 1] as number);
      }
      const keyEnd = entries.used;
      entries.pushAll(bytes, id, idEnd);
      entries.end(keyEnd);
    }
  }

  /** Appends the component of a value whose JSON lies in a row: what `pushComponent` gives of it. */
  #push(
    entries: Entries,
    { type }: Pick<FieldDefinition, 'type'>,
    row: Uint8Array,
    from: number,
    to: number,
  ): void {
    if (row[from] === quote && type !== 'decimal' && isPlain(row, from + 1, to - 1)) {
      entries.push(textTag);
      entries.pushAll(row, from + 1, to - 1);
      entries.push(0);
      entries.push(0);
      return;
    }
    const numbers = this.#numbers;
    numbers.length = 0;
    const value: unknown = from === 0 ? null : JSON.parse(utf8Decode(row.subarray(from, to)));
    pushComponent(numbers, type, value as Value);
    for (const byte of numbers) entries.push(byte);
  }

  /** Runs of what was added, one for each index, with numbers from `first` on: valid until `clear`. */
  runs(layer: number, table: number, first: number): readonly IndexRun[] {
    return this.#entries.map((entries, i) => entries.run(layer, table, first + i));
  }

  clear(): void {
    for (const entries of this.#entries) entries.clear();
  }
}

/** Whether the JSON of a text holds its UTF-8 as it is, and a key all of it. */
const isPlain = (bytes: Uint8Array, from: number, to: number): boolean => {
  if (to - from >= indexTextBytesMax) return false;
  for (let at = from; at < to; at += 1) if (bytes[at] === backslash) return false;
  return true;
};
