import { isWellFormed, utf8Length } from './bytes.js';
import { decodeShape } from './customization-shape.js';
import type { Problem } from './error.js';
import { left, right, type Result } from './result.js';
import {
  fieldIdMax,
  userTableIdMax,
  type Customization,
  type FieldDefinition,
  type ResolutionRule,
  type TableDefinition,
} from './schema.js';
import { systemTables } from './system-tables.js';
import { stringLengthMax, textLengthMax, type FieldType } from './value.js';

/** Maximum tables of a customization. */
export const tablesMax = 500;
/** Maximum fields of a table. */
export const fieldsPerTableMax = 1_000;
/** Maximum declared indexes of a table. */
export const indexesPerTableMax = 16;
/** Maximum fields of a declared index. */
export const indexFieldsMax = 4;
/** Maximum options of an option field. */
export const optionsMax = 1_000;
/** Maximum UTF-8 bytes of a customization as JSON: it travels in the JSON part of one message. */
export const customizationBytesMax = 240 * 1024;
/** Fields and options of all tables: more do not fit into the bytes, and are not looked at one by one. */
const fieldsMax = Math.floor(customizationBytesMax / '{"id":1,"name":"a","type":"text"}'.length);
const allOptionsMax = Math.floor(customizationBytesMax / '"a",'.length);
/** Maximum characters of a name in a message. */
const shownMax = 64;
/** Maximum problems that are reported of one customization. */
const problemsMax = 100;
const optionLengthMax = 255;

const isName = (name: string): boolean =>
  /^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name) && name !== '__proto__';

const idProblem = (id: number, max: number): string | undefined =>
  Number.isSafeInteger(id) && id >= 1 && id <= max
    ? undefined
    : `expected an integer from 1 to ${max}`;

const isOption = (option: string): boolean =>
  option.length > 0 && option.length <= optionLengthMax && isWellFormed(option);

const lengthLimits: ReadonlyMap<FieldType, number> = new Map([
  ['string', stringLengthMax],
  ['text', textLengthMax],
]);

const reservedNames = new Set(systemTables.map((table) => table.name));
const isReserved = (name: string): boolean => name.startsWith('sync_') || reservedNames.has(name);

class Problems {
  readonly list: Problem[] = [];
  add(path: string, message: string | undefined): void {
    if (message !== undefined && this.list.length < problemsMax) this.list.push({ path, message });
  }
  unique(path: string, seen: Set<string | number>, value: string | number): void {
    if (seen.has(value)) this.add(path, `"${String(value).slice(0, shownMax)}" is used twice`);
    seen.add(value);
  }
}

const checkField = (
  problems: Problems,
  path: string,
  field: FieldDefinition,
  tableNames: ReadonlySet<string>,
): void => {
  problems.add(`${path}.id`, idProblem(field.id, fieldIdMax));
  if (!isName(field.name)) problems.add(`${path}.name`, 'expected a name of letters, digits and _');
  if (field.name === 'id')
    problems.add(`${path}.name`, '"id" is the record id and cannot be a field');
  if (field.type === 'option') {
    const options = field.options ?? [];
    if (options.length === 0 || options.length > optionsMax || !options.every(isOption))
      problems.add(
        `${path}.options`,
        `expected 1 to ${optionsMax} options of 1 to ${optionLengthMax} characters`,
      );
    if (new Set(options).size !== options.length)
      problems.add(`${path}.options`, 'options must differ');
  } else if (field.options !== undefined) {
    problems.add(`${path}.options`, 'only option fields have options');
  }
  if (field.type === 'reference') {
    if (field.table === undefined || !tableNames.has(field.table))
      problems.add(`${path}.table`, 'expected the name of a table of this customization');
  } else if (field.table !== undefined) {
    problems.add(`${path}.table`, 'only reference fields name a table');
  }
  if (field.maxLength !== undefined) {
    const limit = lengthLimits.get(field.type);
    problems.add(
      `${path}.maxLength`,
      limit === undefined
        ? 'only string and text fields have a maximum length'
        : idProblem(field.maxLength, limit),
    );
  }
  if ((field.rule as ResolutionRule | undefined) === 'device-wins-full')
    problems.add(`${path}.rule`, 'device-wins-full is a rule of tables');
  if (field.rule !== undefined && (field.type === 'counter' || field.type === 'text'))
    problems.add(`${path}.rule`, 'counters add and texts combine: they take no rule');
  if (field.required === true && (field.type === 'counter' || field.type === 'text'))
    problems.add(`${path}.required`, 'counters and texts always have a value');
};

/** Field types that an index may hold. */
const indexable = new Set([
  'boolean',
  'number',
  'string',
  'decimal',
  'date',
  'datetime',
  'option',
  'reference',
]);

const checkTable = (
  problems: Problems,
  path: string,
  table: TableDefinition,
  tableNames: ReadonlySet<string>,
): void => {
  problems.add(`${path}.id`, idProblem(table.id, userTableIdMax));
  if (!isName(table.name)) problems.add(`${path}.name`, 'expected a name of letters, digits and _');
  if (table.fields.length === 0 || table.fields.length > fieldsPerTableMax)
    problems.add(`${path}.fields`, `expected 1 to ${fieldsPerTableMax} fields`);
  const ids = new Set<string | number>();
  const names = new Set<string | number>();
  const byName = new Map(table.fields.map((field) => [field.name, field]));
  table.fields.forEach((field, i) => {
    checkField(problems, `${path}.fields[${i}]`, field, tableNames);
    problems.unique(`${path}.fields[${i}].id`, ids, field.id);
    problems.unique(`${path}.fields[${i}].name`, names, field.name);
  });
  if (table.indexes.length > indexesPerTableMax)
    problems.add(`${path}.indexes`, `expected at most ${indexesPerTableMax} indexes`);
  const indexNames = new Set<string | number>();
  table.indexes.forEach((index, i) => {
    problems.unique(`${path}.indexes[${i}].name`, indexNames, index.name);
    if (index.fields.length === 0 || index.fields.length > indexFieldsMax)
      problems.add(`${path}.indexes[${i}].fields`, `expected 1 to ${indexFieldsMax} fields`);
    if (!isName(index.name))
      problems.add(`${path}.indexes[${i}].name`, 'expected a name of letters, digits and _');
    index.fields.forEach((name, j) => {
      const type = byName.get(name)?.type;
      if (type === undefined || !indexable.has(type))
        problems.add(
          `${path}.indexes[${i}].fields[${j}]`,
          'expected a field of this table that can be indexed',
        );
    });
  });
  if (table.scopeKey !== undefined && !indexable.has(byName.get(table.scopeKey)?.type ?? ''))
    problems.add(`${path}.scopeKey`, 'expected a field of this table that can be indexed');
};

/**
 * Decodes a customization from JSON and checks its meaning.
 *
 * Reports all problems with their paths (at most 100). Unknown properties are dropped.
 */
export const decodeCustomization = (json: unknown): Result<readonly Problem[], Customization> => {
  const oversized = problemsOfSize(json);
  if (oversized.length > 0) return left(oversized);
  const shape = decodeShape(json, problemsMax);
  const meant = problemsOfMeaning(shape.rest);
  if (shape.problems.length > 0) {
    const others = meant.filter(({ path }) => !shape.problems.some((one) => isWithin(path, one)));
    return left([...shape.problems, ...others].slice(0, problemsMax));
  }
  const customization = tidy(shape.rest);
  if (utf8Length(JSON.stringify(customization)) > customizationBytesMax)
    meant.push({ path: '', message: `expected at most ${customizationBytesMax} bytes` });
  return meant.length > 0 ? left(meant) : right(customization);
};

const lengthOf = (holder: unknown, name: string): number => {
  const list: unknown = (holder as Readonly<Record<string, unknown>> | null | undefined)?.[name];
  return Array.isArray(list) ? list.length : 0;
};

const membersIn = (holder: unknown, name: string): readonly unknown[] =>
  lengthOf(holder, name) === 0 ? [] : ((holder as Record<string, readonly unknown[]>)[name] ?? []);

/** Lists that are longer than any customization may have: they are counted before anything in them is read. */
const problemsOfSize = (json: unknown): readonly Problem[] => {
  const problems = new Problems();
  if (lengthOf(json, 'tables') > tablesMax) {
    problems.add('tables', `expected at most ${tablesMax} tables`);
    return problems.list;
  }
  const tables = membersIn(json, 'tables');
  let fields = 0;
  tables.forEach((table, i) => {
    fields += lengthOf(table, 'fields');
    if (lengthOf(table, 'fields') > fieldsPerTableMax)
      problems.add(`tables[${i}].fields`, `expected 1 to ${fieldsPerTableMax} fields`);
    if (lengthOf(table, 'indexes') > indexesPerTableMax)
      problems.add(`tables[${i}].indexes`, `expected at most ${indexesPerTableMax} indexes`);
    else
      membersIn(table, 'indexes').forEach((index, j) => {
        if (lengthOf(index, 'fields') > indexFieldsMax)
          problems.add(
            `tables[${i}].indexes[${j}].fields`,
            `expected 1 to ${indexFieldsMax} fields`,
          );
      });
  });
  if (problems.list.length > 0) return problems.list;
  const tooLong = { path: '', message: `expected at most ${customizationBytesMax} bytes` };
  if (fields > fieldsMax) return [tooLong];
  let options = 0;
  for (const table of tables)
    for (const one of membersIn(table, 'fields')) options += lengthOf(one, 'options');
  return options > allOptionsMax ? [tooLong] : [];
};

/** Tells whether a path leads to what a problem is about, or into it. */
const isWithin = (path: string, { path: place }: Problem): boolean =>
  path === place || place === '' || path.startsWith(`${place}.`) || path.startsWith(`${place}[`);

const problemsOfMeaning = (customization: Customization): Problem[] => {
  const problems = new Problems();
  if (!Number.isSafeInteger(customization.version) || customization.version < 1)
    problems.add('version', 'expected a positive integer');
  if (customization.tables.length > tablesMax)
    problems.add('tables', `expected at most ${tablesMax} tables`);
  const names = new Set(customization.tables.map((table) => table.name));
  const seenNames = new Set<string | number>();
  const seenIds = new Set<string | number>();
  customization.tables.forEach((table, i) => {
    checkTable(problems, `tables[${i}]`, table, names);
    problems.unique(`tables[${i}].name`, seenNames, table.name);
    problems.unique(`tables[${i}].id`, seenIds, table.id);
    if (isReserved(table.name)) problems.add(`tables[${i}].name`, 'the name is reserved');
  });
  return problems.list;
};

/** Rebuilds the customization with known properties in a fixed order, so that its JSON is canonical. */
const tidy = (input: Customization): Customization => ({
  format: 1,
  version: input.version,
  tables: input.tables.map((table) => ({
    id: table.id,
    name: table.name,
    fields: table.fields.map((field) => ({
      id: field.id,
      name: field.name,
      type: field.type,
      ...(field.required === undefined ? {} : { required: field.required }),
      ...(field.maxLength === undefined ? {} : { maxLength: field.maxLength }),
      ...(field.options === undefined ? {} : { options: field.options }),
      ...(field.table === undefined ? {} : { table: field.table }),
      ...(field.rule === undefined ? {} : { rule: field.rule }),
    })),
    rule: table.rule,
    onDelete: table.onDelete,
    indexes: table.indexes.map(({ name, fields }) => ({ name, fields: [...fields] })),
    ...(table.scopeKey === undefined ? {} : { scopeKey: table.scopeKey }),
  })),
});

/**
 * Compares a new customization with the current one: problems where it removes, retypes or narrows.
 *
 * An empty list means that it only adds tables, fields and options, widens lengths, or changes rules and indexes.
 */
export const destructiveChanges = (
  current: Customization,
  next: Customization,
): readonly Problem[] => {
  const problems = new Problems();
  if (next.version <= current.version)
    problems.add('version', `expected more than ${current.version}`);
  const nextTables = new Map(next.tables.map((table) => [table.id, table]));
  for (const table of current.tables) {
    const after = nextTables.get(table.id);
    const path = `tables.${table.name}`;
    if (after === undefined) {
      problems.add(path, 'the table was removed');
      continue;
    }
    if (after.name !== table.name) problems.add(path, 'the table was renamed');
    if (after.scopeKey !== table.scopeKey) problems.add(path, 'the scope key was changed');
    const fields = new Map(after.fields.map((field) => [field.id, field]));
    for (const field of table.fields) {
      const fieldAfter = fields.get(field.id);
      if (fieldAfter === undefined) problems.add(`${path}.${field.name}`, 'the field was removed');
      else if (fieldAfter.name !== field.name)
        problems.add(`${path}.${field.name}`, 'the field was renamed');
      else if (fieldAfter.type !== field.type)
        problems.add(`${path}.${field.name}`, 'the field was retyped');
      else if (fieldAfter.table !== field.table)
        problems.add(`${path}.${field.name}`, 'the reference was retargeted');
      else if (fieldAfter.required === true && field.required !== true)
        problems.add(`${path}.${field.name}`, 'an optional field cannot become required');
      else if (
        field.options?.some((option) => !(fieldAfter.options ?? []).includes(option)) === true
      )
        problems.add(`${path}.${field.name}`, 'an option was removed');
      else if ((fieldAfter.maxLength ?? Infinity) < (field.maxLength ?? Infinity))
        problems.add(`${path}.${field.name}`, 'the maximum length was reduced');
    }
    for (const added of after.fields)
      if (added.required === true && !table.fields.some((field) => field.id === added.id))
        problems.add(
          `${path}.${added.name}`,
          'a field added to an existing table cannot be required',
        );
  }
  return problems.list;
};
