import type { ErrorCode } from './error-codes.js';
import type { Operation } from './operation.js';
import type { FieldDefinition, Schema, SchemaTable } from './schema.js';
import { isCanonicalValue, type Value } from './value.js';

/** What is wrong with an operation, without values. */
export interface OperationProblem {
  readonly code: Extract<
    ErrorCode,
    'unknown-table' | 'unknown-field' | 'invalid-value' | 'required-field'
  >;
  readonly table: string;
  readonly field: string;
  readonly message: string;
}

/** Checks one value against its field: canonical form, required, options, maximum length. */
export const checkValue = (
  table: SchemaTable,
  field: FieldDefinition,
  value: Value,
): OperationProblem | undefined => {
  const problem = (code: OperationProblem['code'], message: string): OperationProblem => ({
    code,
    table: table.name,
    field: field.name,
    message: `${table.name}.${field.name}: ${message}`,
  });
  if (value === null)
    return field.required === true ? problem('required-field', 'a value is required') : undefined;
  if (!isCanonicalValue(field.type, value))
    return problem('invalid-value', `expected a canonical ${field.type}`);
  if (field.options !== undefined && !field.options.includes(value as string))
    return problem('invalid-value', 'expected one of the declared options');
  if (field.maxLength !== undefined && (value as string).length > field.maxLength)
    return problem('invalid-value', `expected at most ${field.maxLength} characters`);
  return undefined;
};

const checkField = (
  table: SchemaTable,
  id: number,
  check: (field: FieldDefinition) => OperationProblem | undefined,
): OperationProblem | undefined => {
  const field = table.fieldsById.get(id);
  if (field !== undefined) return check(field);
  const message = `${table.name} has no field ${id}`;
  return { code: 'unknown-field', table: table.name, field: String(id), message };
};

const wrongType = (
  table: SchemaTable,
  field: FieldDefinition,
  message: string,
): OperationProblem => ({
  code: 'invalid-value',
  table: table.name,
  field: field.name,
  message: `${table.name}.${field.name}: ${message}`,
});

/**
 * Checks an operation against the schema: known table and fields, canonical values, required fields of a
 * create, increments on counters only, CRDT edits on texts only, counters set by creates only.
 */
export const checkOperation = (schema: Schema, op: Operation): OperationProblem | undefined => {
  const table = schema.tablesById.get(op.table);
  if (table === undefined)
    return {
      code: 'unknown-table',
      table: String(op.table),
      field: '',
      message: `no table ${op.table}`,
    };
  for (const { field: id, after } of op.set) {
    const problem = checkField(table, id, (field) =>
      field.type === 'counter' && op.kind !== 'create'
        ? wrongType(table, field, 'a counter changes by increments')
        : checkValue(table, field, after),
    );
    if (problem !== undefined) return problem;
  }
  for (const { field: id, by } of op.inc) {
    const problem = checkField(table, id, (field) =>
      field.type === 'counter' && Number.isFinite(by)
        ? undefined
        : wrongType(table, field, 'increments are for counters'),
    );
    if (problem !== undefined) return problem;
  }
  for (const { field: id } of op.crdt) {
    const problem = checkField(table, id, (field) =>
      field.type === 'text' ? undefined : wrongType(table, field, 'CRDT edits are for texts'),
    );
    if (problem !== undefined) return problem;
  }
  if (op.kind !== 'create') return undefined;
  for (const field of table.fields) {
    if (field.required === true && !op.set.some((change) => change.field === field.id))
      return checkValue(table, field, null);
  }
  return undefined;
};
