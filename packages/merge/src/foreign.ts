import {
  baseOfRow,
  equalValues,
  type BaseVersion,
  type FieldChange,
  type FieldIncrement,
  type FieldValue,
  type Operation,
  type RecordId,
  type RowFields,
  type Schema,
  type SchemaTable,
  type TableId,
  type Transaction,
  type Value,
} from '@tidemark/model';
import type { MergeRecord } from './decision.js';

/** Row as a system of record has it. Absent fields of the table count as null. */
export interface ForeignRow {
  readonly table: TableId;
  readonly id: RecordId;
  readonly fields: RowFields;
  readonly deleted: boolean;
}

const noParts = { prev: 0, since: 0, seen: 0, set: [], inc: [], crdt: [], row: null } as const;

const valueOf = (fields: RowFields, id: number): Value => fields[id] ?? null;

const sameFields = (table: SchemaTable, a: RowFields, b: RowFields): boolean =>
  table.fields.every(({ id }) => equalValues(valueOf(a, id), valueOf(b, id)));

/** Base of a foreign operation: the server's row when it still holds the shadow, else older than any. */
const baseFrom = (table: SchemaTable, shadow: RowFields, server: MergeRecord): BaseVersion =>
  sameFields(table, shadow, server.row.fields)
    ? baseOfRow(server.row)
    : { incarnation: server.row.version.incarnation, n: 0, born: server.row.born, modifiedOn: 0 };

const createOf = (table: SchemaTable, row: ForeignRow): Operation => {
  const set: FieldChange[] = [];
  for (const { id } of table.fields) {
    const after = valueOf(row.fields, id);
    if (after !== null) set.push({ field: id, before: null, after });
  }
  return { ...noParts, table: table.id, record: row.id, kind: 'create', base: null, set };
};

/** What the backend changed since the shadow; counters as increments. */
const updateOf = (
  table: SchemaTable,
  shadow: RowFields,
  row: ForeignRow,
  server: MergeRecord,
): Operation | null => {
  const set: FieldChange[] = [];
  const inc: FieldIncrement[] = [];
  const whole: FieldValue[] = [];
  for (const { id, type } of table.fields) {
    const before = valueOf(shadow, id);
    const after = valueOf(row.fields, id);
    if (type !== 'counter' && type !== 'text') whole.push({ field: id, value: after });
    if (equalValues(before, after)) continue;
    if (type === 'counter') inc.push({ field: id, by: Number(after ?? 0) - Number(before ?? 0) });
    else set.push({ field: id, before, after });
  }
  if (set.length === 0 && inc.length === 0) return null;
  return {
    ...noParts,
    table: table.id,
    record: row.id,
    kind: 'update',
    base: baseFrom(table, shadow, server),
    set,
    inc,
    row: table.rule === 'device-wins-full' ? whole : null,
  };
};

/** Every field in which a row without shadow differs from the server's; counters keep the server's sum. */
const differenceOf = (
  table: SchemaTable,
  row: ForeignRow,
  server: MergeRecord,
): Operation | null => {
  const set: FieldChange[] = [];
  for (const { id, type } of table.fields) {
    const after = valueOf(row.fields, id);
    if (type !== 'counter' && !equalValues(valueOf(server.row.fields, id), after))
      set.push({ field: id, before: null, after });
  }
  if (set.length === 0) return null;
  return { ...noParts, table: table.id, record: row.id, kind: 'update', base: null, set };
};

const deleteOf = (
  table: SchemaTable,
  shadow: RowFields | null,
  row: ForeignRow,
  server: MergeRecord,
): Operation => {
  const base = shadow === null ? null : baseFrom(table, shadow, server);
  return { ...noParts, table: table.id, record: row.id, kind: 'delete', base };
};

/**
 * Builds the transaction of a row that came from a system of record, by difference with its shadow: the
 * last row seen or written there. Null when the row says nothing new (an echo) or the table is unknown.
 *
 * Decide it with author kind `backend` and `foreignModifiedOn`.
 */
export const foreignTransaction = (
  schema: Schema,
  shadow: RowFields | null,
  row: ForeignRow,
  server: MergeRecord | undefined,
): Transaction | null => {
  const table = schema.tablesById.get(row.table);
  if (table === undefined) return null;
  const alive = server !== undefined && !server.deleted;
  let op: Operation | null;
  if (row.deleted) op = alive ? deleteOf(table, shadow, row, server) : null;
  else if (shadow !== null && sameFields(table, shadow, row.fields)) op = null;
  else if (server === undefined) op = createOf(table, row);
  else if (shadow !== null) op = updateOf(table, shadow, row, server);
  else op = alive ? differenceOf(table, row, server) : createOf(table, row);
  if (op === null) return null;
  return {
    schemaVersion: schema.customization.version,
    hlc: { wallMs: 0, counter: 0 },
    atomicity: 'whole',
    ops: [op],
  };
};
