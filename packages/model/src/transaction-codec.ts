import { fromBase64, toBase64, utf8Decode, utf8Encode } from './bytes.js';
import { isRecordId, type BaseVersion } from './ids.js';
import {
  transactionOpsMax,
  type FieldChange,
  type FieldCrdtEdit,
  type FieldIncrement,
  type FieldValue,
  type Operation,
  type OperationKind,
  type Transaction,
} from './operation.js';
import { left, right, type Result } from './result.js';
import { fieldIdMax } from './schema.js';
import { orderedAttachment, valueFromJson, type Value } from './value.js';

const kinds: readonly OperationKind[] = ['create', 'update', 'delete'];

const encodeValue = (value: Value): Json =>
  typeof value === 'object' && value !== null ? { ...orderedAttachment(value) } : value;

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const encodeBase = (base: BaseVersion | null): Json =>
  base === null ? 0 : [base.incarnation, base.n, base.born, base.modifiedOn];

const encodeOperation = (op: Operation): Json => {
  const json: Json[] = [
    op.table,
    op.record,
    kinds.indexOf(op.kind),
    encodeBase(op.base),
    op.prev,
    op.seen,
    op.set.length === 0
      ? 0
      : op.set.map(({ field, before, after }) => [field, encodeValue(before), encodeValue(after)]),
    op.inc.length === 0 ? 0 : op.inc.map(({ field, by }) => [field, by]),
    op.crdt.length === 0 ? 0 : op.crdt.map(({ field, changes }) => [field, toBase64(changes)]),
    op.row === null ? 0 : op.row.map(({ field, value }) => [field, encodeValue(value)]),
  ];
  // Most chains are one operation long, and then both distances are one.
  if (op.since !== op.prev) json.push(op.since);
  return json;
};

/** Encodes a transaction as payload bytes, format 1: positional JSON. */
export const encodeTransaction = (transaction: Transaction): Uint8Array =>
  utf8Encode(
    JSON.stringify([
      transaction.schemaVersion,
      transaction.hlc.wallMs,
      transaction.hlc.counter,
      transaction.atomicity === 'whole' ? 0 : 1,
      transaction.ops.map(encodeOperation),
    ]),
  );

class Malformed extends Error {}

const fail = (what: string): never => {
  throw new Malformed(what);
};

const asArray = (json: unknown, min: number, what: string): readonly unknown[] =>
  Array.isArray(json) && json.length >= min ? (json as readonly unknown[]) : fail(what);

const asCount = (json: unknown, what: string): number =>
  typeof json === 'number' && Number.isSafeInteger(json) && json >= 0 && !Object.is(json, -0)
    ? json
    : fail(what);

const asFieldId = (json: unknown): number => {
  const id = asCount(json, 'field id');
  return id >= 1 && id <= fieldIdMax ? id : fail('field id');
};

const asValue = (json: unknown): Value => {
  const value = valueFromJson(json);
  return value === undefined ? fail('value') : value;
};

/** Shared by all lists that are empty, as most are. */
const none: readonly never[] = Object.freeze([]);

const decodeList = <A>(
  json: unknown,
  what: string,
  one: (item: readonly unknown[]) => A,
): readonly A[] => {
  if (json === 0 || json === undefined) return none;
  const items = asArray(json, 1, what);
  if (items.length > fieldIdMax) fail(what);
  // One field is there once: most operations of an app change one.
  const seen = items.length === 1 ? undefined : new Set<unknown>();
  return items.map((item) => {
    const tuple = asArray(item, 2, what);
    if (seen?.has(tuple[0]) === true) fail(`${what}: a field twice`);
    seen?.add(tuple[0]);
    return one(tuple);
  });
};

const decodeBase = (json: unknown): BaseVersion | null => {
  if (json === 0) return null;
  const [incarnation, n, born, modifiedOn] = asArray(json, 4, 'base');
  return {
    incarnation: asCount(incarnation, 'base'),
    n: asCount(n, 'base'),
    born: typeof born === 'string' && born.length <= 160 ? born : fail('base'),
    modifiedOn: asCount(modifiedOn, 'base'),
  };
};

const decodeChange = ([field, before, after]: readonly unknown[]): FieldChange => ({
  field: asFieldId(field),
  before: asValue(before),
  after: asValue(after),
});

const decodeIncrement = ([field, by]: readonly unknown[]): FieldIncrement => {
  const value = asValue(by);
  return { field: asFieldId(field), by: typeof value === 'number' ? value : fail('increment') };
};

const decodeCrdt = ([field, text]: readonly unknown[]): FieldCrdtEdit => ({
  field: asFieldId(field),
  changes: (typeof text === 'string' ? fromBase64(text) : undefined) ?? fail('CRDT changes'),
});

const decodeValue = ([field, value]: readonly unknown[]): FieldValue => ({
  field: asFieldId(field),
  value: asValue(value),
});

const decodeSince = (since: unknown, prev: number): number => {
  if (since === undefined) return prev;
  const distance = asCount(since, 'since');
  return distance > prev && prev > 0 ? distance : fail('since');
};

const decodeOperation = (json: unknown): Operation => {
  const [table, record, kind, base, prev, seen, set, inc, crdt, row, since] = asArray(
    json,
    6,
    'operation',
  );
  return {
    table: asCount(table, 'table id'),
    record: typeof record === 'string' && isRecordId(record) ? record : fail('record id'),
    kind: kinds[asCount(kind, 'kind')] ?? fail('kind'),
    base: decodeBase(base),
    prev: asCount(prev, 'prev'),
    since: decodeSince(since, asCount(prev, 'prev')),
    seen: asCount(seen, 'seen'),
    set: decodeList(set, 'set', decodeChange),
    inc: decodeList(inc, 'inc', decodeIncrement),
    crdt: decodeList(crdt, 'crdt', decodeCrdt),
    row: row === 0 || row === undefined ? null : decodeList(row, 'row', decodeValue),
  };
};

/**
 * Decodes payload bytes of format 1. A pure function of the bytes; unknown trailing elements are ignored.
 *
 * The failure names what is malformed, without values. Schema checks come later, at the merge.
 */
export const decodeTransaction = (payload: Uint8Array): Result<string, Transaction> => {
  try {
    const json: unknown = JSON.parse(utf8Decode(payload));
    const [schemaVersion, wallMs, counter, atomicity, ops] = asArray(json, 5, 'transaction');
    const list = asArray(ops, 1, 'operations');
    if (list.length > transactionOpsMax) fail('operations');
    return right({
      schemaVersion: asCount(schemaVersion, 'schema version'),
      hlc: { wallMs: asCount(wallMs, 'wall time'), counter: asCount(counter, 'counter') },
      atomicity: atomicity === 0 ? 'whole' : atomicity === 1 ? 'per-record' : fail('atomicity'),
      ops: list.map(decodeOperation),
    });
  } catch (cause) {
    if (cause instanceof Malformed) return left(cause.message);
    // JSON.parse and the UTF-8 decoder throw SyntaxError, TypeError and, for very deep input, RangeError.
    if (cause instanceof SyntaxError || cause instanceof TypeError || cause instanceof RangeError)
      return left('JSON');
    throw cause;
  }
};
