import {
  checkValue,
  isRecordId,
  isWellFormed,
  TidemarkError,
  userTableIdMax,
  utf8Length,
  type RowFields,
  type Schema,
  type SchemaTable,
  type Value,
} from '@tidemark/model';
import { entryItemsMax, type InputEntry, type Merger } from '@tidemark/merger';
import type { LooseOperation } from './server-types.js';

/** Largest operation of a server write in bytes of its JSON: a record must fit a message. */
export const writeOperationBytesMax = 512 * 1024;
/** Bytes of one entry of the input, about. */
export const writeEntryBytesMax = 768 * 1024;
/** Entries of one write that may wait for the fold at once. */
export const writeEntriesInFlightMax = 8;

type WriteEntry = Extract<InputEntry, { readonly kind: 'write' }>;
type Operation = WriteEntry['ops'][number];

/** Table of the schema by name. Throws `unknown-table`. */
export const tableOf = (schema: Schema, name: string): SchemaTable => {
  const table = schema.tablesByName.get(name);
  if (table === undefined || table.id > userTableIdMax)
    throw new TidemarkError('unknown-table', `there is no table ${name}`);
  return table;
};

/** Refuses what is no record id. Throws `invalid-id`. */
export const checkId = (id: string): void => {
  if (!isRecordId(id)) throw new TidemarkError('invalid-id', 'the record id is not allowed');
};

const userLengthMax = 255;

/** Refuses what is no user, since the fold would pass over what it cannot read. Throws `invalid-option`. */
export const checkUser = (user: unknown): void => {
  if (typeof user !== 'string' || user === '' || user.length > userLengthMax || !isWellFormed(user))
    throw new TidemarkError(
      'invalid-option',
      `user is a text of 1 to ${userLengthMax} characters`,
      {
        option: 'user',
      },
    );
};

/** Fields by numeric id, each checked against its definition. */
export const fieldsOf = (
  table: SchemaTable,
  named: Readonly<Record<string, Value | undefined>>,
): RowFields => {
  const fields: Record<number, Value> = {};
  for (const [name, value] of Object.entries(named)) {
    if (value === undefined) continue;
    const field = table.fieldsByName.get(name);
    if (field === undefined)
      throw new TidemarkError('unknown-field', `${table.name} has no field ${name}`);
    const problem = checkValue(table, field, value);
    if (problem !== undefined) throw new TidemarkError(problem.code, problem.message);
    fields[field.id] = value;
  }
  return fields;
};

const incrementsOf = (
  table: SchemaTable,
  named: Readonly<Record<string, number | undefined>>,
): Record<number, number> => {
  const by: Record<number, number> = {};
  for (const [name, amount] of Object.entries(named)) {
    if (amount === undefined) continue;
    const field = table.fieldsByName.get(name);
    if (field === undefined)
      throw new TidemarkError('unknown-field', `${table.name} has no field ${name}`);
    if (field.type !== 'counter' || !Number.isFinite(amount))
      throw new TidemarkError(
        'invalid-value',
        `${table.name}.${name}: increments are for counters`,
      );
    by[field.id] = amount;
  }
  return by;
};

/** Checks an operation and turns its names into ids. */
export const bindOperation = (schema: Schema, op: LooseOperation): Operation => {
  const table = tableOf(schema, op.table);
  checkId(op.id);
  const target = { table: table.id, id: op.id };
  switch (op.kind) {
    case 'put':
    case 'patch':
      return {
        kind: op.kind === 'put' ? 'upsert' : 'patch',
        ...target,
        fields: fieldsOf(table, op.fields ?? {}),
      };
    case 'delete':
      return { kind: 'delete', ...target };
    case 'increment':
      return { kind: 'increment', ...target, by: incrementsOf(table, op.by ?? {}) };
    default:
      throw new TidemarkError('invalid-value', 'a write is a put, patch, delete or increment');
  }
};

/** A put that would create must have the required fields: the fold would refuse the whole entry. */
const checkRequired = async (merger: Merger, ops: readonly Operation[]): Promise<void> => {
  const schema = merger.schema();
  for (const op of ops) {
    if (op.kind !== 'upsert') continue;
    const table = schema.tablesById.get(op.table);
    const missing = table?.fields.find(
      ({ id, required }) => required === true && (op.fields[id] ?? null) === null,
    );
    if (table === undefined || missing === undefined) continue;
    const [stored] = await merger.store.getRecords(op.table, [op.id]);
    const isMade = ops.some((one) => one !== op && one.kind === 'upsert' && one.id === op.id);
    if (!isMade && (stored === undefined || stored.deleted))
      throw new TidemarkError(
        'required-field',
        `${table.name}.${missing.name}: a value is required`,
      );
  }
};

/** Result of a server write: how it was taken in, and the version that contains all of it. */
export interface WriteResult {
  readonly operations: number;
  /** Transactions it became: each holds at most 1,000 operations and is seen as a whole. */
  readonly transactions: number;
  readonly version: { readonly incarnation: number; readonly n: number };
}

/** Entry on its way into the input. */
interface Submitted {
  readonly operations: number;
  readonly done: Promise<unknown>;
}

/** Waits for all entries in order: how many operations are stored before the first that failed, and behind it. */
const settle = async (
  inFlight: readonly Submitted[],
): Promise<{ readonly before: number; readonly behind: number; readonly cause: unknown }> => {
  let [before, behind] = [0, 0];
  let failed: { readonly cause: unknown } | undefined;
  for (const { operations, done } of inFlight)
    try {
      await done;
      if (failed === undefined) before += operations;
      else behind += operations;
    } catch (cause) {
      failed ??= { cause };
    }
  return { before, behind, cause: failed?.cause };
};

/** The failure with what is stored all the same. */
const withStored = (cause: unknown, stored: number, behind: number): unknown => {
  if (!(cause instanceof TidemarkError)) return cause;
  const { code, message, details } = cause;
  const more = behind === 0 ? '' : `, and ${behind} behind it`;
  const text = `${message.slice(`${code}: `.length)}; ${stored} stored before${more}`;
  return new TidemarkError(code, text, { ...details, stored, storedBehind: behind }, cause);
};

/**
 * Writes a stream of operations as the server, in entries of at most 1,000. Each entry is checked before
 * it is stored; the first failure ends the write. A TidemarkError says in `details.stored` how many operations
 * are known to be stored before it, and in `details.storedBehind` how many of those that were on their way behind
 * it; nothing is under way any more when it rejects.
 */
export const writeOperations = async (
  merger: Merger,
  user: string,
  operations: Iterable<LooseOperation> | AsyncIterable<LooseOperation>,
): Promise<WriteResult> => {
  const inFlight: Submitted[] = [];
  let ops: Operation[] = [];
  let bytes = 0;
  let total = 0;
  let transactions = 0;
  let stored = 0;
  checkUser(user);
  const flush = async (): Promise<void> => {
    if (ops.length === 0) return;
    const entry: WriteEntry = { kind: 'write', user, ops };
    ops = [];
    bytes = 0;
    await checkRequired(merger, entry.ops);
    const first = inFlight.length < writeEntriesInFlightMax ? undefined : inFlight[0];
    if (first !== undefined) {
      await first.done;
      inFlight.shift();
      stored += first.operations;
    }
    const done = merger.submit(entry);
    // Its failure is met when it is awaited in turn.
    done.catch(() => undefined);
    inFlight.push({ operations: entry.ops.length, done });
    total += entry.ops.length;
    transactions += 1;
  };
  try {
    for await (const op of operations) {
      const bound = bindOperation(merger.schema(), op);
      const size = utf8Length(JSON.stringify(bound));
      if (size > writeOperationBytesMax)
        throw new TidemarkError(
          'record-too-large',
          `an operation exceeds ${writeOperationBytesMax} bytes`,
        );
      if (ops.length >= entryItemsMax || bytes + size > writeEntryBytesMax) await flush();
      ops.push(bound);
      bytes += size;
    }
    await flush();
  } catch (cause) {
    const rest = await settle(inFlight);
    throw withStored(cause, stored + rest.before, rest.behind);
  }
  const rest = await settle(inFlight);
  if (rest.cause !== undefined) throw withStored(rest.cause, stored + rest.before, rest.behind);
  const { incarnation, n } = merger.state();
  return { operations: total, transactions, version: { incarnation, n } };
};
