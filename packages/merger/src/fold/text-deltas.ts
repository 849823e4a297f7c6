import type { FieldId, RecordId, Value } from '@tidemark/model';
import { damagedForm } from './stored-form.js';

/**
 * Text as a change of an earlier one: so many units of its beginning and of its end, with another middle
 * between them. No value is an array, so it stands in the place of one.
 */
export type TextDelta = readonly [prefix: number, suffix: number, middle: string];

/** Shorter texts are written as they are: a change would hardly be shorter. */
const textLengthMin = 64;
/** Units that a delta must save at least. */
const savedMin = 32;
/** Units compared in one step: the engine compares texts faster than a loop compares units. */
const blockLength = 1_024;

const commonPrefix = (a: string, b: string, lengthMax: number): number => {
  let at = 0;
  while (
    at + blockLength <= lengthMax &&
    a.slice(at, at + blockLength) === b.slice(at, at + blockLength)
  )
    at += blockLength;
  while (at < lengthMax && a.charCodeAt(at) === b.charCodeAt(at)) at += 1;
  return at;
};

const commonSuffix = (a: string, b: string, lengthMax: number): number => {
  let length = 0;
  while (
    length + blockLength <= lengthMax &&
    a.slice(a.length - length - blockLength, a.length - length) ===
      b.slice(b.length - length - blockLength, b.length - length)
  )
    length += blockLength;
  while (
    length < lengthMax &&
    a.charCodeAt(a.length - 1 - length) === b.charCodeAt(b.length - 1 - length)
  )
    length += 1;
  return length;
};

/** A part of a text holds the whole text in memory, in V8 from 13 units on: this one is of its own. */
const ownCopy = (part: string): string => JSON.parse(JSON.stringify(part)) as string;

const deltaOf = (before: string, text: string): TextDelta => {
  if (before === text) return [text.length, 0, ''];
  const shorter = Math.min(before.length, text.length);
  const prefix = commonPrefix(before, text, shorter);
  const suffix = commonSuffix(before, text, shorter - prefix);
  return [prefix, suffix, ownCopy(text.slice(prefix, text.length - suffix))];
};

/** Tells whether a value is a long text, or the change of one. */
export const isLong = (value: unknown): boolean =>
  typeof value === 'string' ? value.length >= textLengthMin : Array.isArray(value);

const isLength = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;

/**
 * Writes the long texts of a segment as changes of what the same field of the same record held before, and
 * reads them in the same order: a note that is typed word by word takes the bytes of its words, not of
 * itself, each time. Writing and reading are of one segment, from its beginning.
 */
export class TextDeltas {
  readonly #last = new Map<string, string>();
  #hasChanges = false;

  /** Whether any text was written as a change: a segment without one is of the first format. */
  get hasChanges(): boolean {
    return this.#hasChanges;
  }

  /** Value of a field as it is written. */
  write(field: FieldId, record: RecordId, value: Value): Value | TextDelta {
    if (typeof value !== 'string' || !isLong(value)) return value;
    const key = `${field}/${record}`;
    const before = this.#last.get(key);
    this.#last.set(key, value);
    if (before === undefined) return value;
    const delta = deltaOf(before, value);
    if (delta[2].length + savedMin > value.length) return value;
    this.#hasChanges = true;
    return delta;
  }

  /** Value that was written so. Throws `storage-damaged` on other forms. */
  read(field: FieldId, record: RecordId, json: Value | TextDelta): Value {
    if (!isLong(json)) return json as Value;
    const key = `${field}/${record}`;
    if (typeof json === 'string') {
      this.#last.set(key, json);
      return json;
    }
    const [prefix, suffix, middle] = json as unknown as readonly unknown[];
    const before = this.#last.get(key);
    if (
      before === undefined ||
      !isLength(prefix) ||
      !isLength(suffix) ||
      typeof middle !== 'string' ||
      prefix + suffix > before.length
    )
      throw damagedForm('a text of a segment');
    const text = before.slice(0, prefix) + middle + before.slice(before.length - suffix);
    this.#last.set(key, text);
    return text;
  }
}
