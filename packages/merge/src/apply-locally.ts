import {
  equalValues,
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
export type LocalCrdt = Pick<MergeCrdt, 'apply' | 'textDifference' | 'reexpress'>;

/** Record as its device sees it: the server's image with some pending operations on top. */
export interface LocalRow {
  readonly fields: RowFields;
  /** Documents in base64 that the author may edit on. */
  readonly docs: Readonly<Record<FieldId, string>>;
  readonly deleted: boolean;
  /**
   * Author's own documents of text fields that the image holds in another history, in base64: `fields`
   * then shows both sides' text, and a further edit has to be a plain write of the field.
   */
  readonly sides: Readonly<Record<FieldId, string>>;
}

const nothing: Readonly<Record<FieldId, never>> = {};
// Edits made for the view never leave the device, so their actor need not be told from others.
const viewActor = new Uint8Array(16);

interface LocalEdit {
  readonly fields: Record<FieldId, Value>;
  readonly docs: Record<FieldId, string>;
  readonly sides: Record<FieldId, string>;
}

const put = (edit: LocalEdit, field: FieldId, value: Value): void => {
  if (value === null) delete edit.fields[field];
  else edit.fields[field] = value;
};

const textOf = (value: Value | undefined): string => (typeof value === 'string' ? value : '');

const bytesOf = (text: string | undefined): Uint8Array | undefined =>
  text === undefined ? undefined : fromBase64(text);

/** Shows an edit whose author works on another document than the image has. */
const showBeside = (
  edit: LocalEdit,
  field: FieldId,
  changes: Uint8Array,
  crdt: LocalCrdt,
): void => {
  const side = bytesOf(edit.sides[field]) ?? null;
  const found = crdt.textDifference(side, [changes]);
  if (found.tag !== 'difference') return;
  const document = bytesOf(edit.docs[field]);
  const shown = textOf(edit.fields[field]);
  if (document === undefined && side === null && found.before === shown) {
    edit.docs[field] = toBase64(found.side);
    put(edit, field, found.after);
    return;
  }
  edit.sides[field] = toBase64(found.side);
  // On the author's document the image's text is the other side; the result is only shown.
  const merged = crdt.reexpress(found.side, found.before, shown, viewActor, 0);
  put(edit, field, merged.value);
};

const applyEdit = (edit: LocalEdit, field: FieldId, changes: Uint8Array, crdt: LocalCrdt): void => {
  const document = bytesOf(edit.docs[field]);
  if (document === undefined || edit.sides[field] !== undefined) {
    showBeside(edit, field, changes, crdt);
    return;
  }
  const applied = crdt.apply(document, [changes]);
  if (applied.tag !== 'applied') {
    showBeside(edit, field, changes, crdt);
    return;
  }
  edit.docs[field] = toBase64(applied.document);
  put(edit, field, applied.value);
};

/** Shows a plain write to a text: the difference, where the image holds another text by now. */
const applyTextSet = (
  edit: LocalEdit,
  field: FieldId,
  before: Value,
  after: Value,
  crdt: LocalCrdt,
): void => {
  const document = bytesOf(edit.docs[field]);
  const same = equalValues(edit.fields[field] ?? null, before);
  if (same || document === undefined) put(edit, field, after);
  else
    put(edit, field, crdt.reexpress(document, textOf(before), textOf(after), viewActor, 0).value);
};

/** Runs one edit and leaves it out when the CRDT refuses it: its text or history has grown too large. */
const unlessRefused = (run: () => void): void => {
  try {
    run();
  } catch (cause) {
    if (!(cause instanceof TidemarkError)) throw cause;
  }
};

const applyParts = (
  table: SchemaTable,
  row: LocalRow,
  op: Operation,
  crdt: LocalCrdt | null,
): LocalRow => {
  const edit = { fields: { ...row.fields }, docs: row.docs, sides: row.sides } as LocalEdit;
  const texts = crdt !== null && (op.crdt.length > 0 || Object.keys(row.docs).length > 0);
  const own = texts ? { ...edit, docs: { ...row.docs }, sides: { ...row.sides } } : edit;
  for (const { field, before, after } of op.set) {
    if (texts && table.fieldsById.get(field)?.type === 'text')
      unlessRefused(() => applyTextSet(own, field, before, after, crdt));
    else put(own, field, after);
  }
  for (const { field, by } of op.inc) {
    const sum = Number(own.fields[field] ?? 0) + by;
    if (Number.isFinite(sum)) put(own, field, sum);
  }
  if (texts)
    for (const { field, changes } of op.crdt)
      unlessRefused(() => applyEdit(own, field, changes, crdt));
  return { ...own, deleted: false };
};

/**
 * Shows a pending operation on what its author's device holds. Pure and total: what cannot apply is left
 * out. `undefined` stands for no record. `crdt` may be null while no operation carries CRDT edits.
 *
 * An update of a deleted row brings it back in the view, unless the table says delete-wins.
 */
export const applyLocally = (
  table: SchemaTable,
  row: LocalRow | undefined,
  op: Operation,
  crdt: LocalCrdt | null,
): LocalRow | undefined => {
  switch (op.kind) {
    case 'create': {
      const alive = row !== undefined && !row.deleted;
      const start = alive ? row : { fields: {}, docs: nothing, sides: nothing, deleted: false };
      return applyParts(table, start, op, crdt);
    }
    case 'delete':
      return row === undefined ? undefined : { ...row, deleted: true };
    case 'update':
      if (row === undefined || (row.deleted && table.onDelete === 'delete-wins')) return row;
      return applyParts(table, row, op, crdt);
  }
};
