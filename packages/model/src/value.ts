import { isWellFormed } from './bytes.js';
import { isRecordId } from './ids.js';

/** Reference to bytes kept outside the record; reserved, no engine moves them yet. */
export interface AttachmentValue {
  readonly sha256: string;
  readonly bytes: number;
  readonly mediaType: string;
  readonly name: string;
}

/**
 * Value of one field in canonical form.
 *
 * Each field type has exactly one form per value, so equality is equality of encodings: decimals are
 * text without superfluous zeros, dates `YYYY-MM-DD`, datetimes `YYYY-MM-DDTHH:MM:SS.sssZ`, options and
 * references text, counters numbers, CRDT text its projected text.
 */
export type Value = null | boolean | number | string | AttachmentValue;

/** Types of fields. `counter` changes by increments; `text` is a CRDT. */
export type FieldType =
  | 'boolean'
  | 'number'
  | 'string'
  | 'decimal'
  | 'date'
  | 'datetime'
  | 'option'
  | 'reference'
  | 'attachment'
  | 'counter'
  | 'text';

/** Every field type, in the order of the documentation. */
export const fieldTypes: readonly FieldType[] = [
  'boolean',
  'number',
  'string',
  'decimal',
  'date',
  'datetime',
  'option',
  'reference',
  'attachment',
  'counter',
  'text',
];

/** Tells whether two canonical values are equal: their canonical encodings are the same bytes. */
export const equalValues = (a: Value, b: Value): boolean => {
  if (a === b) return true;
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false;
  return (
    a.sha256 === b.sha256 && a.bytes === b.bytes && a.mediaType === b.mediaType && a.name === b.name
  );
};

/** Maximum number of UTF-16 units of a string, decimal, option or reference value. */
export const stringLengthMax = 64 * 1024;
/** Maximum number of UTF-16 units of a text (CRDT) value. */
export const textLengthMax = 1024 * 1024;

/** The properties of an attachment in the order of its canonical encoding. */
export const orderedAttachment = (value: AttachmentValue): AttachmentValue => ({
  sha256: value.sha256,
  bytes: value.bytes,
  mediaType: value.mediaType,
  name: value.name,
});

const daysInMonth = (year: number, month: number): number => {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
};

const isCanonicalDate = (text: string): boolean => {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (match === null) return false;
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  return month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month);
};

const isCanonicalDatetime = (text: string): boolean =>
  /^.{10}T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/.test(text) &&
  isCanonicalDate(text.slice(0, 10));

/** Canonical decimal: no exponent, no leading or trailing zeros, no negative zero, at most 100 digits. */
const isCanonicalDecimal = (text: string): boolean =>
  text.length <= 102 &&
  text.replace(/[-.]/g, '').length <= 100 &&
  /^(0|-?[1-9]\d*|-?(0|[1-9]\d*)\.\d*[1-9])$/.test(text);

const isCanonicalNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && !Object.is(value, -0);

const isAttachment = (value: unknown): boolean => {
  if (typeof value !== 'object' || value === null) return false;
  const { sha256, bytes, mediaType, name } = value as Record<string, unknown>;
  return (
    Object.keys(value).sort().join() === 'bytes,mediaType,name,sha256' &&
    typeof sha256 === 'string' &&
    /^[0-9a-f]{64}$/.test(sha256) &&
    Number.isSafeInteger(bytes) &&
    (bytes as number) >= 0 &&
    typeof mediaType === 'string' &&
    mediaType.length <= 255 &&
    isWellFormed(mediaType) &&
    typeof name === 'string' &&
    name.length <= 1024 &&
    isWellFormed(name)
  );
};

const boundedText = (value: unknown, max: number): boolean =>
  typeof value === 'string' && value.length <= max && isWellFormed(value);

const hasAttachmentShape = (json: object): json is AttachmentValue => {
  const { sha256, bytes, mediaType, name } = json as Record<string, unknown>;
  return (
    Object.keys(json).length === 4 &&
    typeof sha256 === 'string' &&
    isCanonicalNumber(bytes) &&
    typeof mediaType === 'string' &&
    typeof name === 'string'
  );
};

/**
 * Takes parsed JSON as a value of some field type; `undefined` when it can be none.
 *
 * Whether it is canonical for its field is asked later, with the schema. Attachments come out ordered.
 */
export const valueFromJson = (json: unknown): Value | undefined => {
  if (json === null || typeof json === 'boolean' || typeof json === 'string') return json;
  if (isCanonicalNumber(json)) return json;
  if (typeof json === 'object' && !Array.isArray(json) && hasAttachmentShape(json))
    return orderedAttachment(json);
  return undefined;
};

/** Tells whether an unknown input is a canonical non-null value of the field type. */
export const isCanonicalValue = (type: FieldType, value: unknown): value is Value => {
  switch (type) {
    case 'boolean':
      return typeof value === 'boolean';
    case 'number':
    case 'counter':
      return isCanonicalNumber(value);
    case 'string':
      return boundedText(value, stringLengthMax);
    case 'text':
      return boundedText(value, textLengthMax);
    case 'option':
      return boundedText(value, 255) && value !== '';
    case 'reference':
      return typeof value === 'string' && isRecordId(value);
    case 'decimal':
      return typeof value === 'string' && isCanonicalDecimal(value);
    case 'date':
      return typeof value === 'string' && isCanonicalDate(value);
    case 'datetime':
      return typeof value === 'string' && isCanonicalDatetime(value);
    case 'attachment':
      return isAttachment(value);
  }
};
