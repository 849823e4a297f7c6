import * as E from 'fp-ts/lib/Either.js';
import * as t from 'io-ts';
import type { Problem } from './error.js';
import {
  deleteRules,
  resolutionRules,
  type Customization,
  type FieldDefinition,
  type TableDefinition,
} from './schema.js';
import { fieldTypes } from './value.js';

const literals = (values: readonly string[]): t.Type<string> =>
  new t.Type<string>(
    values.join(' | '),
    (u): u is string => typeof u === 'string' && values.includes(u),
    (u, c) => (typeof u === 'string' && values.includes(u) ? t.success(u) : t.failure(u, c)),
    t.identity,
  );

const FieldJson = t.intersection([
  t.type({ id: t.number, name: t.string, type: literals(fieldTypes) }, 'a field'),
  t.partial(
    {
      required: t.boolean,
      maxLength: t.number,
      options: t.array(t.string, 'a list of texts'),
      table: t.string,
      rule: literals(resolutionRules),
    },
    'a field',
  ),
]);

const IndexJson = t.type(
  { name: t.string, fields: t.array(t.string, 'a list of names') },
  'an index',
);

const TableJson = t.intersection([
  t.type(
    {
      id: t.number,
      name: t.string,
      fields: t.array(FieldJson, 'a list of fields'),
      rule: literals(resolutionRules),
      onDelete: literals(deleteRules),
      indexes: t.array(IndexJson, 'a list of indexes'),
    },
    'a table',
  ),
  t.partial({ scopeKey: t.string }, 'a table'),
]);

const CustomizationJson = t.type(
  { format: t.literal(1), version: t.number, tables: t.array(TableJson, 'a list of tables') },
  'a customization',
);

const tagOf = (type: t.Decoder<unknown, unknown> | undefined): unknown =>
  (type as { readonly _tag?: unknown } | undefined)?._tag;

const pathOf = (context: t.Context): string => {
  let path = '';
  context.forEach(({ key }, i) => {
    const parent = tagOf(context[i - 1]?.type);
    // Intersections add the positions of their parts to the context; the input does not have them.
    if (i === 0 || parent === 'IntersectionType') return;
    path += parent === 'ArrayType' ? `[${key}]` : path === '' ? key : `.${key}`;
  });
  return path;
};

const kindOf = (value: unknown): string => {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'list' : typeof value;
};

const shapeProblems = (errors: t.Errors, problemsMax: number): Problem[] => {
  const byPath = new Map<string, Problem>();
  for (const error of errors) {
    const last = error.context[error.context.length - 1];
    const path = pathOf(error.context);
    const message = `expected ${last?.type.name ?? 'a value'}, got ${kindOf(error.value)}`;
    if (!byPath.has(path)) byPath.set(path, { path, message });
    if (byPath.size === problemsMax) break;
  }
  return [...byPath.values()];
};

const membersOf = (json: unknown): Readonly<Record<string, unknown>> =>
  typeof json === 'object' && json !== null ? (json as Readonly<Record<string, unknown>>) : {};

const listOf = (json: unknown): readonly unknown[] => (Array.isArray(json) ? json : []);

const textOf = (json: unknown): string => (typeof json === 'string' ? json : '');

const numberOf = (json: unknown): number => (typeof json === 'number' ? json : Number.NaN);

/** What can be read of a field. Without a type nothing is said of what depends on it. */
const restOfField = (json: unknown): FieldDefinition => {
  const decoded = FieldJson.decode(json);
  if (E.isRight(decoded)) return decoded.right as unknown as FieldDefinition;
  const { id, name } = membersOf(json);
  return { id: numberOf(id), name: textOf(name), type: 'string' };
};

/** What can be read of a table. Indexes are left out where fields that they may name cannot be read. */
const restOfTable = (json: unknown): TableDefinition => {
  const { id, name, fields, indexes, scopeKey } = membersOf(json);
  const isReadable = E.isRight(t.array(FieldJson).decode(fields));
  const readable = listOf(indexes).filter((index) =>
    IndexJson.is(index),
  ) as TableDefinition['indexes'];
  return {
    id: numberOf(id),
    name: textOf(name),
    fields: listOf(fields).map(restOfField),
    rule: 'server-wins',
    onDelete: 'edit-wins',
    indexes: isReadable && readable.length === listOf(indexes).length ? readable : [],
    ...(isReadable && typeof scopeKey === 'string' ? { scopeKey } : {}),
  };
};

/**
 * Reads JSON as a customization: problems of its shape with their paths, at most `problemsMax`, and `rest`,
 * which is the customization, or without the right shape what can be read of it.
 */
export const decodeShape = (
  json: unknown,
  problemsMax: number,
): { readonly problems: readonly Problem[]; readonly rest: Customization } => {
  const decoded = CustomizationJson.decode(json);
  if (E.isRight(decoded)) return { problems: [], rest: decoded.right as unknown as Customization };
  const { version, tables } = membersOf(json);
  return {
    problems: shapeProblems(decoded.left, problemsMax),
    rest: { format: 1, version: numberOf(version), tables: listOf(tables).map(restOfTable) },
  };
};
