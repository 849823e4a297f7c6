import {
  isCanonicalValue,
  resolutionActions,
  type Customization,
  type ResolutionAction,
  type Value,
} from '@tidemark/model';
import type { Command } from 'commander';
import { collected, type Call } from './call.js';
import { UsageError } from './failure.js';
import { valueFromText } from './rows/value-text.js';

/** What both lists of sync errors, the server's and the device's, show of a conflict. */
export interface ShownConflict {
  readonly table: string;
  readonly record: string;
  readonly field: string | null;
  readonly base: Value;
  readonly ours: Value;
  readonly theirs: Value;
  readonly rule: string;
}

/** A person's choice for one conflict. */
export interface Choice {
  readonly table: string;
  readonly record: string;
  readonly field: string | null;
  readonly pick: 'mine' | 'theirs' | 'value';
  readonly value?: Value;
}

/** Word for the conflict on whether a record lives. */
const recordWord = 'record';

const valueOf = (customization: Customization, conflict: ShownConflict, text: string): Value => {
  const table = customization.tables.find(({ name }) => name === conflict.table);
  const field = table?.fields.find(({ name }) => name === conflict.field);
  if (field === undefined) throw new UsageError('--value is for fields: choose mine or theirs');
  if (text === '') return null;
  const value = valueFromText(field, text);
  if (isCanonicalValue(field.type, value)) return value;
  throw new UsageError(`--value ${field.name}: expected a ${field.type}`);
};

const choiceOf = (
  conflict: ShownConflict,
  call: Call,
  customization: Customization,
  all: 'mine' | 'theirs' | undefined,
): Choice => {
  const { table, record, field } = conflict;
  const name = field ?? recordWord;
  const text = call.pairs('value').get(name);
  if (text !== undefined)
    return { table, record, field, pick: 'value', value: valueOf(customization, conflict, text) };
  const word = call.pairs('choose').get(name) ?? all;
  if (word !== 'mine' && word !== 'theirs')
    throw new UsageError(
      `${table} ${record} ${name}: no choice was made`,
      `Give --pick mine|theirs, --choose ${name}=mine|theirs or --value ${name}=<value>.`,
    );
  return { table, record, field, pick: word };
};

/** Action and choices that the options of a call name. Throws UsageError. */
export const resolutionOf = (
  call: Call,
  conflicts: readonly ShownConflict[],
  customization: Customization,
): { readonly action: ResolutionAction; readonly choices?: readonly Choice[] } => {
  const action = call.choice('action', resolutionActions);
  if (action === undefined)
    throw new UsageError('no action was given', `Give --action ${resolutionActions.join('|')}.`);
  if (action !== 'merge') return { action };
  const all = call.choice('pick', ['mine', 'theirs'] as const);
  const names = new Set(conflicts.map(({ field }) => field ?? recordWord));
  for (const name of [...call.pairs('choose').keys(), ...call.pairs('value').keys()])
    if (!names.has(name)) throw new UsageError(`there is no conflict on ${name}`);
  return {
    action,
    choices: conflicts.map((conflict) => choiceOf(conflict, call, customization, all)),
  };
};

/** Adds the options that `resolutionOf` reads. */
export const addResolutionOptions = (command: Command): Command =>
  command
    .option('--action <action>', resolutionActions.join(', '))
    .option('--pick <side>', 'for merge: mine or theirs, for all conflicts not named otherwise')
    .option(
      '--choose <field=side>',
      'for merge: mine or theirs for one field; may be repeated',
      collected,
    )
    .option(
      '--value <field=value>',
      'for merge: a new value for one field; may be repeated',
      collected,
    );

/** Conflicts as lines for people. */
export const conflictLines = (conflicts: readonly ShownConflict[]): readonly string[] =>
  conflicts.map(
    ({ field, base, ours, theirs, rule }) =>
      `  ${field ?? recordWord}: was ${JSON.stringify(base)}, mine ${JSON.stringify(ours)}, theirs ${JSON.stringify(theirs)} (${rule})`,
  );
