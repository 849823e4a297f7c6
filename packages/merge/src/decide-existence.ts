import type { FieldDecision, MergeRecord } from './decision.js';
import { choiceFor, noteConflict, type Work } from './work.js';

/** Records the decision on the existence of a record: field 0, true when it lives. */
export const recordExistence = (
  work: Work,
  theirs: boolean,
  ours: boolean,
  result: boolean,
  rule: string,
  outcome: FieldDecision['outcome'],
): void => {
  const base = work.op.base !== null || work.op.prev > 0;
  work.fields.push({ field: 0, base, theirs, ours, result, rule, outcome });
};

/** Person's choice on the existence of the record: whether the operation's intent holds. */
export const existenceChoice = (work: Work): 'mine' | 'theirs' | undefined => {
  const choice = choiceFor(work, 0);
  if (choice === undefined) return undefined;
  if (choice.pick !== 'value') return choice.pick;
  return (choice.value === true) === (work.op.kind !== 'delete') ? 'mine' : 'theirs';
};

/** Parks an operation whose record's existence no rule decides. */
export const parkExistence = (
  work: Work,
  kind: 'gone' | 'conflict',
  rule: string,
  record: MergeRecord | undefined,
): void => {
  const ours = work.op.kind !== 'delete';
  const message = ours ? 'the record was deleted' : 'the record was changed since';
  noteConflict(work, kind, `${work.table.name}: ${message}`, { field: 0, base: true, ours, rule });
  const alive = record !== undefined && !record.deleted;
  recordExistence(work, alive, ours, alive, rule, 'parked');
};
