import {
  fromBase64,
  TidemarkError,
  toBase64,
  type FieldId,
  type Operation,
  type RowFields,
  type SchemaTable,
  type Value,
} from '@tidemark/model';
import type { MergeCrdt } from './decision.js';

/** What merge needs of a CRDT to show a pending edit; FieldCrdt of the ports fits. */
export type LocalCrdt = Pick<MergeCrdt, 'genesis' | 'apply' | 'textDifference' | 'reexpress'>;

/** Record as its device sees it: the server's image with some pending operations on top. */
export interface LocalRow {
  readonly fields: RowFields;
  /** Documents in base64 that the author may edit on. */
  readonly docs: Readonly<Record<FieldId, string>>;
  readonly deleted: boolean;
  /** Text fields that show both sides of two histories: a further edit has to be a plain write. */
  readonly plain: readonly FieldId[];
}

/** Text that the author of an edit made, so that it need not be computed again. */
export type KnownTexts = ReadonlyMap<
  FieldId,
  { readonly document: Uint8Array; readonly value: string }
>;

/** What applying operations on one record needs. */
export interface LocalContext {
  readonly tenant: string;
  readonly table: SchemaTable;
  /** Null while no operation carries text. */
  readonly crdt: LocalCrdt | null;
  /**
   * Author's own documents of text fields that the image holds in another history. Kept from one operation
   * of a record to the next: it is changed.
   */
  readonly sides: Map<FieldId, Uint8Array>;
}

interface Draft {
  readonly fields: Record<FieldId, Value>;
  docs: Record<FieldId, string>;
  plain: Set<FieldId>;
}

// Edits made for the view never leave the device, so their actor need not be told from others.
const viewActor = new Uint8Array(16);

/** Tells whether applying the operation needs the CRDT. */
export const needsCrdt = (table: SchemaTable, op: Operation): boolean =>
  op.crdt.length > 0 ||
  (op.kind === 'update' &&
    op.set.some(({ field }) => table.fieldsById.get(field)?.type === 'text'));

const put = (fields: Record<FieldId, Value>, field: FieldId, value: Value): void => {
  if (value === null) delete fields[field];
  else fields[field] = value;
};

const textOf = (value: Value | undefined): string => (typeof value === 'string' ? value : '');

const documentOf = (draft: Draft, field: FieldId): Uint8Array | undefined => {
  const text = draft.docs[field];
  return text === undefined ? undefined : fromBase64(text);
};

const setPlainText = (draft: Draft, field: FieldId, value: Value): void => {
  put(draft.fields, field, value);
  delete draft.docs[field];
  draft.plain.add(field);
};

/** Puts the author's difference on a text that has another history; the result is for display only. */
const putDifference = (
  draft: Draft,
  field: FieldId,
  before: string,
  after: string,
  context: LocalContext,
  record: string,
): void => {
  const { crdt } = context;
  const current = textOf(draft.fields[field]);
  if (current === before || crdt === null) {
    setPlainText(draft, field, after);
    return;
  }
  const key = { tenant: context.tenant, table: context.table.id, record, field };
  const document = documentOf(draft, field) ?? crdt.genesis(key, current);
  setPlainText(draft, field, crdt.reexpress(document, before, after, viewActor, 0).value);
};

/** Shows changes on the document where the histories agree, else as the difference that the author made. */
const applyChanges = (
  draft: Draft,
  field: FieldId,
  changes: Uint8Array,
  context: LocalContext,
  record: string,
): void => {
  const { crdt, sides } = context;
  if (crdt === null) return;
  const document = documentOf(draft, field);
  const side = sides.get(field) ?? null;
  const onPlain = draft.plain.has(field);
  if (!onPlain && document !== undefined) {
    const applied = crdt.apply(document, [changes]);
    if (applied.tag === 'applied') {
      draft.docs[field] = toBase64(applied.document);
      put(draft.fields, field, applied.value);
      return;
    }
  }
  let difference = crdt.textDifference(side, [changes]);
  // The changes begin a document of their own, whatever the author had before.
  if (difference.tag !== 'difference' && side !== null)
    difference = crdt.textDifference(null, [changes]);
  if (difference.tag !== 'difference') return;
  sides.set(field, difference.side);
  // The server can go on from a document only if the pending edits bring all of it.
  const isWhole = side === null && document === undefined;
  if (!onPlain && isWhole && difference.before === textOf(draft.fields[field])) {
    draft.docs[field] = toBase64(difference.side);
    put(draft.fields, field, difference.after);
    return;
  }
  putDifference(draft, field, difference.before, difference.after, context, record);
};

/** Runs one edit and leaves it out when the CRDT refuses it: its text or history has grown too large. */
const unlessRefused = (run: () => void): void => {
  try {
    run();
  } catch (cause) {
    if (!(cause instanceof TidemarkError)) throw cause;
  }
};

const isText = (table: SchemaTable, field: FieldId): boolean =>
  table.fieldsById.get(field)?.type === 'text';

const applyParts = (
  row: LocalRow,
  op: Operation,
  context: LocalContext,
  known: KnownTexts | undefined,
): LocalRow => {
  const { table } = context;
  // Rows without text keep their parts: most edits touch plain fields only.
  const texts = op.crdt.length > 0 || row.plain.length > 0 || Object.keys(row.docs).length > 0;
  const touches = texts || needsCrdt(table, op);
  const draft: Draft = touches
    ? { fields: { ...row.fields }, docs: { ...row.docs }, plain: new Set(row.plain) }
    : { fields: { ...row.fields }, docs: row.docs, plain: new Set() };
  for (const { field, before, after } of op.set) {
    if (touches && op.kind === 'update' && isText(table, field))
      unlessRefused(() =>
        putDifference(draft, field, textOf(before), textOf(after), context, op.record),
      );
    else put(draft.fields, field, after);
  }
  for (const { field, by } of op.inc) {
    const current = draft.fields[field];
    const sum = (typeof current === 'number' ? current : 0) + by;
    if (Number.isFinite(sum)) put(draft.fields, field, sum);
  }
  for (const { field, changes } of op.crdt) {
    const text = known?.get(field);
    if (text === undefined)
      unlessRefused(() => applyChanges(draft, field, changes, context, op.record));
    else {
      draft.docs[field] = toBase64(text.document);
      put(draft.fields, field, text.value);
    }
  }
  const plain = touches ? [...draft.plain] : row.plain;
  return { fields: draft.fields, docs: draft.docs, deleted: false, plain };
};

const nothing: Readonly<Record<FieldId, never>> = {};

/**
 * A create over a live record of somebody else's: its texts have another history, which is gone if that
 * record is when the create is decided.
 */
const beneathCreate = (row: LocalRow): LocalRow => {
  const others = Object.keys(row.docs).map(Number);
  if (others.length === 0) return row;
  return { ...row, docs: nothing, plain: [...new Set([...row.plain, ...others])] };
};

/**
 * Shows a pending operation on what its author's device holds. Total: what cannot apply is left out.
 * `undefined` stands for no record.
 *
 * An update of a deleted row brings it back in the view, unless the table says delete-wins.
 */
export const applyLocally = (
  row: LocalRow | undefined,
  op: Operation,
  context: LocalContext,
  known?: KnownTexts,
): LocalRow | undefined => {
  switch (op.kind) {
    case 'create': {
      const start =
        row === undefined || row.deleted
          ? { fields: {}, docs: nothing, deleted: false, plain: [] }
          : beneathCreate(row);
      return applyParts(start, op, context, known);
    }
    case 'delete':
      return row === undefined ? undefined : { ...row, deleted: true };
    case 'update':
      if (row === undefined || (row.deleted && context.table.onDelete === 'delete-wins'))
        return row;
      return applyParts(row, op, context, known);
  }
};
