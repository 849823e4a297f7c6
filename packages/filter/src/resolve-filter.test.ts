import { isLeft, type TableDefinition, type Value } from '@tidemark/model';
import { expect, test } from 'vitest';
import { compileFilter, type FilterInput } from './compile-filter.js';
import { parseFilter } from './parse-filter.js';
import { equalityKey, fieldsRead, indexRange, planIndex } from './plan-index.js';
import { resolveFilter, type ResolvedFilter } from './resolve-filter.js';

const table: TableDefinition = {
  id: 7,
  name: 'visits',
  rule: 'server-wins',
  onDelete: 'edit-wins',
  indexes: [],
  fields: [
    { id: 1, name: 'open', type: 'boolean' },
    { id: 2, name: 'count', type: 'number' },
    { id: 3, name: 'name', type: 'string' },
    { id: 4, name: 'price', type: 'decimal' },
    { id: 5, name: 'day', type: 'date' },
    { id: 6, name: 'at', type: 'datetime' },
    { id: 7, name: 'status', type: 'option', options: ['new', 'done'] },
    { id: 8, name: 'site', type: 'reference', table: 'sites' },
    { id: 9, name: 'photo', type: 'attachment' },
    { id: 10, name: 'hits', type: 'counter' },
    { id: 11, name: 'note', type: 'text' },
  ],
};

const resolved = (text: string): ResolvedFilter => {
  const parsed = parseFilter(text);
  if (isLeft(parsed)) throw new Error(parsed.left.message);
  const result = resolveFilter(parsed.right, table);
  if (isLeft(result)) throw new Error(result.left.map(({ message }) => message).join('; '));
  return result.right;
};

const input = (fields: Record<number, Value>, more: Partial<FilterInput> = {}): FilterInput => ({
  id: 'r1',
  fields,
  modifiedOn: 2_000,
  createdOn: 1_000,
  modifiedBy: 'u1',
  owner: 'u2',
  ...more,
});

const passes = (
  text: string,
  fields: Record<number, Value>,
  more: Partial<FilterInput> = {},
): boolean => compileFilter(resolved(text))(input(fields, more));

test.each([
  ['nowhere = 1', 'field'],
  ['count = "1"', 'value'],
  ['open = 1', 'value'],
  ['name = 3', 'value'],
  ['price = "1,5"', 'value'],
  ['price = 1e-7', 'value'],
  ['day = "2026-02-30"', 'value'],
  ['at > "2026-02-03"', 'value'],
  ['status = "open"', 'value'],
  ['status in ("new", "open")', 'values[1]'],
  ['site = 3', 'value'],
  ['photo = "x"', ''],
  ['photo in (null)', ''],
  ['count like "1%"', ''],
  ['day starts with "2026"', ''],
  ['$modifiedOn = "yesterday"', 'value'],
  ['$modifiedOn contains "x"', ''],
  ['$version = 3', 'field'],
  ['toString = 3', 'field'],
  ['name = "x" and (open = true or count = true)', 'all[1].any[1].value'],
])('[FLT-7] %s is refused at %j', (text, path) => {
  const parsed = parseFilter(text);
  if (isLeft(parsed)) throw new Error(parsed.left.message);
  const result = resolveFilter(parsed.right, table);
  expect(isLeft(result) && result.left.map((problem) => problem.path)).toEqual([path]);
});

test('[FLT-7] all problems are listed, without constants', () => {
  const parsed = parseFilter('count = "secret" or nowhere = "secret" or status = "secret"');
  if (isLeft(parsed)) throw new Error(parsed.left.message);
  const result = resolveFilter(parsed.right, table);
  expect(isLeft(result) && result.left.length).toBe(3);
  expect(JSON.stringify(result)).not.toContain('secret');
});

test('[FLT-7] decimals are compared in canonical form', () => {
  expect(passes('price = "012.50"', { 4: '12.5' })).toBe(true);
  expect(passes('price in (12.5, "-0.0")', { 4: '0' })).toBe(true);
});

test.each([
  ['name is null', true],
  ['name is not null', false],
  ['name = "x"', false],
  ['name != "x"', true],
  ['name < "x"', false],
  ['name >= ""', false],
  ['not name >= ""', true],
  ['name in ("x")', false],
  ['name in ("x", null)', true],
  ['name not in ("x")', true],
  ['name not in ("x", null)', false],
  ['name like "%"', false],
  ['name starts with ""', false],
  ['name contains ""', false],
  ['count <= 0', false],
  ['count >= 0', false],
  ['open < true', false],
  ['open != true', true],
  ['price < 1', false],
])('[FLT-8] with null fields, %s is %s', (text, expected) => {
  expect(passes(text, {})).toBe(expected);
  expect(passes(text, { 1: null, 2: null, 3: null, 4: null })).toBe(expected);
});

test.each([
  ['price < 10', { 4: '9.99' }, true],
  ['price < "9007199254740993"', { 4: '9007199254740992.9' }, true],
  ['price < -1.5', { 4: '-1.50001' }, true],
  ['price > -1', { 4: '-0.5' }, true],
  ['price >= "0.1"', { 4: '0.09' }, false],
  ['count < 10', { 2: 9 }, true],
  ['hits > 9', { 10: 10 }, true],
  ['open < true', { 1: false }, true],
  ['open >= true', { 1: false }, false],
  ['day > "2026-09-30"', { 5: '2026-10-01' }, true],
  ['at <= "2026-01-01T00:00:00.000Z"', { 6: '2025-12-31T23:59:59.999Z' }, true],
  ['name < "\u{1f600}"', { 3: '\uffff' }, true],
  ['name < "b"', { 3: 'B' }, true],
  ['note contains "tide"', { 11: 'high tide' }, true],
  ['site starts with "s"', { 8: 's1' }, true],
  ['status = "new"', { 7: 'new' }, true],
  ['photo is not null', { 9: { sha256: '0', bytes: 1, mediaType: 'a/b', name: 'x' } }, true],
])('[FLT-9] %s for %j is %s', (text, fields, expected) => {
  expect(passes(text, fields as unknown as Record<number, Value>)).toBe(expected);
});

test('[FLT-12] meta fields read the facts of the record', () => {
  expect(passes('$id = "r1" and $owner = "u2" and $modifiedBy = "u1"', {})).toBe(true);
  expect(passes('$modifiedOn > 1999 and $createdOn <= "1970-01-01T00:00:01.000Z"', {})).toBe(true);
  const times: readonly (readonly [string, number])[] = [
    ['1969-12-31T23:59:59.999Z', -1],
    ['2000-02-29T12:34:56.789Z', 951_827_696_789],
    ['2100-03-01T00:00:00.000Z', 4_107_542_400_000],
    ['0001-01-01T00:00:00.000Z', -62_135_596_800_000],
  ];
  for (const [text, createdOn] of times) {
    expect(passes(`$createdOn = "${text}"`, {}, { createdOn })).toBe(true);
  }
});

test('[FLT-13] only the top-level conjunction pins a field', () => {
  const filter = resolved(
    'name = "x" and (count > 3 and status = "new") and (site = "s" or site = "t") and not open = true and day is null',
  );
  expect([1, 3, 5, 7, 8].map((id) => equalityKey(filter, id))).toEqual([
    undefined,
    'x',
    null,
    'new',
    undefined,
  ]);
  expect(planIndex(filter, [3, 7, 2])).toEqual({ equals: ['x', 'new'], range: { gt: 3 } });
  expect(planIndex(filter, [8, 3])).toEqual({ equals: [] });
  expect(equalityKey(resolved('$id in ("r1")'), -1)).toBe('r1');
});

test('[FLT-13] the tightest bounds and the prefix of a text make the range', () => {
  expect(indexRange(resolved('count > 3 and count >= 3 and count < 9 and count <= 7'), 2)).toEqual({
    gt: 3,
    lte: 7,
  });
  expect(indexRange(resolved('price > 9 and price >= 10'), 4)).toEqual({ gte: '10' });
  expect(indexRange(resolved('name starts with "ab"'), 3)).toEqual({ gte: 'ab', lt: 'ac' });
  expect(indexRange(resolved('name like "ab_%"'), 3)).toEqual({ gte: 'ab', lt: 'ac' });
  expect(indexRange(resolved('name like "a\ud7ff%"'), 3)).toEqual({
    gte: 'a\ud7ff',
    lt: 'a\ue000',
  });
  expect(indexRange(resolved('name like "a\u{10ffff}%"'), 3)).toEqual({
    gte: 'a\u{10ffff}',
    lt: 'b',
  });
  expect(indexRange(resolved('name like "\u{10ffff}%"'), 3)).toEqual({ gte: '\u{10ffff}' });
  expect(indexRange(resolved('name like "%a" or name > "a"'), 3)).toBeUndefined();
});

test('[FLT-14] the fields read are all that occur, once, without meta fields', () => {
  expect(
    fieldsRead(
      resolved(
        'not (status = "new" or name is null) and $owner = "u" and name != "x" and open in (true)',
      ),
    ),
  ).toEqual([1, 3, 7]);
});
