import {
  isLeft,
  left,
  right,
  tablesMax,
  fieldsPerTableMax,
  userTableIdMax,
  type FieldId,
  type Problem,
  type Result,
  type Schema,
  type SchemaTable,
  type TableId,
  type Value,
} from '@tidemark/model';
import * as t from 'io-ts';
import { compileFilter, type FilterPredicate } from './compile-filter.js';
import { filterNameLengthMax, filterProblemsMax, filterTextLengthMax } from './expression.js';
import { parseFilter } from './parse-filter.js';
import { equalityKey, fieldsRead } from './plan-index.js';
import { printFilter } from './print-filter.js';
import type { FilterProblem } from './problem.js';
import { resolveFilter } from './resolve-filter.js';
import { compareTexts } from './value-order.js';

/** Part of a scope for one table: no `fields` means all fields, no `filter` all records. */
export interface TableSelection {
  readonly fields?: readonly string[];
  readonly filter?: string;
}

/** Scope says which tables, fields and records a replica may hold; `'all'` means every user table whole. */
export interface Scope {
  readonly tables: 'all' | Readonly<Record<string, TableSelection>>;
}

/** Scope of one table, bound to the schema. */
export interface TableScope {
  readonly tableId: TableId;
  readonly tableName: string;
  /** Projected fields, ascending. */
  readonly fields: readonly FieldId[] | 'all';
  /** Tells whether a record belongs to the scope; `null` when every record does. */
  readonly filter: FilterPredicate | null;
  /** Fields that the filter reads, ascending; they need not be projected. */
  readonly reads: readonly FieldId[];
  /** The table's scope key with the value that the filter pins it to; `null` when it is not pinned. */
  readonly key: { readonly field: FieldId; readonly value: Value } | null;
}

/** Scope bound to a schema: tables in ascending id order. A table that is absent is not in the scope. */
export interface ResolvedScope {
  readonly tables: ReadonlyMap<TableId, TableScope>;
}

/** Maximum length of a scope's canonical text in UTF-16 units. */
export const scopeTextLengthMax = 256 * 1024;

const ScopeJson = t.type({ tables: t.union([t.literal('all'), t.UnknownRecord]) });
const SelectionJson = t.partial({ fields: t.array(t.string), filter: t.string });

/**
 * Decodes a scope from untrusted JSON into a fresh value, or lists what is wrong, at most 20.
 *
 * Unknown members are refused, since a misspelt `filter` would widen the scope. Filters are parsed, but
 * names are checked by `resolveScope` only.
 */
export const decodeScope = (json: unknown): Result<readonly FilterProblem[], Scope> => {
  if (!ScopeJson.is(json) || !hasOnly(json, ['tables']) || Array.isArray(json.tables)) {
    return left([{ path: '', message: 'expected {tables: "all" or an object by table name}' }]);
  }
  if (json.tables === 'all') return right({ tables: 'all' });
  const names = Object.keys(json.tables);
  if (names.length > tablesMax)
    return left([{ path: 'tables', message: `more than ${tablesMax} tables` }]);
  const problems: FilterProblem[] = [];
  const tables: [string, TableSelection][] = [];
  for (const name of names) {
    const path = `tables.${name}`;
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name) || name === '__proto__') {
      problems.push({ path: 'tables', message: 'a table name is malformed' });
      continue;
    }
    const selection = decodeSelection(json.tables[name], path, problems);
    if (selection !== undefined) tables.push([name, selection]);
  }
  const scope: Scope = { tables: Object.fromEntries(tables) };
  if (problems.length === 0 && scopeText(scope).length > scopeTextLengthMax) {
    problems.push({ path: '', message: `scope text exceeds ${scopeTextLengthMax} characters` });
  }
  return problems.length > 0 ? left(problems.slice(0, filterProblemsMax)) : right(scope);
};

const hasOnly = (object: object, names: readonly string[]): boolean =>
  Object.keys(object).every((name) => names.includes(name));

const decodeSelection = (
  json: unknown,
  path: string,
  problems: FilterProblem[],
): TableSelection | undefined => {
  if (!SelectionJson.is(json) || Array.isArray(json) || !hasOnly(json, ['fields', 'filter'])) {
    problems.push({ path, message: 'expected {fields?: names, filter?: text}' });
    return undefined;
  }
  const { fields, filter } = json;
  if (
    fields !== undefined &&
    (fields.length > fieldsPerTableMax || fields.some((name) => name.length > filterNameLengthMax))
  ) {
    problems.push({
      path: `${path}.fields`,
      message: `expected at most ${fieldsPerTableMax} field names`,
    });
  }
  if (filter !== undefined) {
    const parsed = parseFilter(filter);
    if (isLeft(parsed)) problems.push({ ...parsed.left, path: `${path}.filter` });
  }
  return {
    ...(fields === undefined ? {} : { fields: [...fields] }),
    ...(filter === undefined ? {} : { filter }),
  };
};

/**
 * Prints a scope as canonical JSON; equal scopes give equal texts, whose hash may stand for the scope.
 *
 * Tables and fields are sorted by code point, repeated fields dropped, filters printed canonically. The
 * text decodes to an equivalent scope. A filter that does not parse is kept as it is.
 */
export const scopeText = (scope: Scope): string => {
  if (scope.tables === 'all') return '{"tables":"all"}';
  const members = Object.entries(scope.tables)
    .sort(([a], [b]) => compareTexts(a, b))
    .map(([name, selection]) => `${JSON.stringify(name)}:${selectionText(selection)}`);
  return `{"tables":{${members.join(',')}}}`;
};

const selectionText = ({ fields, filter }: TableSelection): string => {
  const members: string[] = [];
  if (fields !== undefined) {
    members.push(`"fields":${JSON.stringify([...new Set(fields)].sort(compareTexts))}`);
  }
  if (filter !== undefined) {
    const parsed = filter.length > filterTextLengthMax ? undefined : parseFilter(filter);
    const text = parsed === undefined || isLeft(parsed) ? filter : printFilter(parsed.right);
    members.push(`"filter":${JSON.stringify(text)}`);
  }
  return `{${members.join(',')}}`;
};

/**
 * Binds a scope to a schema, or lists every unknown table or field and every filter that does not fit.
 *
 * System tables can neither be named nor are they part of `'all'`: the engine scopes them itself.
 */
export const resolveScope = (
  scope: Scope,
  schema: Schema,
): Result<readonly FilterProblem[], ResolvedScope> => {
  const problems: FilterProblem[] = [];
  const tables: TableScope[] = [];
  const selections =
    scope.tables === 'all'
      ? schema.customization.tables.map(({ name }): [string, TableSelection] => [name, {}])
      : Object.entries(scope.tables);
  for (const [name, selection] of selections) {
    const table = schema.tablesByName.get(name);
    if (table === undefined || table.id > userTableIdMax) {
      problems.push({ path: `tables.${name}`, message: 'the schema has no such table' });
      continue;
    }
    const resolved = resolveSelection(table, selection, problems);
    if (resolved !== undefined) tables.push(resolved);
  }
  if (problems.length > 0) return left(problems.slice(0, filterProblemsMax));
  tables.sort((a, b) => a.tableId - b.tableId);
  return right({ tables: new Map(tables.map((table) => [table.tableId, table])) });
};

const resolveSelection = (
  table: SchemaTable,
  { fields, filter }: TableSelection,
  problems: FilterProblem[],
): TableScope | undefined => {
  const path = `tables.${table.name}`;
  const whole: TableScope = {
    tableId: table.id,
    tableName: table.name,
    fields: fields === undefined ? 'all' : fieldIds(table, fields, path, problems),
    filter: null,
    reads: [],
    key: null,
  };
  if (filter === undefined) return whole;
  const parsed = parseFilter(filter);
  if (isLeft(parsed)) return addProblems(problems, `${path}.filter`, [parsed.left]);
  const resolved = resolveFilter(parsed.right, table);
  if (isLeft(resolved)) return addProblems(problems, `${path}.filter`, resolved.left);
  const keyField =
    table.scopeKey === undefined ? undefined : table.fieldsByName.get(table.scopeKey);
  const value = keyField && equalityKey(resolved.right, keyField.id);
  return {
    ...whole,
    filter: compileFilter(resolved.right),
    reads: fieldsRead(resolved.right),
    key: keyField === undefined || value === undefined ? null : { field: keyField.id, value },
  };
};

const addProblems = (
  problems: FilterProblem[],
  path: string,
  found: readonly FilterProblem[],
): undefined => {
  for (const problem of found) {
    problems.push({ ...problem, path: problem.path === '' ? path : `${path}.${problem.path}` });
  }
  return undefined;
};

const fieldIds = (
  table: SchemaTable,
  names: readonly string[],
  path: string,
  problems: Problem[],
): readonly FieldId[] => {
  const ids = new Set<FieldId>();
  names.forEach((name, i) => {
    const field = table.fieldsByName.get(name);
    if (field === undefined) {
      problems.push({
        path: `${path}.fields[${i}]`,
        message: `table ${table.name} has no such field`,
      });
    } else ids.add(field.id);
  });
  return [...ids].sort((a, b) => a - b);
};
