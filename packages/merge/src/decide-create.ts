import type { FieldId, Value } from '@tidemark/model';
import { ruleOfField } from '@tidemark/model';
import { existenceChoice, recordExistence } from './decide-existence.js';
import { decideParts, noteAllSuperseded } from './decide-parts.js';
import { commitRow, editRow, opIdAt, type RowEdit, type Work } from './work.js';

/** Row of a new life with the plain fields that the operation sets. */
const newRow = (work: Work): RowEdit => {
  const { context, draft } = work.part;
  const fields: Record<FieldId, Value> = {};
  const editedAt: Record<FieldId, number> = {};
  for (const { field: id, after } of work.op.set) {
    if (after === null) continue;
    fields[id] = after;
    const field = work.table.fieldsById.get(id);
    if (field !== undefined && ruleOfField(work.table, field) === 'latest-wins')
      editedAt[id] = work.time;
  }
  const opId = opIdAt(context.author, work.position);
  const earlier = draft.record(work.op.table, work.op.record);
  const record = {
    row: {
      version: context.version,
      born: opId,
      // A record that lived before never goes back in time.
      modifiedOn: earlier === undefined ? context.now - 1 : earlier.row.modifiedOn,
      modifiedBy: context.author.user,
      createdOn: context.now,
      owner: context.author.user,
      fields,
      docs: {},
      editedAt,
    },
    deleted: false,
    lastOp: opId,
    // Zero says that only this replica has touched this life of the record.
    chainFrom: 0,
  };
  return { record, clean: true, fields, docs: {}, editedAt, changed: true };
};

/** Begins a new life of the record: nothing, or a tombstone, was there. */
export const beginLife = (work: Work, rule: string): void => {
  const edit = newRow(work);
  decideParts(work, edit, 'values', []);
  commitRow(work, edit, false);
  recordExistence(work, false, true, true, rule, 'applied');
};

/** Decides a create: on a live record each differing field is a conflict with nothing before. */
export const decideCreate = (work: Work): void => {
  const { op, part } = work;
  const record = part.draft.record(op.table, op.record);
  if (record === undefined || record.deleted) {
    beginLife(work, part.context.author.kind === 'server' ? 'server' : 'create');
    return;
  }
  work.met = record.row.born;
  if (existenceChoice(work) === 'theirs') {
    work.recordEnd = 'superseded';
    noteAllSuperseded(work);
    recordExistence(work, true, true, true, 'resolution', 'superseded');
    return;
  }
  const edit = editRow(record, false);
  const set = op.set.filter(({ after }) => after !== null);
  decideParts(work, edit, 'nothing', set);
  if (edit.changed) commitRow(work, edit, false);
  const kept = work.fields.some(({ outcome }) => outcome === 'superseded');
  work.recordEnd = kept ? 'superseded' : 'same';
  recordExistence(work, true, true, true, 'same', 'same');
};
