import {
  checkValue,
  equalValues,
  ruleOfField,
  type FieldChange,
  type FieldDefinition,
  type FieldId,
  type Outcome,
  type Value,
} from '@tidemark/model';
import { editedAtOf } from './times.js';
import {
  choiceFor,
  fieldName,
  noteConflict,
  noteEnd,
  noteTrouble,
  setValue,
  type RowEdit,
  type Work,
} from './work.js';

/** How one field was judged, before anything is written. */
export interface Judgement {
  readonly outcome: Extract<Outcome, 'applied' | 'same' | 'superseded' | 'parked'>;
  readonly rule: string;
  /** Value of the server that the author started from: the chain's first before, where there is one. */
  readonly base: Value;
  /** Value to write when applied: the author's, or a person's new one. */
  readonly value: Value;
}

const byTime = (work: Work, edit: RowEdit, field: FieldId): Pick<Judgement, 'outcome' | 'rule'> => {
  const theirs = editedAtOf(edit.editedAt, field, edit.record.row.modifiedOn);
  if (work.time === theirs) return { outcome: 'parked', rule: 'equal-times' };
  return { outcome: work.time > theirs ? 'applied' : 'superseded', rule: 'latest-wins' };
};

const byRule = (
  work: Work,
  edit: RowEdit,
  field: FieldDefinition,
): Pick<Judgement, 'outcome' | 'rule'> => {
  const rule = ruleOfField(work.table, field);
  switch (rule) {
    case 'server-wins':
      return { outcome: 'superseded', rule };
    case 'device-wins':
      return { outcome: 'applied', rule };
    case 'device-wins-full':
      return {
        outcome: 'applied',
        rule: work.op.row === null ? 'device-wins (no row)' : rule,
      };
    case 'latest-wins':
      return byTime(work, edit, field.id);
    case 'manual':
      return { outcome: 'parked', rule };
  }
};

/** Applies a person's choice for a field; undefined when there is none. */
export const byChoice = (
  work: Work,
  field: FieldDefinition,
  base: Value,
  ours: Value,
): Judgement | undefined => {
  const choice = choiceFor(work, field.id);
  if (choice === undefined) return undefined;
  const rule = 'resolution';
  if (choice.pick === 'theirs') return { outcome: 'superseded', rule, base, value: ours };
  const value = choice.pick === 'value' ? (choice.value ?? null) : ours;
  const problem = checkValue(work.table, field, value);
  if (problem === undefined) return { outcome: 'applied', rule, base, value };
  noteTrouble(work, 'invalid', problem.message);
  return { outcome: 'parked', rule: problem.code, base, value: ours };
};

/**
 * What the author started from: the values before that the operation carries; nothing at all (a create:
 * only an absent value equals that); or something unknown (a foreign row without shadow: no value does).
 */
export type Start = 'values' | 'nothing' | 'unknown';

/** Judges a change of one field against what the server holds. */
export const judge = (
  work: Work,
  edit: RowEdit,
  field: FieldDefinition,
  change: FieldChange,
  start: Start,
): Judgement => {
  const { before, after } = change;
  const server = edit.fields[field.id] ?? null;
  if (work.part.context.author.kind === 'server')
    return { outcome: 'applied', rule: 'server', base: server, value: after };
  const entry = work.chain?.fields[field.id];
  const base = entry === undefined ? before : entry.before;
  const chosen = byChoice(work, field, base, after);
  if (chosen !== undefined) return chosen;
  if (start === 'values' && equalValues(before, after))
    return { outcome: 'same', rule: 'no-change', base, value: after };
  // A predecessor that did not reach the server counts as theirs: only equal values spare the conflict.
  if (start !== 'unknown' && entry === undefined && equalValues(server, base))
    return { outcome: 'applied', rule: 'unchanged', base, value: after };
  if (equalValues(server, after)) return { outcome: 'same', rule: 'same', base, value: after };
  if (entry?.end === 'superseded' && ruleOfField(work.table, field) === 'latest-wins')
    return { outcome: 'superseded', rule: 'chain', base, value: after };
  return { ...byRule(work, edit, field), base, value: after };
};

/** Raises the edit time of a latest-wins field; a rise is a change of the record. */
const noteTime = (work: Work, edit: RowEdit, field: FieldDefinition, seen: boolean): void => {
  if (ruleOfField(work.table, field) !== 'latest-wins') return;
  const old = edit.editedAt[field.id];
  const time = seen && old !== undefined ? Math.max(work.time, old + 1) : work.time;
  if (old === undefined || time > old) {
    edit.editedAt[field.id] = time;
    edit.changed = true;
  }
};

/** Carries out a judgement: writes, notes the conflict or the chain, and records the field's decision. */
export const settle = (
  work: Work,
  edit: RowEdit,
  field: FieldDefinition,
  judged: Judgement,
): void => {
  const theirs = edit.fields[field.id] ?? null;
  const { outcome, rule, base, value } = judged;
  switch (outcome) {
    case 'applied':
      setValue(edit, field.id, value);
      noteTime(work, edit, field, rule === 'unchanged' || rule === 'server');
      noteEnd(work, field.id, base, null);
      break;
    case 'same':
      // The later of two equal edits counts, or the order of arrival would decide a third one.
      if (rule === 'same') {
        noteTime(work, edit, field, false);
        noteEnd(work, field.id, base, 'same');
      }
      break;
    case 'superseded':
      noteEnd(work, field.id, base, 'superseded');
      break;
    case 'parked':
      noteConflict(work, 'conflict', `${fieldName(work.table, field.id)}: both sides changed it`, {
        field: field.id,
        base,
        ours: value,
        rule,
      });
  }
  const result = outcome === 'applied' ? value : theirs;
  work.fields.push({ field: field.id, base, theirs, ours: value, result, rule, outcome });
};
