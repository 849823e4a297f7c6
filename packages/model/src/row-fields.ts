import { TidemarkError } from './error.js';
import type { FieldId } from './ids.js';

const quote = 0x22;
const comma = 0x2c;
const backslash = 0x5c;
const opening = 0x7b;
const closing = 0x7d;
const zero = 0x30;
const nine = 0x39;
/** Entries of the JSON of a row before its fields. */
const entriesBefore = 7;

/** Bytes that are no row. */
export const damagedRow = (cause?: unknown): TidemarkError =>
  new TidemarkError('storage-damaged', 'the bytes of a row have another form', {}, cause);

/** Position after the string that begins at `at`: behind the end of the bytes when it does not end. */
const afterString = (bytes: Uint8Array, at: number): number => {
  let next = at + 1;
  while (next < bytes.length && bytes[next] !== quote) next += bytes[next] === backslash ? 2 : 1;
  return next + 1;
};

/** Position after the object that begins at `at`. */
const afterObject = (bytes: Uint8Array, at: number): number => {
  let next = at;
  for (let depth = 0; ;) {
    const byte = bytes[next];
    if (byte === quote) next = afterString(bytes, next);
    else {
      if (byte === opening) depth += 1;
      if (byte === closing) depth -= 1;
      next += 1;
    }
    if (depth === 0) return next;
    if (next >= bytes.length) throw damagedRow();
  }
};

/** Position at which the object of the fields begins. */
const fieldsAt = (row: Uint8Array): number => {
  let at = 1;
  for (let before = 0; before < entriesBefore;) {
    const byte = row[at];
    if (byte === quote) at = afterString(row, at);
    else {
      if (byte === comma) before += 1;
      at += 1;
    }
    if (at >= row.length) throw damagedRow();
  }
  if (row[at] !== opening) throw damagedRow();
  return at;
};

/**
 * JSON of a row's fields as it stands within the bytes of `encodeRow`: canonical, and found without decoding
 * the row. Throws TidemarkError `storage-damaged` where there are none.
 */
export const fieldBytesOfRow = (row: Uint8Array): Uint8Array => {
  const start = fieldsAt(row);
  return row.subarray(start, afterObject(row, start));
};

/**
 * Visits the fields of a row that are not null, in the order of their ids, by where the JSON of their values begins
 * and ends in the bytes: whoever needs few of them need not decode the row. Throws `storage-damaged` as
 * `fieldBytesOfRow`.
 */
export const visitRowFields = (
  row: Uint8Array,
  visit: (field: FieldId, from: number, to: number) => void,
): void => {
  let at = fieldsAt(row) + 1;
  if (row[at] === closing) return;
  for (;;) {
    if (row[at] !== quote) throw damagedRow();
    at += 1;
    let field = 0;
    for (let byte = row[at] as number; byte >= zero && byte <= nine; byte = row[at] as number) {
      field = 10 * field + byte - zero;
      at += 1;
    }
    // Behind the id come its quote and a colon.
    at += 2;
    const from = at;
    if (row[at] === quote) at = afterString(row, at);
    else if (row[at] === opening) at = afterObject(row, at);
    else while (at < row.length && row[at] !== comma && row[at] !== closing) at += 1;
    if (at >= row.length) throw damagedRow();
    visit(field, from, at);
    if (row[at] === closing) return;
    if (row[at] !== comma) throw damagedRow();
    at += 1;
  }
};
