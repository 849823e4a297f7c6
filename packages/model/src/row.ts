import { utf8Decode, utf8Encode } from './bytes.js';
import type { BaseVersion, FieldId, ServerVersion } from './ids.js';
import { damagedRow } from './row-fields.js';
import { orderedAttachment, valueFromJson, type Value } from './value.js';

/** Fields of a row by numeric id; absent means null. */
export type RowFields = Readonly<Record<FieldId, Value>>;

/**
 * Record as replicas hold it: fields with the facts that the server keeps about the record.
 *
 * `docs` are CRDT documents in base64 by field; `fields` holds their projected text. `editedAt` (ms) is
 * kept for tables with latest-wins. `modifiedOn`, `createdOn` are server times in ms.
 */
export interface Row {
  readonly version: ServerVersion;
  /** OpId text of the create; unchanged when the create is offered again. */
  readonly born: string;
  readonly modifiedOn: number;
  readonly modifiedBy: string;
  readonly createdOn: number;
  readonly owner: string;
  readonly fields: RowFields;
  readonly docs: Readonly<Record<FieldId, string>>;
  readonly editedAt: Readonly<Record<FieldId, number>>;
}

const isEmpty = (object: object): boolean => {
  for (const _ in object) return false;
  return true;
};

const withoutNulls = (fields: RowFields): RowFields => {
  let isPlain = true;
  // V8 visits the values of numeric keys several times as fast as the keys.
  for (const value of Object.values(fields) as (Value | undefined)[])
    if (value === undefined || typeof value === 'object') isPlain = false;
  // Most rows have no null and no attachment: a copy would cost as much as the encoding.
  if (isPlain) return fields;
  const out: Record<string, Value> = {};
  for (const id in fields) {
    const value = fields[id as unknown as FieldId];
    if (value !== null && value !== undefined)
      out[id] = typeof value === 'object' ? orderedAttachment(value) : value;
  }
  return out;
};

/**
 * Encodes a row as canonical UTF-8 JSON; equal rows give equal bytes.
 *
 * Integer-like keys of objects are enumerated in ascending order in JavaScript, so field order is by id.
 */
export const encodeRow = (row: Row): Uint8Array => utf8Encode(rowText(row));

/** Text whose UTF-8 `encodeRow` returns, for whoever stores something before it. */
export const rowText = (row: Row): string =>
  JSON.stringify([
    row.version.incarnation,
    row.version.n,
    row.born,
    row.modifiedOn,
    row.modifiedBy,
    row.createdOn,
    row.owner,
    withoutNulls(row.fields),
    isEmpty(row.docs) ? 0 : row.docs,
    isEmpty(row.editedAt) ? 0 : row.editedAt,
  ]);

type RowJson = readonly [
  number,
  number,
  string,
  number,
  string,
  number,
  string,
  RowFields,
  Readonly<Record<FieldId, string>> | 0,
  Readonly<Record<FieldId, number>> | 0,
];

const isObject = (json: unknown): json is Readonly<Record<string, unknown>> =>
  typeof json === 'object' && json !== null && !Array.isArray(json);

const holdsOnly = (json: unknown, fits: (value: unknown) => boolean): boolean => {
  if (!isObject(json)) return false;
  for (const value of Object.values(json)) if (!fits(value)) return false;
  return true;
};

const isField = (value: unknown): boolean => valueFromJson(value) !== undefined;
const isText = (value: unknown): boolean => typeof value === 'string';
const isTime = (value: unknown): boolean => typeof value === 'number';

const isRow = (json: unknown): json is RowJson =>
  Array.isArray(json) &&
  json.length >= 10 &&
  isTime(json[0]) &&
  isTime(json[1]) &&
  isText(json[2]) &&
  isTime(json[3]) &&
  isText(json[4]) &&
  isTime(json[5]) &&
  isText(json[6]) &&
  holdsOnly(json[7], isField) &&
  (json[8] === 0 || holdsOnly(json[8], isText)) &&
  (json[9] === 0 || holdsOnly(json[9], isTime));

const parsedRow = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(utf8Decode(bytes)) as unknown;
  } catch (cause) {
    throw damagedRow(cause);
  }
};

/**
 * Decodes row bytes that this engine wrote: their shape is checked, the values are verified where they enter.
 * Throws TidemarkError `storage-damaged` on other bytes.
 */
export const decodeRow = (bytes: Uint8Array): Row => {
  const json = parsedRow(bytes);
  if (!isRow(json)) throw damagedRow();
  return {
    version: { incarnation: json[0], n: json[1] },
    born: json[2],
    modifiedOn: json[3],
    modifiedBy: json[4],
    createdOn: json[5],
    owner: json[6],
    fields: json[7],
    docs: json[8] === 0 ? {} : json[8],
    editedAt: json[9] === 0 ? {} : json[9],
  };
};

/** What an author who sees this row names as the base of an operation. */
export const baseOfRow = (row: Row): BaseVersion => ({
  incarnation: row.version.incarnation,
  n: row.version.n,
  born: row.born,
  modifiedOn: row.modifiedOn,
});

/** Keeps only the given fields of a row, with their documents and times. */
export const projectRow = (row: Row, fields: ReadonlySet<FieldId>): Row => {
  const keep = <V>(from: Readonly<Record<FieldId, V>>): Record<FieldId, V> => {
    const out: Record<FieldId, V> = {};
    for (const key in from) {
      const id = Number(key);
      if (fields.has(id)) out[id] = from[id] as V;
    }
    return out;
  };
  return { ...row, fields: keep(row.fields), docs: keep(row.docs), editedAt: keep(row.editedAt) };
};
