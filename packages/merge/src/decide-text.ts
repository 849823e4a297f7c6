import {
  checkValue,
  TidemarkError,
  type FieldChange,
  type FieldDefinition,
  type FieldId,
  type Operation,
  type Outcome,
  type SchemaTable,
} from '@tidemark/model';
import { judge, settle, type Start } from './decide-field.js';
import type { MergeRecord } from './decision.js';
import { documentIn, putDocument } from './row-documents.js';
import {
  choiceFor,
  fieldName,
  noteConflict,
  noteEnd,
  noteTrouble,
  setValue,
  type Part,
  type RowEdit,
  type Work,
} from './work.js';

type Placed =
  | {
      readonly tag: 'placed';
      readonly document: Uint8Array;
      readonly value: string;
      readonly combined: boolean;
      /** Author's own document to keep; null: drop it; undefined: leave it as it is. */
      readonly side?: Uint8Array | null;
    }
  | { readonly tag: 'missing' }
  | { readonly tag: 'undecodable' };

const textOf = (edit: RowEdit, field: FieldId): string => {
  const value = edit.fields[field];
  return typeof value === 'string' ? value : '';
};

type Documents = Pick<RowEdit, 'docs'>;

/** Document of a field in the edited row; undefined while the field is a plain value. */
const documentOf = (work: Work, edit: Documents, field: FieldId): Uint8Array | undefined =>
  documentIn(work.part.context.crdt, edit.docs, field);

const genesisOf = (work: Work, field: FieldId, value: string): Uint8Array => {
  const { context } = work.part;
  const { table, record } = work.op;
  return context.crdt.genesis({ tenant: context.tenant, table, record, field }, value);
};

/** Runs an edit that the CRDT refuses when a text or its history grows too large: then `invalid`. */
const withinLimits = <A>(work: Work, field: FieldId, run: () => A): A | undefined => {
  try {
    return run();
  } catch (cause) {
    if (!(cause instanceof TidemarkError)) throw cause;
    noteTrouble(work, 'invalid', `${fieldName(work.table, field)}: ${cause.code}`);
    return undefined;
  }
};

/** Edits of the field by this operation and by those that follow it on the same document, in one run. */
const changesFrom = (work: Work, field: FieldId): Uint8Array[] => {
  const { positions, transaction, crdtDone } = work.part;
  const runs: Uint8Array[] = [];
  for (const position of positions) {
    const op = transaction.ops[position];
    if (op === undefined || position < work.position) continue;
    if (op.table !== work.op.table || op.record !== work.op.record) continue;
    if (position > work.position) {
      if (op.kind !== 'update' || op.set.some((change) => change.field === field)) break;
    }
    for (const { field: id, changes } of op.crdt) {
      if (id !== field) continue;
      runs.push(changes);
      crdtDone.add(`${position}/${field}`);
    }
  }
  return runs;
};

/** Puts the author's text difference on a document with another history; its own document is kept. */
const reexpressed = (
  work: Work,
  field: FieldId,
  document: Uint8Array,
  runs: readonly Uint8Array[],
): Placed => {
  const { crdt, mergerActor, now } = work.part.context;
  const side = work.part.draft.side(work.op.table, work.op.record, field);
  let found = crdt.textDifference(side ?? null, runs);
  if (found.tag === 'other-genesis' && side !== undefined) found = crdt.textDifference(null, runs);
  if (found.tag === 'undecodable') return { tag: 'undecodable' };
  if (found.tag !== 'difference') return { tag: 'missing' };
  const edit = crdt.reexpress(document, found.before, found.after, mergerActor, now);
  const { document: merged, value } = edit;
  return { tag: 'placed', document: merged, value, combined: true, side: found.side };
};

const onDocument = (
  work: Work,
  field: FieldId,
  document: Uint8Array,
  runs: readonly Uint8Array[],
): Placed => {
  // More edits of the same message mostly follow: what is stored of them is made behind the last one.
  const applied = work.part.context.crdt.append(document, runs);
  if (applied.tag === 'undecodable') return { tag: 'undecodable' };
  if (applied.tag !== 'applied') return reexpressed(work, field, document, runs);
  const { document: merged, value } = applied;
  const side = work.part.draft.side(work.op.table, work.op.record, field);
  // The author works on the server's document again: its own one has served.
  const drop = side === undefined ? {} : { side: null };
  return { tag: 'placed', document: merged, value, combined: false, ...drop };
};

/** The server has a plain value: adopt the author's document, then bring the server's value in. */
const onPlainValue = (
  work: Work,
  field: FieldId,
  server: string,
  runs: readonly Uint8Array[],
): Placed => {
  const { crdt, mergerActor, now } = work.part.context;
  const authors = crdt.apply(null, runs);
  if (authors.tag === 'undecodable') return { tag: 'undecodable' };
  if (authors.tag !== 'applied') {
    // Without a genesis the edits can only stand on the server's own, or on the author's side document.
    return onDocument(work, field, genesisOf(work, field, server), runs);
  }
  const found = crdt.textDifference(null, runs);
  if (found.tag !== 'difference' || found.before === server)
    return { tag: 'placed', document: authors.document, value: authors.value, combined: false };
  const theirs = crdt.editText(genesisOf(work, field, found.before), server, mergerActor, now);
  const merged = crdt.apply(theirs.document, runs);
  if (merged.tag === 'applied')
    return { tag: 'placed', document: merged.document, value: merged.value, combined: true };
  const put = crdt.reexpress(authors.document, found.before, server, mergerActor, now);
  return { tag: 'placed', document: put.document, value: put.value, combined: true };
};

const writeText = (
  work: Work,
  edit: RowEdit,
  field: FieldDefinition,
  document: Uint8Array | undefined,
  value: string,
): void => {
  const problem = checkValue(work.table, field, value);
  if (problem !== undefined) noteTrouble(work, 'invalid', problem.message);
  setValue(edit, field.id, value);
  if (document !== undefined) putDocument(edit.docs, field.id, document);
};

/** Keeps the document of an author whose edits are dropped, so that its later edits still fit somewhere. */
const keepSide = (
  work: Work,
  field: FieldId,
  edit: Documents,
  runs: readonly Uint8Array[],
): void => {
  const { crdt } = work.part.context;
  const { draft } = work.part;
  const { table, record } = work.op;
  // The edits stand on what the author had last, on the server's document, or bring one of their own.
  const starts = [draft.side(table, record, field), documentOf(work, edit, field), null];
  for (const start of starts) {
    const found = start === undefined ? undefined : crdt.textDifference(start, runs);
    if (found?.tag !== 'difference') continue;
    draft.setSide(table, record, field, found.side);
    return;
  }
};

/**
 * Drops the documents kept beside for an author who has nothing undecided on the record: its next edits
 * stand on what the server has.
 */
export const dropSides = (part: Part, table: SchemaTable, op: Operation): void => {
  if (op.prev > 0) return;
  for (const { id, type } of table.fields)
    if (type === 'text' && part.draft.side(op.table, op.record, id) !== undefined)
      part.draft.setSide(op.table, op.record, id, null);
};

/** Keeps the author's documents of all CRDT edits of an operation that is dropped, whatever is there. */
export const keepSides = (work: Work, record: MergeRecord | undefined): void => {
  const docs = record?.row.docs ?? {};
  for (const { field } of work.op.crdt) {
    if (work.part.crdtDone.has(`${work.position}/${field}`)) continue;
    if (work.table.fieldsById.get(field)?.type !== 'text') continue;
    keepSide(work, field, { docs }, changesFrom(work, field));
  }
};

/** Decides the CRDT edits of one field: they combine with whatever the server holds. */
export const decideCrdtEdit = (work: Work, edit: RowEdit, field: FieldDefinition): void => {
  const { draft, crdtDone } = work.part;
  const theirs = edit.fields[field.id] ?? null;
  const record = (outcome: Outcome, rule: string, result = edit.fields[field.id] ?? null): void => {
    work.fields.push({ field: field.id, base: null, theirs, ours: null, result, rule, outcome });
  };
  if (crdtDone.has(`${work.position}/${field.id}`)) {
    record(edit.clean ? 'applied' : 'combined', 'crdt');
    return;
  }
  const runs = changesFrom(work, field.id);
  const choice = choiceFor(work, field.id);
  if (choice?.pick === 'theirs') {
    keepSide(work, field.id, edit, runs);
    record('superseded', 'resolution');
    return;
  }
  if (choice?.pick === 'value') {
    keepSide(work, field.id, edit, runs);
    const value = typeof choice.value === 'string' ? choice.value : '';
    writeDifference(work, edit, field, textOf(edit, field.id), value);
    record('applied', 'resolution');
    return;
  }
  const document = documentOf(work, edit, field.id);
  const placed = withinLimits(work, field.id, () =>
    document === undefined
      ? onPlainValue(work, field.id, textOf(edit, field.id), runs)
      : onDocument(work, field.id, document, runs),
  );
  if (placed === undefined) return;
  if (placed.tag !== 'placed') {
    const kind = placed.tag === 'missing' ? 'missing-reference' : 'poison';
    const rule = placed.tag === 'missing' ? 'missing-dependencies' : 'undecodable';
    const message =
      placed.tag === 'missing'
        ? 'the edit builds on an edit that did not arrive'
        : 'the edit cannot be read';
    const conflict = { field: field.id, base: null, ours: null, rule };
    noteConflict(work, kind, `${fieldName(work.table, field.id)}: ${message}`, conflict);
    record('parked', rule);
    return;
  }
  if (placed.side !== undefined)
    draft.setSide(work.op.table, work.op.record, field.id, placed.side);
  writeText(work, edit, field, placed.document, placed.value);
  record(placed.combined || !edit.clean ? 'combined' : 'applied', 'crdt');
};

/** Puts a text difference on what the server holds: plainly while nobody else changed a plain value. */
const writeDifference = (
  work: Work,
  edit: RowEdit,
  field: FieldDefinition,
  before: string,
  after: string,
): void => {
  const { crdt, mergerActor, now } = work.part.context;
  const server = textOf(edit, field.id);
  const document = documentOf(work, edit, field.id);
  if (document === undefined && server === before) {
    writeText(work, edit, field, undefined, after);
    return;
  }
  const result = withinLimits(work, field.id, () => {
    const target = document ?? genesisOf(work, field.id, server);
    return server === before
      ? crdt.editText(target, after, mergerActor, now)
      : crdt.reexpress(target, before, after, mergerActor, now);
  });
  if (result !== undefined) writeText(work, edit, field, result.document, result.value);
};

/**
 * Decides a plain write to a text field: the author's difference is put on the server's text.
 *
 * Where the author had no text before (a create, a foreign row without shadow) there is no difference:
 * the field is judged like any other, and only the writing keeps the document.
 */
export const decideTextSet = (
  work: Work,
  edit: RowEdit,
  field: FieldDefinition,
  change: FieldChange,
  start: Start,
): void => {
  const theirs = edit.fields[field.id] ?? null;
  const server = textOf(edit, field.id);
  const before = typeof change.before === 'string' ? change.before : '';
  const after = typeof change.after === 'string' ? change.after : '';
  const chosen = choiceFor(work, field.id) !== undefined;
  if (start !== 'values' || chosen || work.part.context.author.kind === 'server') {
    const judged = judge(work, edit, field, change, start);
    settle(work, edit, field, judged);
    if (judged.outcome !== 'applied') return;
    const value = typeof judged.value === 'string' ? judged.value : '';
    // The judgement has set the plain value; a document has to follow it by an edit of its own.
    setValue(edit, field.id, theirs);
    writeDifference(work, edit, field, server, value);
    return;
  }
  if (before === after || after === server) {
    const rule = before === after ? 'no-change' : 'same';
    const entry = { field: field.id, base: change.before, theirs, ours: change.after };
    work.fields.push({ ...entry, result: theirs, rule, outcome: 'same' });
    return;
  }
  writeDifference(work, edit, field, before, after);
  noteEnd(work, field.id, change.before, null);
  work.fields.push({
    field: field.id,
    base: change.before,
    theirs,
    ours: change.after,
    result: edit.fields[field.id] ?? null,
    rule: server === before ? 'unchanged' : 'text',
    outcome: server === before ? 'applied' : 'combined',
  });
};
