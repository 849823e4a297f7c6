import { isLeft } from '@tidemark/model';
import { expect, test } from 'vitest';
import {
  filterDepthMax,
  filterListMax,
  filterNodesMax,
  filterPatternLengthMax,
  filterStringBytesMax,
  filterTextLengthMax,
  type FilterExpression,
} from './expression.js';
import { decodeFilter } from './decode-filter.js';
import { parseFilter } from './parse-filter.js';
import { printFilter } from './print-filter.js';

const parsed = (text: string): FilterExpression => {
  const result = parseFilter(text);
  if (isLeft(result)) throw new Error(result.left.message);
  return result.right;
};

const problemOf = (text: string) => {
  const result = parseFilter(text);
  if (!isLeft(result)) throw new Error(`parsed: ${text.slice(0, 100)}`);
  return result.left;
};

test('[FLT-1] the example of the documentation parses and prints', () => {
  const text =
    'country = "SK" and population >= 1000 and not (name like "%grad%" or status in ("a", "b")) and owner is null and site = 3';
  expect(printFilter(parsed(text))).toBe(text);
});

test('[FLT-1] not binds tightest, then and, then or; parentheses group', () => {
  const a = { kind: 'compare', field: 'a', operator: '=', value: 1 };
  const b = { kind: 'compare', field: 'b', operator: '=', value: 2 };
  const c = { kind: 'compare', field: 'c', operator: '=', value: 3 };
  expect(parsed('a = 1 or not b = 2 and c = 3')).toEqual({
    kind: 'or',
    any: [a, { kind: 'and', all: [{ kind: 'not', not: b }, c] }],
  });
  expect(parsed('(a = 1 or b = 2) and c = 3')).toEqual({
    kind: 'and',
    all: [{ kind: 'or', any: [a, b] }, c],
  });
  expect(parsed('(a = 1 and b = 2) and c = 3')).toEqual({
    kind: 'and',
    all: [{ kind: 'and', all: [a, b] }, c],
  });
});

test.each([
  ['a <> 1', 'a != 1'],
  ['A = NULL', 'A is null'],
  ['a != null', 'a is not null'],
  ['a NOT IN (null, TRUE,-0)', 'a not in (null, true, 0)'],
  ["a = 'it''s \"x\"'", 'a = "it\'s ""x"""'],
  ['[a ]] b]=1e3', '[a ]] b] = 1000'],
  ['[and] = 1', '[and] = 1'],
  ['contains CONTAINS "x"', 'contains contains "x"'],
  ['starts Starts With "x"', 'starts starts with "x"'],
  ['((($id = "x")))', '$id = "x"'],
  ['a\n<=\t-1.5', 'a <= -1.5'],
  ['a like "100\\%"', 'a like "100\\%"'],
])('[FLT-1] %s means %s', (text, printed) => {
  expect(printFilter(parsed(text))).toBe(printed);
});

test.each([
  ['', 0, 'a field, not or ('],
  ['a', 1, 'an operator'],
  ['a =', 3, 'a constant'],
  ['a = 1 b', 6, 'and, or, or the end'],
  ['a < null', 4, 'a constant other than null'],
  ['a in ()', 6, 'a constant'],
  ['a in (1', 7, ', or )'],
  ['(a = 1', 6, 'and, or, or )'],
  ['a is 3', 5, 'null or not null'],
  ['a not like "x"', 6, 'in'],
  ['a starts "x"', 9, 'with'],
  ['a [contains] "x"', 2, 'an operator'],
  ['a like 3', 7, 'a text'],
  ['"a" = 1', 0, 'a field, not or ('],
  ['a = "secret', 11, 'a closing "'],
  ['a = ;', 4, 'a field, an operator or a constant'],
  ['a and b', 2, 'an operator'],
])('[FLT-2] %j fails at %d expecting %s', (text, position, expected) => {
  expect(problemOf(text)).toMatchObject({ position, expected });
});

test('[FLT-2] problems do not repeat constants', () => {
  for (const text of ['a = "secret" "secret"', 'a like 4711', 'a = 4711 4711', '"secret" = 1']) {
    expect(problemOf(text).message).not.toMatch(/secret|4711/);
  }
});

const nested = (levels: number): string => `${'not '.repeat(levels - 1)}a = 1`;
const many = (conditions: number): string => Array(conditions).fill('a=1').join(' and ');
const list = (count: number): string => `a in (${Array(count).fill('1').join(',')})`;

test.each([
  ['depth by not', nested(filterDepthMax), nested(filterDepthMax + 1)],
  [
    'depth by parentheses',
    `${'('.repeat(31)}a=1${')'.repeat(31)}`,
    `${'('.repeat(32)}a=1${')'.repeat(32)}`,
  ],
  ['nodes', many(filterNodesMax - 1), many(filterNodesMax)],
  ['list', list(filterListMax), list(filterListMax + 1)],
  [
    'string bytes',
    `a="${'é'.repeat(filterStringBytesMax / 2)}"`,
    `a="${'é'.repeat(filterStringBytesMax / 2)}x"`,
  ],
  [
    'pattern',
    `a like "${'x'.repeat(filterPatternLengthMax)}"`,
    `a like "${'x'.repeat(filterPatternLengthMax + 1)}"`,
  ],
  [
    'contains',
    `a contains "${'x'.repeat(filterPatternLengthMax)}"`,
    `a contains "${'x'.repeat(filterPatternLengthMax + 1)}"`,
  ],
  [
    'text',
    `a = 1${' '.repeat(filterTextLengthMax - 5)}`,
    `a = 1${' '.repeat(filterTextLengthMax - 4)}`,
  ],
])('[FLT-3] the bound of %s holds, one more is refused', (_name, within, over) => {
  parsed(within);
  problemOf(over);
});

test('[FLT-3] a hostile text ends quickly and in a problem', () => {
  for (const text of [
    '('.repeat(60_000),
    'not '.repeat(16_000),
    '['.repeat(60_000),
    '"'.repeat(60_001),
    '-'.repeat(60_000),
  ]) {
    problemOf(text);
  }
});

test('[FLT-3] JSON has the same bounds as text', () => {
  const leaf: FilterExpression = { kind: 'null', field: 'a', negated: false };
  let deep: FilterExpression = leaf;
  for (let i = 1; i < filterDepthMax; i += 1) deep = { kind: 'not', not: deep };
  expect(isLeft(decodeFilter(deep))).toBe(false);
  expect(isLeft(decodeFilter({ kind: 'not', not: deep }))).toBe(true);
  const wide = (nodes: number) => ({ kind: 'or', any: Array(nodes - 1).fill(leaf) });
  expect(isLeft(decodeFilter(wide(filterNodesMax)))).toBe(false);
  expect(isLeft(decodeFilter(wide(filterNodesMax + 1)))).toBe(true);
  const listOf = (values: unknown[]) => ({ kind: 'in', field: 'a', negated: false, values });
  expect(isLeft(decodeFilter(listOf(Array(filterListMax).fill(1))))).toBe(false);
  expect(isLeft(decodeFilter(listOf(Array(filterListMax + 1).fill(1))))).toBe(true);
  expect(isLeft(decodeFilter(listOf(Array(filterListMax).fill('x'.repeat(100)))))).toBe(true);
  let cyclic: unknown = leaf;
  for (let i = 0; i < 100_000; i += 1) cyclic = { kind: 'not', not: cyclic };
  expect(isLeft(decodeFilter(cyclic))).toBe(true);
  const bad = { kind: 'or', any: Array(400).fill(3) };
  const result = decodeFilter(bad);
  expect(isLeft(result) && result.left.length).toBe(20);
});

test.each([
  [null],
  [[]],
  ['a = 1'],
  [{}],
  [{ kind: 'toString' }],
  [{ kind: 'and', all: [] }],
  [{ kind: 'and', all: [{ kind: 'null', field: 'a', negated: false }] }],
  [{ kind: 'null', field: 'a' }],
  [{ kind: 'null', field: 'a', negated: 0 }],
  [{ kind: 'null', field: '', negated: false }],
  [{ kind: 'null', field: 'a', negated: false, more: 1 }],
  [{ kind: 'compare', field: 'a', operator: '==', value: 1 }],
  [{ kind: 'compare', field: 'a', operator: '=', value: null }],
  [{ kind: 'compare', field: 'a', operator: '=', value: Number.NaN }],
  [{ kind: 'compare', field: 'a', operator: '=', value: { a: 1 } }],
  [{ kind: 'compare', field: 'a', operator: '=', value: '\ud800' }],
  [{ kind: 'in', field: 'a', negated: false, values: [] }],
  [{ kind: 'in', field: 'a', negated: false, values: [[1]] }],
  [{ kind: 'like', field: 'a', text: '\\x' }],
  [{ kind: 'like', field: 'a', text: 3 }],
  [JSON.parse('{"__proto__": {"kind": "null", "field": "a", "negated": false}}') as unknown],
  [Object.create({ kind: 'null', field: 'a', negated: false }) as unknown],
  [Object.assign(Object.create({ negated: false }) as object, { kind: 'null', field: 'a', x: 1 })],
])('[FLT-5] decode refuses %j', (json) => {
  expect(isLeft(decodeFilter(json))).toBe(true);
});

test('[FLT-5] decode builds a fresh value, turns -0 into 0 and names the path of a problem', () => {
  const json = {
    kind: 'not',
    not: { kind: 'in', field: '__proto__', negated: true, values: [-0, null] },
  };
  const result = decodeFilter(json);
  if (isLeft(result)) throw new Error('refused');
  expect(result.right).toStrictEqual({
    kind: 'not',
    not: { kind: 'in', field: '__proto__', negated: true, values: [0, null] },
  });
  expect(result.right).not.toBe(json);
  expect(decodeFilter({ kind: 'not', not: { ...json.not, values: [1, {}] } })).toEqual({
    _tag: 'Left',
    left: [{ path: 'not.values[1]', message: 'expected a constant' }],
  });
});

test('[FLT-6] numbers keep their digits or are refused', () => {
  for (const text of [
    '0',
    '-0',
    '12.50',
    '0.1',
    '1e21',
    '1E-7',
    '123456789012345',
    '9007199254740993e0',
  ]) {
    const refused = text === '9007199254740993e0';
    expect([text, isLeft(parseFilter(`a = ${text}`))]).toEqual([text, refused]);
  }
  problemOf('a = 1e999');
  problemOf('a = 1e-999');
  problemOf('a = 1.00000000000000000001');
  expect(parsed('a = 12.50')).toMatchObject({ value: 12.5 });
});

test('[FLT-6] minus zero in text is zero, the canonical form', () => {
  expect(parsed('a = -0.0')).toStrictEqual({
    kind: 'compare',
    field: 'a',
    operator: '=',
    value: 0,
  });
});
