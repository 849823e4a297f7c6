import {
  checkOperation,
  TidemarkError,
  type Operation,
  type SchemaTable,
  type Transaction,
  type Value,
  utf8Decode,
  utf8Encode,
} from '@tidemark/model';
import type { Window } from './window.js';
import {
  hookMessageMax,
  validateReadsMax,
  type ValidateOperation,
  type ValidateView,
} from './validate-hook.js';

const fieldNames = (
  table: SchemaTable,
  values: Readonly<Record<number, Value>>,
): Readonly<Record<string, Value>> => {
  const out: Record<string, Value> = {};
  for (const field of table.fields) out[field.name] = values[field.id] ?? null;
  return out;
};

const describe = (table: SchemaTable, op: Operation): ValidateOperation => {
  const name = (id: number): string => table.fieldsById.get(id)?.name ?? String(id);
  return {
    table: table.name,
    record: op.record,
    kind: op.kind,
    set: Object.fromEntries(op.set.map(({ field, after }) => [name(field), after])),
    increments: Object.fromEntries(op.inc.map(({ field, by }) => [name(field), by])),
    texts: op.crdt.map(({ field }) => name(field)),
  };
};

/** The message as a sync error can carry it: well-formed, at most `hookMessageMax` units. */
const boundedMessage = (message: string): string => {
  const next = message.charCodeAt(hookMessageMax);
  // A pair is not cut through.
  const end = next >= 0xdc00 && next <= 0xdfff ? hookMessageMax - 1 : hookMessageMax;
  return utf8Decode(utf8Encode(message.slice(0, end)));
};

/**
 * Asks the hook about a transaction. Null: it accepts, or there is no hook. One that does not fit the schema
 * is not asked about, unless its records are decided apart: then the hook sees the operations that fit.
 *
 * Rejects with `hook-failed` when the hook throws or reads more than `validateReadsMax` records.
 */
export const askHook = async (
  window: Window,
  transaction: Transaction,
  author: { readonly replica: string; readonly user: string },
  apart: boolean,
): Promise<string | null> => {
  const { validate: hook, schema } = window.context;
  if (hook === undefined) return null;
  const operations: ValidateOperation[] = [];
  for (const op of transaction.ops) {
    const table = schema.tablesById.get(op.table);
    if (table !== undefined && checkOperation(schema, op) === undefined)
      operations.push(describe(table, op));
    else if (!apart) return null;
  }
  if (operations.length === 0) return null;
  let reads = 0;
  let unread: unknown;
  const get: ValidateView['get'] = async (name, id) => {
    const table = schema.tablesByName.get(name);
    if (table === undefined) throw new TidemarkError('unknown-table', `no table ${name}`);
    reads += 1;
    if (reads > validateReadsMax)
      throw new TidemarkError('hook-failed', `a hook may read ${validateReadsMax} records`);
    try {
      await window.overlay.loadRecord(table.id, id);
      const record = window.overlay.records.get(table.id, id);
      return record === undefined || record.deleted ? null : fieldNames(table, record.row.fields);
    } catch (cause) {
      unread ??= cause;
      throw cause;
    }
  };
  try {
    const { replica, user } = author;
    const answer = await hook({ replica, user, now: window.now, operations }, { get });
    // Also when the hook caught what it could not read, or the refusal to read more: it must not decide on part of the facts.
    if (unread !== undefined) throw unread;
    if (reads > validateReadsMax) throw new TidemarkError('hook-failed', 'too many reads');
    if (answer === undefined || answer === null) return null;
    // Nothing else is taken for consent: a check that fails must not fail open.
    const message: unknown = typeof answer === 'string' ? answer : answer.message;
    if (typeof message !== 'string')
      throw new TidemarkError(
        'hook-failed',
        'the validate hook gave neither nothing nor a message',
      );
    return boundedMessage(message);
  } catch (cause) {
    if (cause instanceof TidemarkError && cause.code.startsWith('storage-')) throw cause;
    const details = { replica: author.replica, n: window.n };
    throw new TidemarkError('hook-failed', 'the validate hook threw', details, cause);
  }
};
