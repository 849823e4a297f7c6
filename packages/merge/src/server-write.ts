import {
  baseOfRow,
  equalValues,
  type BaseVersion,
  type FieldChange,
  type FieldId,
  type FieldIncrement,
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
import { recordKey } from './draft.js';

/**
 * Write by the server's own side. `upsert` creates the record or sets the given fields, `patch` sets them
 * on a live record only, `increment` adds to counters.
 */
export type ServerWrite = { readonly table: TableId; readonly id: RecordId } & (
  | { readonly kind: 'upsert' | 'patch'; readonly fields: RowFields }
  | { readonly kind: 'increment'; readonly by: Readonly<Record<FieldId, number>> }
  | { readonly kind: 'delete' }
);

/** Transaction of server writes, and which of them had no live record to change. */
export interface ServerTransaction {
  /** Null when nothing would change. */
  readonly transaction: Transaction | null;
  /** Positions of patches, increments and deletes without a live record: they are left out. */
  readonly missing: readonly number[];
}

interface Live {
  readonly fields: Record<FieldId, Value>;
  readonly base: BaseVersion | null;
}

const noParts = { prev: 0, since: 0, seen: 0, set: [], inc: [], crdt: [], row: null } as const;

const createOp = (write: ServerWrite, fields: RowFields): Operation => {
  const set: FieldChange[] = [];
  for (const key in fields) {
    const after = fields[Number(key)] ?? null;
    if (after !== null) set.push({ field: Number(key), before: null, after });
  }
  const { table, id: record } = write;
  return { ...noParts, table, record, kind: 'create', base: null, set };
};

const setOp = (
  table: SchemaTable | undefined,
  write: ServerWrite,
  fields: RowFields,
  live: Live,
): Operation | null => {
  const set: FieldChange[] = [];
  const inc: FieldIncrement[] = [];
  for (const key in fields) {
    const field = Number(key);
    const before = live.fields[field] ?? null;
    const after = fields[field] ?? null;
    if (equalValues(before, after)) continue;
    // A counter changes by increments only, also where the server states its new value.
    const counts = table?.fieldsById.get(field)?.type === 'counter' && typeof after === 'number';
    if (counts) inc.push({ field, by: after - Number(before ?? 0) });
    else set.push({ field, before, after });
  }
  if (set.length === 0 && inc.length === 0) return null;
  const { table: tableId, id: record } = write;
  return { ...noParts, table: tableId, record, kind: 'update', base: live.base, set, inc };
};

const incrementOp = (
  write: Extract<ServerWrite, { readonly kind: 'increment' }>,
  live: Live,
): Operation | null => {
  const inc: FieldIncrement[] = [];
  for (const key in write.by) {
    const by = write.by[Number(key)] ?? 0;
    if (by !== 0) inc.push({ field: Number(key), by });
  }
  if (inc.length === 0) return null;
  const { table, id: record } = write;
  return { ...noParts, table, record, kind: 'update', base: live.base, inc };
};

const followOp = (op: Operation, live: Live | undefined): Live | undefined => {
  if (op.kind === 'delete') return undefined;
  const fields = { ...live?.fields };
  for (const { field, after } of op.set) fields[field] = after;
  for (const { field, by } of op.inc) fields[field] = Number(fields[field] ?? 0) + by;
  return { fields, base: live?.base ?? null };
};

/**
 * Builds the transaction of server writes on the current records; fields that hold the value already are
 * left out. Decide it with author kind `server` in the same step: then it always applies, unless a value
 * is not valid.
 */
export const serverTransaction = (
  schema: Schema,
  writes: readonly ServerWrite[],
  read: (table: TableId, id: RecordId) => MergeRecord | undefined,
): ServerTransaction => {
  const lives = new Map<string, Live | undefined>();
  const ops: Operation[] = [];
  const missing: number[] = [];
  writes.forEach((write, position) => {
    const key = recordKey(write.table, write.id);
    if (!lives.has(key)) {
      const record = read(write.table, write.id);
      const alive = record !== undefined && !record.deleted;
      lives.set(
        key,
        alive ? { fields: { ...record.row.fields }, base: baseOfRow(record.row) } : undefined,
      );
    }
    const live = lives.get(key);
    let op: Operation | null = null;
    if (live === undefined) {
      if (write.kind === 'upsert') op = createOp(write, write.fields);
      else missing.push(position);
    } else if (write.kind === 'delete') {
      const { table, id: record } = write;
      op = { ...noParts, table, record, kind: 'delete', base: live.base };
    } else if (write.kind === 'increment') op = incrementOp(write, live);
    else op = setOp(schema.tablesById.get(write.table), write, write.fields, live);
    if (op === null) return;
    ops.push(op);
    lives.set(key, followOp(op, live));
  });
  if (ops.length === 0) return { transaction: null, missing };
  const hlc = { wallMs: 0, counter: 0 };
  const schemaVersion = schema.customization.version;
  return { transaction: { schemaVersion, hlc, atomicity: 'whole', ops }, missing };
};
