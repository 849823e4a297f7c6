import { isClean, isOtherLife, lostLife } from './clean-base.js';
import { existenceChoice, parkExistence, recordExistence } from './decide-existence.js';
import { commitRow, editRow, type Work } from './work.js';

const bury = (work: Work, rule: string): void => {
  const record = work.part.draft.record(work.op.table, work.op.record);
  if (record === undefined) return;
  commitRow(work, editRow(record, true), true);
  recordExistence(work, true, false, false, rule, 'applied');
};

/** Decides a delete: a record that others changed since the base goes through the table's delete rule. */
export const decideDelete = (work: Work): void => {
  const { op, part, table } = work;
  const { author } = part.context;
  const record = part.draft.record(op.table, op.record);
  if (record === undefined || record.deleted || isOtherLife(record, op, author, work.chain)) {
    const alive = record !== undefined && !record.deleted;
    if (alive && op.base === null && isOtherLife(record, op, author, work.chain))
      work.met = lostLife;
    recordExistence(work, alive, false, alive, 'same', 'same');
    return;
  }
  work.met = record.row.born;
  if (isClean(record, op, author, work.chain)) {
    bury(work, author.kind === 'server' ? 'server' : 'unchanged');
    return;
  }
  const choice = existenceChoice(work);
  if (choice === 'mine') bury(work, 'resolution');
  else if (choice === undefined && table.onDelete === 'delete-wins') bury(work, 'delete-wins');
  else if (choice === undefined && table.onDelete === 'manual')
    parkExistence(work, 'conflict', 'manual', record);
  else {
    const rule = choice === undefined ? 'edit-wins' : 'resolution';
    work.recordEnd = 'superseded';
    recordExistence(work, true, false, true, rule, 'superseded');
  }
};
