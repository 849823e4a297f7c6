import { indexSchema, isLeft, type Schema } from '@tidemark/model';
import { expect, test } from 'vitest';
import { membershipChange } from './membership.js';
import {
  decodeScope,
  resolveScope,
  scopeText,
  scopeTextLengthMax,
  type ResolvedScope,
  type Scope,
} from './scope.js';

const base = { rule: 'server-wins', onDelete: 'edit-wins', indexes: [] } as const;
const schema: Schema = indexSchema(
  {
    format: 1,
    version: 1,
    tables: [
      {
        ...base,
        id: 9,
        name: 'visits',
        scopeKey: 'site',
        fields: [
          { id: 1, name: 'site', type: 'string' },
          { id: 2, name: 'done', type: 'boolean' },
          { id: 3, name: 'note', type: 'text' },
        ],
      },
      { ...base, id: 2, name: 'sites', fields: [{ id: 1, name: 'name', type: 'string' }] },
    ],
  },
  [{ ...base, id: 60_001, name: 'sync_errors', fields: [{ id: 1, name: 'kind', type: 'string' }] }],
);

const resolved = (scope: Scope): ResolvedScope => {
  const result = resolveScope(scope, schema);
  if (isLeft(result)) throw new Error(JSON.stringify(result.left));
  return result.right;
};

test.each([
  [null],
  [{}],
  [{ tables: 'some' }],
  [{ tables: [] }],
  [{ tables: {}, more: 1 }],
  [{ tables: { visits: { filters: 'done = true' } } }],
  [{ tables: { visits: { filter: 'done =' } } }],
  [{ tables: { visits: { filter: null } } }],
  [{ tables: { visits: { fields: 'site' } } }],
  [{ tables: { visits: [] } }],
  [{ tables: { 'a b': {} } }],
  [JSON.parse('{"tables": {"__proto__": {}}}') as unknown],
  [{ tables: { visits: { fields: Array(20_000).fill('site') } } }],
  [
    {
      tables: Object.fromEntries(
        Array.from({ length: 10 }, (_, i) => [
          `t${i}`,
          { filter: `a = 1${' '.repeat(scopeTextLengthMax)}` },
        ]),
      ),
    },
  ],
])('[FLT-15] decode refuses case %#', (json) => {
  expect(isLeft(decodeScope(json))).toBe(true);
});

test('[FLT-15] decode gives the scope and the place of a bad filter', () => {
  expect(decodeScope({ tables: 'all' })).toEqual({ _tag: 'Right', right: { tables: 'all' } });
  const scope = { tables: { visits: { fields: ['site'], filter: 'done = true' }, sites: {} } };
  expect(decodeScope(scope)).toEqual({ _tag: 'Right', right: scope });
  const bad = decodeScope({ tables: { visits: { filter: 'done = "secret' } } });
  expect(isLeft(bad) && bad.left).toMatchObject([{ path: 'tables.visits.filter', position: 14 }]);
});

test('[FLT-16] order, repetition and spelling do not change the text; meaning does', () => {
  const text = scopeText({
    tables: {
      visits: { fields: ['site', 'done', 'site'], filter: "( done=TRUE )and site='s'" },
      sites: {},
    },
  });
  expect(text).toBe(
    '{"tables":{"sites":{},"visits":{"fields":["done","site"],"filter":"done = true and site = \\"s\\""}}}',
  );
  expect(
    scopeText({
      tables: {
        sites: {},
        visits: { filter: 'done = true and site = "s"', fields: ['done', 'site'] },
      },
    }),
  ).toBe(text);
  const again = decodeScope(JSON.parse(text));
  expect(isLeft(again) ? again : scopeText(again.right)).toBe(text);
  const others: Scope[] = [
    { tables: 'all' },
    { tables: {} },
    { tables: { visits: {} } },
    { tables: { visits: { fields: [] } } },
    { tables: { visits: { filter: 'done = true' } } },
  ];
  expect(new Set(others.map(scopeText)).size).toBe(others.length);
});

test('[FLT-17] resolve binds names, filter and scope key, in table order', () => {
  const scope = resolved({
    tables: {
      visits: { fields: ['note', 'site'], filter: 'site = "s" and done = true' },
      sites: {},
    },
  });
  expect([...scope.tables.keys()]).toEqual([2, 9]);
  expect(scope.tables.get(2)).toEqual({
    tableId: 2,
    tableName: 'sites',
    fields: 'all',
    filter: null,
    reads: [],
    key: null,
  });
  const visits = scope.tables.get(9);
  expect(visits).toMatchObject({ fields: [1, 3], reads: [1, 2], key: { field: 1, value: 's' } });
  const record = { id: 'r', modifiedOn: 1, createdOn: 1, modifiedBy: 'u', owner: 'u' };
  expect(visits?.filter?.({ ...record, fields: { 1: 's', 2: true } })).toBe(true);
  expect(visits?.filter?.({ ...record, fields: { 1: 't', 2: true } })).toBe(false);
  expect(resolved({ tables: { visits: { filter: 'done = true' } } }).tables.get(9)?.key).toBeNull();
});

test('[FLT-17] all means every user table; system tables cannot be named', () => {
  expect([...resolved({ tables: 'all' }).tables.keys()]).toEqual([2, 9]);
  const result = resolveScope(
    { tables: { sync_errors: {}, nowhere: {}, visits: { fields: ['nix'], filter: 'nix = 1' } } },
    schema,
  );
  expect(isLeft(result) && result.left.map(({ path }) => path)).toEqual([
    'tables.sync_errors',
    'tables.nowhere',
    'tables.visits.fields[0]',
    'tables.visits.filter.field',
  ]);
});

test('[FLT-18] membership then and now decides what a replica learns', () => {
  const cases = [true, false].flatMap((then) =>
    [true, false].flatMap((now) => [true, false].map((changed) => [then, now, changed] as const)),
  );
  expect(cases.map(([then, now, changed]) => membershipChange(then, now, changed))).toEqual([
    'upsert',
    'touch',
    'evict',
    'evict',
    'upsert',
    'upsert',
    'none',
    'none',
  ]);
});
