import {
  checkValue,
  indexSchema,
  isRecordId,
  TidemarkError,
  userTableIdMax,
  type Customization,
  type FieldDefinition,
  type SchemaTable,
  type Value,
} from '@tidemark/model';
import type { DeskPut } from '../server/desk.js';
import { rowBytesMax, type RawRow, type RowFormat } from './row.js';
import { valueFromPlainJson, valueFromText } from './value-text.js';

/** Largest record that an import takes, bytes of its JSON: a write of the server takes 2 KB more. */
export const recordBytesMax = 510 * 1024;

/** One thing that is wrong with a row. `field` is null when it is the row as a whole. */
export interface RowProblem {
  readonly code: string;
  readonly field: string | null;
  readonly message: string;
}

/** Row after the check: what is written, or everything that is wrong with it. */
export type CheckedRow =
  | { readonly row: number; readonly put: DeskPut; readonly bytes: number }
  | {
      readonly row: number;
      readonly line: number | null;
      readonly problems: readonly RowProblem[];
      readonly cells: Readonly<Record<string, unknown>> | null;
    };

/** How rows become records of a table. */
export interface RowMapping {
  readonly table: SchemaTable;
  readonly format: RowFormat;
  /** Column that holds the record id. */
  readonly idColumn: string;
  /** Field by column, where their names differ. */
  readonly renamed: ReadonlyMap<string, string>;
  /** Passes over columns that are no field. */
  readonly ignoreUnknown: boolean;
}

/** Table of a customization by name. Throws `unknown-table` and names those that there are. */
export const tableOf = (customization: Customization, name: string): SchemaTable => {
  const table = indexSchema(customization, []).tablesByName.get(name);
  if (table !== undefined && table.id <= userTableIdMax) return table;
  const known = customization.tables.map((one) => one.name).join(', ');
  throw new TidemarkError(
    'unknown-table',
    `there is no table ${name}; there ${known === '' ? 'is none' : `are ${known}`}`,
  );
};

/**
 * Checks the columns of a CSV file once: a wrong header would make every row bad. Throws `unknown-field`,
 * `invalid-id`, or `invalid-option` when two columns are of one field.
 */
export const checkColumns = (
  { table, idColumn, renamed, ignoreUnknown }: RowMapping,
  columns: readonly string[],
): void => {
  if (!columns.includes(idColumn))
    throw new TidemarkError(
      'invalid-id',
      `the file has no column ${idColumn} for the record id; --id names another one`,
    );
  const unknown = columns.filter(
    (column) => column !== idColumn && !table.fieldsByName.has(renamed.get(column) ?? column),
  );
  if (unknown.length > 0 && !ignoreUnknown)
    throw new TidemarkError(
      'unknown-field',
      `${table.name} has no field for the columns ${unknown.join(', ')}; --map column=field names one, --ignore-unknown passes over them`,
    );
  const fields = columns
    .filter((column) => column !== idColumn)
    .map((column) => renamed.get(column) ?? column);
  const twice = fields.find(
    (name, at) => table.fieldsByName.has(name) && fields.indexOf(name) < at,
  );
  if (twice !== undefined)
    throw new TidemarkError('invalid-option', `two columns of the file are of the field ${twice}`, {
      option: 'map',
      field: twice,
    });
};

const readId = (cells: Readonly<Record<string, unknown>>, column: string): string | RowProblem => {
  const given = Object.hasOwn(cells, column) ? cells[column] : undefined;
  const id = typeof given === 'number' && Number.isSafeInteger(given) ? String(given) : given;
  if (typeof id === 'string' && isRecordId(id)) return id;
  const isMissing = id === undefined || id === null || id === '';
  return {
    code: 'invalid-id',
    field: column,
    message: isMissing ? 'the row has no id' : 'the id is not allowed',
  };
};

const readValue = (
  { table, format }: RowMapping,
  field: FieldDefinition,
  given: unknown,
): Value | RowProblem => {
  if (given === null || given === undefined) return null;
  const value =
    format === 'csv' && typeof given === 'string'
      ? valueFromText(field, given)
      : (valueFromPlainJson(field, given) as Value);
  const problem = checkValue(table, field, value);
  return problem === undefined
    ? value
    : { code: problem.code, field: field.name, message: problem.message };
};

const isProblem = (value: Value | RowProblem): value is RowProblem =>
  typeof value === 'object' && value !== null && 'code' in value && 'field' in value;

const missingRequired = (
  { fields }: SchemaTable,
  values: Readonly<Record<string, Value>>,
): readonly RowProblem[] =>
  fields
    .filter(({ name, required }) => required === true && (values[name] ?? null) === null)
    .map(({ name }) => ({
      code: 'required-field',
      field: name,
      message: `${name}: a value is required`,
    }));

const sameTypes: ReadonlySet<string> = new Set(['counter', 'text']);

/** Checks a row and turns it into a record; every problem of the row is told. */
export const checkRow = (mapping: RowMapping, raw: RawRow): CheckedRow => {
  const { row, line } = raw;
  if ('problem' in raw) {
    const problems = [{ code: 'malformed-message', field: null, message: raw.problem }];
    return { row, line, problems, cells: null };
  }
  const { cells } = raw;
  const { table, idColumn, renamed, ignoreUnknown } = mapping;
  const problems: RowProblem[] = [];
  const id = readId(cells, idColumn);
  if (typeof id !== 'string') problems.push(id);
  const fields: Record<string, Value> = {};
  const taken = new Set<string>();
  for (const [column, given] of Object.entries(cells)) {
    if (column === idColumn) continue;
    const name = renamed.get(column) ?? column;
    const field = table.fieldsByName.get(name);
    if (field === undefined) {
      if (!ignoreUnknown)
        problems.push({
          code: 'unknown-field',
          field: column,
          message: `${table.name} has no field ${name}`,
        });
      continue;
    }
    if (taken.has(name))
      problems.push({
        code: 'invalid-value',
        field: column,
        message: `${name}: another column has its value, too`,
      });
    taken.add(name);
    const value = readValue(mapping, field, given);
    if (isProblem(value)) problems.push(value);
    // Counters and texts always have a value: an empty cell leaves them as they are.
    else if (value !== null || !sameTypes.has(field.type)) fields[name] = value;
  }
  if (
    !problems.some(
      ({ field }) => field !== null && table.fieldsByName.get(field)?.required === true,
    )
  )
    problems.push(...missingRequired(table, fields));
  const bytes = Buffer.byteLength(JSON.stringify(fields));
  if (bytes > recordBytesMax)
    problems.push({
      code: 'record-too-large',
      field: null,
      message: `the record exceeds ${recordBytesMax} bytes`,
    });
  if (problems.length > 0 || typeof id !== 'string')
    return { row, line, problems, cells: bytes > rowBytesMax ? null : cells };
  return { row, put: { kind: 'put', table: table.name, id, fields }, bytes };
};
