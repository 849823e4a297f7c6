import {
  checkValue,
  equalValues,
  invariant,
  type FieldChange,
  type FieldDefinition,
  type FieldId,
} from '@tidemark/model';
import { judge, settle, type Start } from './decide-field.js';
import { decideCrdtEdit, decideTextSet } from './decide-text.js';
import {
  choiceFor,
  fieldName,
  noteEnd,
  noteTrouble,
  setValue,
  type RowEdit,
  type Work,
} from './work.js';

const definitionOf = (work: Work, id: FieldId): FieldDefinition => {
  const field = work.table.fieldsById.get(id);
  invariant(field !== undefined, 'checked operations name known fields');
  return field;
};

/** Writes the author's whole row over a record that others changed: table rule device-wins-full. */
const writeWholeRow = (work: Work, edit: RowEdit): void => {
  for (const { field: id, value } of work.op.row ?? []) {
    const field = definitionOf(work, id);
    // A field with a rule of its own is judged by it, and only when the author changed it.
    if (field.rule !== undefined || field.type === 'counter' || field.type === 'text') continue;
    if (work.op.set.some((change) => change.field === id)) continue;
    if (choiceFor(work, id)?.pick === 'theirs') continue;
    const theirs = edit.fields[id] ?? null;
    if (equalValues(theirs, value)) continue;
    setValue(edit, id, value);
    const rule = 'device-wins-full';
    const entry = { field: id, base: null, theirs, ours: value, result: value };
    work.fields.push({ ...entry, rule, outcome: 'applied' });
  }
};

const addIncrements = (work: Work, edit: RowEdit): void => {
  for (const { field: id, by } of work.op.inc) {
    const field = definitionOf(work, id);
    const theirs = edit.fields[id] ?? null;
    const sum = (typeof theirs === 'number' ? theirs : 0) + by;
    const keeps = choiceFor(work, id)?.pick === 'theirs';
    if (!keeps && checkValue(work.table, field, sum) !== undefined)
      noteTrouble(work, 'invalid', `${fieldName(work.table, id)}: the counter would overflow`);
    else if (!keeps) setValue(edit, id, sum);
    work.fields.push({
      field: id,
      base: null,
      theirs,
      ours: by,
      result: edit.fields[id] ?? null,
      rule: keeps ? 'resolution' : 'counter',
      outcome: keeps ? 'superseded' : edit.clean ? 'applied' : 'combined',
    });
  }
};

/**
 * Decides everything that an operation changes in a live record: whole row, fields, counters, CRDT edits.
 *
 * `set` is the operation's own list, or what is left of it.
 */
export const decideParts = (
  work: Work,
  edit: RowEdit,
  start: Start,
  set: readonly FieldChange[] = work.op.set,
): void => {
  const full = work.table.rule === 'device-wins-full' && !edit.clean;
  if (full) writeWholeRow(work, edit);
  for (const change of set) {
    const field = definitionOf(work, change.field);
    if (field.type === 'text') decideTextSet(work, edit, field, change, start);
    else settle(work, edit, field, judge(work, edit, field, change, start));
  }
  addIncrements(work, edit);
  for (const { field: id } of work.op.crdt) decideCrdtEdit(work, edit, definitionOf(work, id));
};

/** Notes for the chain that no field which the operation sets reached the server. */
export const noteAllSuperseded = (work: Work): void => {
  for (const { field, before } of work.op.set) noteEnd(work, field, before, 'superseded');
};
