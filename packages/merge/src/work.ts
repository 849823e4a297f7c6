import {
  printOpId,
  utf8Length,
  type FieldId,
  type Operation,
  type ResolutionChoice,
  type SchemaTable,
  type SyncErrorConflict,
  type SyncErrorKind,
  type Transaction,
  type Value,
} from '@tidemark/model';
import { isOwnOperation } from './clean-base.js';
import type {
  Author,
  ChainEnd,
  ChainState,
  FieldDecision,
  MergeContext,
  MergeRecord,
} from './decision.js';
import { recordKey, type Draft } from './draft.js';
import { compactDocuments, copyDocuments, documentsJsonLength } from './row-documents.js';

/** Why an operation cannot be decided without a person. */
export interface Trouble {
  readonly kind: SyncErrorKind;
  readonly message: string;
}

/** One part of a transaction under decision: what its operations have in common. */
export interface Part {
  readonly context: MergeContext;
  readonly transaction: Transaction;
  readonly draft: Draft;
  /** A person's choices by record key and field; empty unless the resolution is `merge`. */
  readonly choices: ReadonlyMap<string, ResolutionChoice>;
  /** CRDT edits that an earlier operation of the part applied already, by operation and field. */
  readonly crdtDone: Set<string>;
  /** Positions (from 0) of the operations of the part in the transaction. */
  readonly positions: readonly number[];
}

/** One operation under decision: its facts, and what was found so far. */
export interface Work {
  readonly part: Part;
  readonly op: Operation;
  readonly position: number;
  readonly index: number;
  readonly table: SchemaTable;
  /** Chain state that still bears on the operation. */
  readonly chain: ChainState | undefined;
  /** Corrected time for latest-wins, ms. */
  readonly time: number;
  readonly fields: FieldDecision[];
  readonly conflicts: SyncErrorConflict[];
  readonly ends: Map<FieldId, { readonly before: Value; readonly end: ChainEnd | null }>;
  recordEnd: ChainEnd | null;
  /** Birth of the record that the operation met, if it is of that life. */
  met: string | null;
  trouble: Trouble | null;
}

/** Index in the replica's log of the operation at a position of the transaction. */
export const indexAt = (author: Author, position: number): number =>
  author.indexes?.[position] ?? author.firstIndex + position;

/** OpId text of the operation at a position of the transaction. */
export const opIdAt = (author: Author, position: number): string =>
  author.ids?.[position] ??
  printOpId({ replica: author.replica, epoch: author.epoch, index: indexAt(author, position) });

/** Person's choice for a field of the operation's record; field 0 is the record's existence. */
export const choiceFor = (work: Work, field: FieldId | 0): ResolutionChoice | undefined =>
  work.part.choices.size === 0
    ? undefined
    : work.part.choices.get(`${recordKey(work.op.table, work.op.record)}/${field}`);

/** Notes the first trouble of an operation; later ones add their conflicts only. */
export const noteTrouble = (work: Work, kind: SyncErrorKind, message: string): void => {
  work.trouble ??= { kind, message };
};

/** Notes a conflict that no rule may decide. */
export const noteConflict = (
  work: Work,
  kind: SyncErrorKind,
  message: string,
  conflict: Pick<SyncErrorConflict, 'field' | 'base' | 'ours' | 'rule'>,
): void => {
  noteTrouble(work, kind, message);
  work.conflicts.push({
    op: work.index,
    table: work.op.table,
    record: work.op.record,
    ...conflict,
  });
};

/** Notes how a field fared for the chain: superseded and same bind later operations, others free them. */
export const noteEnd = (work: Work, field: FieldId, before: Value, end: ChainEnd | null): void => {
  // The first value before may be null: it holds all the same.
  const first = work.chain?.fields[field];
  work.ends.set(field, { before: first === undefined ? before : first.before, end });
};

/** Name of a field for messages: `table.field`, never a value. */
export const fieldName = (table: SchemaTable, field: FieldId): string =>
  `${table.name}.${table.fieldsById.get(field)?.name ?? field}`;

/** Fields, documents and times of a record while an operation changes them. */
export interface RowEdit {
  readonly record: MergeRecord;
  /** True when nobody but the author changed the record since the operation's base. */
  readonly clean: boolean;
  readonly fields: Record<FieldId, Value>;
  docs: Record<FieldId, string>;
  readonly editedAt: Record<FieldId, number>;
  changed: boolean;
}

/** Begins to change a record. */
export const editRow = (record: MergeRecord, clean: boolean): RowEdit => ({
  record,
  clean,
  fields: { ...record.row.fields },
  docs: copyDocuments(record.row.docs),
  editedAt: { ...record.row.editedAt },
  changed: false,
});

/** Sets a field of the edited row; null removes it. */
export const setValue = (edit: RowEdit, field: FieldId, value: Value): void => {
  if (value === null) delete edit.fields[field];
  else edit.fields[field] = value;
  edit.changed = true;
};

/**
 * Greatest size of a record in bytes of its encoded fields and documents, saved anew; a greater one is
 * `invalid`. A row travels in one message, so it must fit with room to spare.
 */
export const mergedRecordBytesMax = 900_000;
/** Most bytes that one UTF-16 unit takes in JSON: an escaped control character. */
const bytesPerUnitMax = 6;
const bytesPerFieldMax = 64;

const isTooLarge = (edit: Pick<RowEdit, 'fields' | 'docs'>): boolean => {
  const documents = documentsJsonLength(edit.docs);
  let bytes = bytesPerFieldMax + documents;
  for (const value of Object.values(edit.fields)) {
    bytes += bytesPerFieldMax + (typeof value === 'string' ? value.length * bytesPerUnitMax : 0);
  }
  // Nearly every record is far below the bound: only near it the exact size is worth computing.
  if (bytes <= mergedRecordBytesMax) return false;
  // As `JSON.stringify([fields, docs])` has it.
  const fields = utf8Length(JSON.stringify(edit.fields));
  return 1 + fields + 1 + documents + 1 > mergedRecordBytesMax;
};

/** Tells whether an edited row fits, if need be once its documents are saved anew. */
const fits = (work: Work, edit: RowEdit): boolean => {
  if (!isTooLarge(edit)) return true;
  if (Object.keys(edit.docs).length === 0) return false;
  edit.docs = compactDocuments(work.part.context.crdt, edit.docs);
  return !isTooLarge(edit);
};

/** Puts the edited row into the draft as a new version of the record. */
export const commitRow = (work: Work, edit: RowEdit, deleted: boolean): void => {
  const { context, draft } = work.part;
  const { record } = edit;
  if (!fits(work, edit)) {
    noteTrouble(work, 'invalid', `${work.table.name}: the record would be too large`);
    return;
  }
  const own = isOwnOperation(context.author, record.lastOp);
  const { incarnation, n } = record.row.version;
  const known = own && (record.chainFrom === 0 || incarnation === context.version.incarnation);
  const since = incarnation === context.version.incarnation ? n : context.version.n - 1;
  const again = draft.wrote(work.op.table, work.op.record);
  draft.write(work.op.table, work.op.record, {
    row: {
      ...record.row,
      version: context.version,
      modifiedOn: again ? record.row.modifiedOn : Math.max(context.now, record.row.modifiedOn + 1),
      modifiedBy: context.author.user,
      fields: edit.fields,
      docs: edit.docs,
      editedAt: edit.editedAt,
    },
    deleted,
    lastOp: opIdAt(context.author, work.position),
    chainFrom: known ? record.chainFrom : since,
  });
};
