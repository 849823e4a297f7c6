import { checkOperation, type FieldChange } from '@tidemark/model';
import { isClean, isOtherLife, lostLife } from './clean-base.js';
import type { MergeRecord } from './decision.js';
import { beginLife } from './decide-create.js';
import { existenceChoice, parkExistence, recordExistence } from './decide-existence.js';
import { decideParts, noteAllSuperseded } from './decide-parts.js';
import { keepSides } from './decide-text.js';
import { commitRow, editRow, noteTrouble, type Work } from './work.js';

const supersede = (work: Work, record: MergeRecord | undefined, rule: string): void => {
  const alive = record !== undefined && !record.deleted;
  work.recordEnd = 'superseded';
  noteAllSuperseded(work);
  keepSides(work, record);
  recordExistence(work, alive, true, alive, rule, 'superseded');
};

/** Makes the record anew from what the operation knows of it; a person asked for that. */
const recreate = (work: Work): void => {
  const set: FieldChange[] = work.op.set.map((change) => ({ ...change, before: null }));
  for (const { field, value } of work.op.row ?? [])
    if (!set.some((change) => change.field === field))
      set.push({ field, before: null, after: value });
  const op = { ...work.op, kind: 'create', set } as const;
  const problem = checkOperation(work.part.context.schema, op);
  if (problem !== undefined) {
    noteTrouble(work, 'invalid', problem.message);
    return;
  }
  const anew: Work = { ...work, op };
  beginLife(anew, 'resolution');
  if (anew.trouble !== null) noteTrouble(work, anew.trouble.kind, anew.trouble.message);
};

const applyTo = (work: Work, record: MergeRecord, clean: boolean): void => {
  const { author } = work.part.context;
  const edit = editRow(record, clean);
  const unknown = author.kind === 'backend' && work.op.base === null;
  decideParts(work, edit, unknown ? 'unknown' : 'values');
  if (edit.changed || record.deleted) commitRow(work, edit, false);
};

/** The record that the author edited is gone, and nothing of that life is left to restore. */
const meetNothing = (work: Work, record: MergeRecord | undefined): void => {
  const choice = existenceChoice(work);
  const alive = record !== undefined && !record.deleted;
  if (choice === 'theirs') supersede(work, record, 'resolution');
  else if (choice === 'mine' && alive) applyTo(work, record, false);
  else if (choice === 'mine') recreate(work);
  else if (record !== undefined && work.table.onDelete === 'delete-wins')
    supersede(work, record, 'delete-wins');
  else parkExistence(work, 'gone', 'gone', record);
};

/** The record was deleted, and its tombstone still holds the row: the table's delete rule decides. */
const meetTombstone = (work: Work, record: MergeRecord): void => {
  const choice = existenceChoice(work);
  const restores =
    choice === 'mine' || (choice === undefined && work.table.onDelete === 'edit-wins');
  if (restores) {
    applyTo(work, record, false);
    const rule = choice === undefined ? 'edit-wins' : 'resolution';
    recordExistence(work, false, true, true, rule, 'applied');
  } else if (choice === undefined && work.table.onDelete === 'manual')
    parkExistence(work, 'conflict', 'manual', record);
  else supersede(work, record, choice === undefined ? 'delete-wins' : 'resolution');
};

/** Decides an update: first whether its record still lives, then field by field. */
export const decideUpdate = (work: Work): void => {
  const { op, part } = work;
  const { author } = part.context;
  const record = part.draft.record(op.table, op.record);
  if (record === undefined || isOtherLife(record, op, author, work.chain)) {
    if (record !== undefined && op.base === null) work.met = lostLife;
    meetNothing(work, record);
    return;
  }
  work.met = record.row.born;
  if (record.deleted) meetTombstone(work, record);
  else applyTo(work, record, isClean(record, op, author, work.chain));
};
