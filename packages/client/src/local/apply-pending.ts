import {
  fromBase64,
  toBase64,
  type FieldId,
  type Operation,
  type Row,
  type SchemaTable,
  type Value,
} from '@tidemark/model';
import type { FieldCrdt } from '@tidemark/ports';
import { appendRun, noRuns } from './op-runs.js';
import type { PendingView } from './pending-view.js';

/** What applying operations on one record needs. `sides` outlives one call: it is kept per record. */
export interface ApplyContext {
  readonly tenant: string;
  readonly user: string;
  readonly table: SchemaTable;
  /** Present when an operation carries text. */
  readonly crdt: FieldCrdt | null;
  readonly actor: Uint8Array;
  /** Author's own documents where the image has another history. */
  readonly sides: Map<FieldId, Uint8Array>;
}

/** Tells whether applying the operation needs the CRDT. */
export const needsCrdt = (table: SchemaTable, op: Operation): boolean =>
  op.crdt.length > 0 ||
  (op.kind !== 'delete' &&
    op.set.some(
      ({ field }) => table.fieldsById.get(field)?.type === 'text' && op.kind === 'update',
    ));

interface Draft {
  readonly fields: Record<FieldId, Value>;
  readonly docs: Record<FieldId, string>;
  readonly plain: Set<FieldId>;
}

const blankRow = (user: string, wallMs: number): Row => ({
  version: { incarnation: 0, n: 0 },
  born: '',
  modifiedOn: wallMs,
  modifiedBy: user,
  createdOn: wallMs,
  owner: user,
  fields: {},
  docs: {},
  editedAt: {},
});

const setField = (fields: Record<FieldId, Value>, field: FieldId, value: Value): void => {
  if (value === null) delete fields[field];
  else fields[field] = value;
};

const textOf = (value: Value | undefined): string => (typeof value === 'string' ? value : '');

const setPlainText = (draft: Draft, field: FieldId, value: Value): void => {
  setField(draft.fields, field, value);
  delete draft.docs[field];
  draft.plain.add(field);
};

/** Puts the author's difference on a text that has another history; the result is for display only. */
const putDifference = (
  draft: Draft,
  field: FieldId,
  before: string,
  after: string,
  context: ApplyContext,
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
  setPlainText(draft, field, crdt.reexpress(document, before, after, context.actor, 0).value);
};

const documentOf = (draft: Draft, field: FieldId): Uint8Array | undefined => {
  const text = draft.docs[field];
  return text === undefined ? undefined : fromBase64(text);
};

const applyChanges = (
  draft: Draft,
  field: FieldId,
  changes: Uint8Array,
  context: ApplyContext,
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
      setField(draft.fields, field, applied.value);
      return;
    }
  }
  const difference = crdt.textDifference(side, [changes]);
  // Changes that build on something this replica does not hold any more show again with the next image.
  if (difference.tag !== 'difference') return;
  sides.set(field, difference.side);
  if (!onPlain && document === undefined && difference.before === textOf(draft.fields[field])) {
    draft.docs[field] = toBase64(difference.side);
    setField(draft.fields, field, difference.after);
    return;
  }
  putDifference(draft, field, difference.before, difference.after, context, record);
};

/** Text that the author of an edit made, so that it need not be computed again. */
export type KnownTexts = ReadonlyMap<
  FieldId,
  { readonly document: Uint8Array; readonly value: string }
>;

const applyParts = (
  draft: Draft,
  op: Operation,
  context: ApplyContext,
  known: KnownTexts | undefined,
): void => {
  for (const { field, before, after } of op.set) {
    const isText = context.table.fieldsById.get(field)?.type === 'text';
    if (isText && op.kind === 'update')
      putDifference(draft, field, textOf(before), textOf(after), context, op.record);
    else setField(draft.fields, field, after);
  }
  for (const { field, by } of op.inc) {
    const current = draft.fields[field];
    draft.fields[field] = (typeof current === 'number' ? current : 0) + by;
  }
  for (const { field, changes } of op.crdt) {
    const text = known?.get(field);
    if (text === undefined) applyChanges(draft, field, changes, context, op.record);
    else {
      draft.docs[field] = toBase64(text.document);
      setField(draft.fields, field, text.value);
    }
  }
};

/**
 * Applies a pending operation to what its author sees. Total: what cannot apply is left out, and the
 * operation stays listed. An update of a record that is gone shows nothing until the server has decided.
 */
export const applyPending = (
  view: PendingView | null,
  op: Operation,
  index: number,
  wallMs: number,
  context: ApplyContext,
  known?: KnownTexts,
): PendingView => {
  const ops = appendRun(view?.ops ?? noRuns, index);
  const row = view?.row ?? blankRow(context.user, wallMs);
  const onImage = view?.onImage === true;
  const live = view !== null && !view.deleted;
  if (op.kind === 'delete' || (op.kind === 'update' && !live))
    return { onImage, deleted: true, ops, plain: view?.plain ?? [], row };
  const fresh = op.kind === 'create' && !live;
  const draft: Draft = {
    fields: fresh ? {} : { ...row.fields },
    docs: fresh ? {} : { ...row.docs },
    plain: new Set(fresh ? [] : view?.plain),
  };
  // A create over a live record of somebody else's: its texts have another history.
  if (op.kind === 'create' && !fresh)
    for (const { field } of op.set)
      if (draft.docs[field] !== undefined) setPlainText(draft, field, null);
  applyParts(draft, op, context, known);
  return {
    onImage,
    deleted: false,
    ops,
    plain: [...draft.plain],
    row: { ...row, fields: draft.fields, docs: draft.docs },
  };
};
