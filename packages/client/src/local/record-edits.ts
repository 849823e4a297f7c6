import {
  checkOperation,
  checkValue,
  equalValues,
  fromBase64,
  isRecordId,
  resolutionsTable,
  TidemarkError,
  userTableIdMax,
  type FieldChange,
  type FieldCrdtEdit,
  type FieldDefinition,
  type FieldId,
  type Operation,
  type OperationProblem,
  type RecordId,
  type SchemaTable,
  type Value,
} from '@tidemark/model';
import type { EditSession, OperationParts } from './edit-session.js';
import type { TextEdit } from './local-replica.js';
import type { RecordIds } from './record-ids.js';
import type { SessionRecord } from './session-record.js';

const refuse = (problem: OperationProblem): never => {
  throw new TidemarkError(problem.code, problem.message, {
    table: problem.table,
    field: problem.field,
  });
};

/** Table that may be edited: system tables belong to the engine, except resolutions. */
const editable = (session: EditSession, name: string): SchemaTable => {
  const table = session.core.table(name);
  if (table.id > userTableIdMax && table.id !== resolutionsTable)
    throw new TidemarkError('unknown-table', 'system tables cannot be edited', { table: name });
  return table;
};

const fieldNamed = (table: SchemaTable, name: string): FieldDefinition => {
  const field = table.fieldsByName.get(name);
  if (field === undefined)
    throw new TidemarkError('unknown-field', `${table.name} has no such field`, {
      table: table.name,
      field: name,
    });
  return field;
};

/** Fields of an input object; a member that is undefined is left out. */
const inputFields = (
  table: SchemaTable,
  fields: Readonly<Record<string, unknown>>,
): (readonly [FieldDefinition, Value])[] => {
  const out: (readonly [FieldDefinition, Value])[] = [];
  for (const name of Object.keys(fields)) {
    const value = fields[name];
    if (value !== undefined) out.push([fieldNamed(table, name), value as Value]);
  }
  return out;
};

const check = (session: EditSession, record: SessionRecord, parts: OperationParts): void => {
  const op: Operation = {
    table: record.table.id,
    record: record.id,
    kind: parts.kind,
    base: null,
    prev: 0,
    since: 0,
    seen: 0,
    set: parts.set,
    inc: parts.inc,
    crdt: parts.crdt,
    row: null,
  };
  const problem = checkOperation(session.core.schema, op);
  if (problem !== undefined) refuse(problem);
};

const live = async (
  session: EditSession,
  table: SchemaTable,
  id: RecordId,
): Promise<SessionRecord> => {
  const record = isRecordId(id) ? await session.record(table, id) : undefined;
  if (record === undefined || record.view === null || record.view.deleted)
    throw new TidemarkError('unknown-record', 'the record does not exist', {
      table: table.name,
      record: id,
    });
  return record;
};

/** Creates a record; resolves with its id. */
export const createRecord = async (
  session: EditSession,
  ids: RecordIds,
  tableName: string,
  fields: Readonly<Record<string, unknown>>,
  givenId: RecordId | undefined,
): Promise<RecordId> => {
  const table = editable(session, tableName);
  const id = givenId ?? ids.next();
  if (typeof id !== 'string' || !isRecordId(id))
    throw new TidemarkError('invalid-id', 'the id is not allowed', { table: tableName });
  const record = await session.record(table, id, givenId === undefined);
  if (record.view !== null && !record.view.deleted)
    throw new TidemarkError('record-exists', 'a record with this id exists', {
      table: tableName,
      record: id,
    });
  const set: FieldChange[] = [];
  for (const [field, after] of inputFields(table, fields)) {
    const problem = checkValue(table, field, after);
    if (problem !== undefined) refuse(problem);
    if (after !== null) set.push({ field: field.id, before: null, after });
  }
  const parts: OperationParts = { kind: 'create', set, inc: [], crdt: [] };
  check(session, record, parts);
  await session.add(record, parts);
  return id;
};

interface TextChange {
  readonly set: FieldChange | null;
  readonly crdt: FieldCrdtEdit | null;
  readonly known: { readonly document: Uint8Array; readonly value: string } | null;
}

const splice = (text: string, { at, remove, insert }: Exclude<TextEdit, string>): string =>
  text.slice(0, at) + insert + text.slice(at + remove);

const isSplice = (edit: unknown, length: number): edit is Exclude<TextEdit, string> => {
  if (typeof edit !== 'object' || edit === null) return false;
  const { at, remove, insert } = edit as Record<string, unknown>;
  return (
    Number.isSafeInteger(at) &&
    Number.isSafeInteger(remove) &&
    (at as number) >= 0 &&
    (remove as number) >= 0 &&
    (at as number) + (remove as number) <= length &&
    typeof insert === 'string'
  );
};

const changeText = async (
  session: EditSession,
  record: SessionRecord,
  field: FieldDefinition,
  edit: TextEdit,
): Promise<TextChange | null> => {
  const { core } = session;
  const view = record.view as NonNullable<SessionRecord['view']>;
  const value = view.row.fields[field.id];
  const before = typeof value === 'string' ? value : '';
  if (typeof edit !== 'string' && !isSplice(edit, before.length))
    throw new TidemarkError('invalid-value', 'the replacement does not lie in the text', {
      table: record.table.name,
      field: field.name,
    });
  const after = typeof edit === 'string' ? edit : splice(before, edit);
  const problem = checkValue(record.table, field, after);
  if (problem !== undefined) refuse(problem);
  if (after === before) return null;
  if (view.plain.includes(field.id))
    return { set: { field: field.id, before, after }, crdt: null, known: null };
  const crdt = await core.crdt();
  const stored = view.row.docs[field.id];
  const key = {
    tenant: core.meta.tenant,
    table: record.table.id,
    record: record.id,
    field: field.id,
  };
  const document =
    (stored === undefined ? undefined : fromBase64(stored)) ?? crdt.genesis(key, before);
  const line = `${record.table.id}/${field.id}/${record.id}`;
  const actor = core.textActors.next(line, document);
  const edited =
    typeof edit === 'string'
      ? crdt.editText(document, edit, actor, session.wallMs)
      : crdt.spliceText(document, edit.at, edit.remove, edit.insert, actor, session.wallMs);
  core.textActors.made(line, actor, edited.document);
  // Nobody else may have this document yet: the first edit carries its genesis.
  const changes = stored === undefined ? crdt.changesOf(edited.document) : edited.changes;
  return { set: null, crdt: { field: field.id, changes }, known: edited };
};

/** Updates fields of a record. Values that are already there are left out; nothing may remain. */
export const updateRecord = async (
  session: EditSession,
  tableName: string,
  id: RecordId,
  fields: Readonly<Record<string, unknown>>,
): Promise<void> => {
  const table = editable(session, tableName);
  const input = inputFields(table, fields);
  const record = await live(session, table, id);
  const set: FieldChange[] = [];
  const texts: (readonly [FieldDefinition, string])[] = [];
  for (const [field, after] of input) {
    const problem = checkValue(table, field, after);
    if (problem !== undefined) refuse(problem);
    if (field.type === 'text') texts.push([field, typeof after === 'string' ? after : '']);
    else {
      const before = record.view?.row.fields[field.id] ?? null;
      if (field.type === 'counter' || !equalValues(before, after))
        set.push({ field: field.id, before, after });
    }
  }
  await addChanges(session, record, set, texts);
};

const addChanges = async (
  session: EditSession,
  record: SessionRecord,
  set: FieldChange[],
  texts: readonly (readonly [FieldDefinition, TextEdit])[],
): Promise<void> => {
  check(session, record, { kind: 'update', set, inc: [], crdt: [] });
  const crdt: FieldCrdtEdit[] = [];
  const known = new Map<FieldId, { document: Uint8Array; value: string }>();
  for (const [field, edit] of texts) {
    const change = await changeText(session, record, field, edit);
    if (change === null) continue;
    if (change.set !== null) set.push(change.set);
    if (change.crdt !== null) crdt.push(change.crdt);
    if (change.known !== null) known.set(field.id, change.known);
  }
  if (set.length === 0 && crdt.length === 0) return;
  await session.add(record, { kind: 'update', set, inc: [], crdt }, known);
};

/** Edits a text field. */
export const editTextField = async (
  session: EditSession,
  tableName: string,
  id: RecordId,
  fieldName: string,
  edit: TextEdit,
): Promise<void> => {
  const table = editable(session, tableName);
  const field = fieldNamed(table, fieldName);
  if (field.type !== 'text')
    throw new TidemarkError('invalid-value', `${tableName}.${fieldName} is not a text`, {
      table: tableName,
      field: fieldName,
    });
  await addChanges(session, await live(session, table, id), [], [[field, edit]]);
};

/** Adds to a counter. */
export const incrementField = async (
  session: EditSession,
  tableName: string,
  id: RecordId,
  fieldName: string,
  by: number,
): Promise<void> => {
  const table = editable(session, tableName);
  const field = fieldNamed(table, fieldName);
  const record = await live(session, table, id);
  const before = record.view?.row.fields[field.id];
  const sum = (typeof before === 'number' ? before : 0) + Number(by);
  if (!Number.isFinite(by) || !Number.isFinite(sum))
    throw new TidemarkError('invalid-value', 'an increment is a finite number', {
      table: tableName,
      field: fieldName,
    });
  const parts: OperationParts = {
    kind: 'update',
    set: [],
    inc: [{ field: field.id, by }],
    crdt: [],
  };
  check(session, record, parts);
  if (by !== 0) await session.add(record, parts);
};

/** Deletes a record. */
export const deleteRecord = async (
  session: EditSession,
  tableName: string,
  id: RecordId,
): Promise<void> => {
  const table = editable(session, tableName);
  const record = await live(session, table, id);
  await session.add(record, { kind: 'delete', set: [], inc: [], crdt: [] });
};
