/**
 * Properties: parse inverts print; decode keeps what it lets through; the compiled filter agrees with a
 * naive evaluator; the like matcher agrees with a recursive one; orders are orders and agree with exact
 * arithmetic and UTF-8 bytes; plans and pins cover every record that passes; fields not read do not matter.
 */
import {
  compareBytes,
  isLeft,
  utf8Encode,
  type TableDefinition,
  type Value,
} from '@tidemark/model';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compileFilter, type FilterInput } from './compile-filter.js';
import { decodeFilter } from './decode-filter.js';
import type { FilterExpression, FilterLiteral } from './expression.js';
import { compileLike, isLikePattern } from './like-pattern.js';
import { parseFilter } from './parse-filter.js';
import { equalityKey, fieldsRead, planIndex, type IndexRange } from './plan-index.js';
import { printFilter } from './print-filter.js';
import { resolveFilter, type ResolvedFilter } from './resolve-filter.js';
import { canonicalDecimal, compareDecimals, compareTexts } from './value-order.js';

const table: TableDefinition = {
  id: 1,
  name: 'things',
  rule: 'server-wins',
  onDelete: 'edit-wins',
  indexes: [],
  fields: [
    { id: 1, name: 'flag', type: 'boolean' },
    { id: 2, name: 'size', type: 'number' },
    { id: 3, name: 'name', type: 'string' },
    { id: 4, name: 'price', type: 'decimal' },
  ],
};

// Small domains, so that constants meet values often.
const character = fc.constantFrom('a', 'b', '%', '_', '\\', '\ue000', '\u{1f600}', '\u{10ffff}');
const shortText = fc.string({ unit: character, maxLength: 5 });
const size = fc.constantFrom(-1.5, -1, 0, 1, 2, 10);
const price = fc.constantFrom('-10', '-9.5', '-0.05', '0', '0.05', '0.5', '9', '9.75', '10', '100');
const pattern = shortText.filter(isLikePattern);

const literalOf: Readonly<Record<string, fc.Arbitrary<boolean | number | string>>> = {
  flag: fc.boolean(),
  size,
  name: shortText,
  price,
  $owner: shortText,
};
const fieldName = fc.constantFrom('flag', 'size', 'name', 'price', '$owner');
const operator = fc.constantFrom('=', '!=', '<', '<=', '>', '>=');

const condition: fc.Arbitrary<FilterExpression> = fieldName.chain((field) => {
  const literal = literalOf[field] ?? fc.constant('');
  const list = fc.array(fc.oneof(literal, fc.constant(null)), { minLength: 1, maxLength: 3 });
  const kinds: fc.Arbitrary<FilterExpression>[] = [
    fc.record({
      kind: fc.constant('compare'),
      field: fc.constant(field),
      operator,
      value: literal,
    }),
    fc.record({
      kind: fc.constant('in'),
      field: fc.constant(field),
      negated: fc.boolean(),
      values: list,
    }),
    fc.record({ kind: fc.constant('null'), field: fc.constant(field), negated: fc.boolean() }),
  ];
  if (field === 'name' || field === '$owner') {
    kinds.push(
      fc.record({ kind: fc.constant('like'), field: fc.constant(field), text: pattern }),
      fc.record({
        kind: fc.constantFrom('starts-with', 'contains'),
        field: fc.constant(field),
        text: shortText,
      }),
    );
  }
  return fc.oneof(...kinds);
});

const tree = (leaf: fc.Arbitrary<FilterExpression>): fc.Arbitrary<FilterExpression> =>
  fc.letrec<{ node: FilterExpression }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      { weight: 3, arbitrary: leaf },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('and'),
          all: fc.array(tie('node'), { minLength: 2, maxLength: 4 }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('or'),
          any: fc.array(tie('node'), { minLength: 2, maxLength: 3 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('not'), not: tie('node') }) },
    ),
  })).node;

const filter = tree(condition);

// Any names and constants, also hostile ones: for the laws of text and JSON.
const anyName = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
  fc.constantFrom('and', 'NOT', 'null', '__proto__', 'a]b', '[', '$id', 'contains', 'a"b', ' '),
);
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('"', "'", '""', '\n', '\\', '--', ' and '),
);
const anyNumber = fc
  .double({ noNaN: true, noDefaultInfinity: true })
  .map((value) => (value === 0 ? 0 : value));
const anyLiteral: fc.Arbitrary<boolean | number | string> = fc.oneof(
  fc.boolean(),
  anyNumber,
  anyText,
);
const anyCondition: fc.Arbitrary<FilterExpression> = fc.oneof(
  fc.record({ kind: fc.constant('compare'), field: anyName, operator, value: anyLiteral }),
  fc.record({
    kind: fc.constant('in'),
    field: anyName,
    negated: fc.boolean(),
    values: fc.array(fc.option(anyLiteral), { minLength: 1, maxLength: 4 }),
  }),
  fc.record({ kind: fc.constant('null'), field: anyName, negated: fc.boolean() }),
  fc.record({ kind: fc.constant('like'), field: anyName, text: anyText.filter(isLikePattern) }),
  fc.record({ kind: fc.constantFrom('starts-with', 'contains'), field: anyName, text: anyText }),
);

const record: fc.Arbitrary<FilterInput> = fc
  .record({
    flag: fc.option(fc.boolean()),
    size: fc.option(size),
    name: fc.option(shortText),
    price: fc.option(price),
    owner: shortText,
  })
  .map(({ flag, size: width, name, price: cost, owner }) => ({
    id: 'r',
    fields: { 1: flag, 2: width, 3: name, 4: cost },
    modifiedOn: 1,
    createdOn: 1,
    modifiedBy: 'u',
    owner,
  }));

const resolved = (expression: FilterExpression): ResolvedFilter => {
  const result = resolveFilter(expression, table);
  if (isLeft(result)) throw new Error(JSON.stringify(result.left));
  return result.right;
};

test('[FLT-4] parse inverts print, and decode lets exactly that through', () => {
  fc.assert(
    fc.property(tree(anyCondition), (expression) => {
      expect(decodeFilter(JSON.parse(JSON.stringify(expression)))).toEqual({
        _tag: 'Right',
        right: expression,
      });
      expect(parseFilter(printFilter(expression))).toEqual({ _tag: 'Right', right: expression });
    }),
  );
});

test('[FLT-2] any text either parses or is answered with a position within it', () => {
  const piece = fc.constantFrom(
    'a',
    ' and ',
    ' or ',
    'not ',
    '(',
    ')',
    '=',
    '<',
    ' in ',
    '1',
    '-',
    '"x"',
    "'",
    '[',
    ']',
    ' is ',
    'null',
    ',',
    ' like ',
    ';',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('');
      const result = parseFilter(text);
      if (isLeft(result)) {
        expect(result.left.position).toBeGreaterThanOrEqual(0);
        expect(result.left.position).toBeLessThanOrEqual(text.length);
      } else expect(parseFilter(printFilter(result.right))).toEqual(result);
    }),
  );
});

/** Expression read literally, with exact decimals as scaled integers and texts as UTF-8 bytes. */
const naive = (node: FilterExpression, input: FilterInput): boolean => {
  switch (node.kind) {
    case 'and':
      return node.all.every((member) => naive(member, input));
    case 'or':
      return node.any.some((member) => naive(member, input));
    case 'not':
      return !naive(node.not, input);
    case 'null':
      return (valueOf(node.field, input) === null) === !node.negated;
    case 'in':
      return node.values.some((value) => value === valueOf(node.field, input)) === !node.negated;
    case 'compare':
      return naiveCompare(node.field, node.operator, valueOf(node.field, input), node.value);
    default: {
      const value = valueOf(node.field, input);
      if (typeof value !== 'string') return false;
      if (node.kind === 'like') return naiveLike([...value], [...node.text]);
      return node.kind === 'contains'
        ? value.split(node.text).length > 1 || node.text === ''
        : value.slice(0, node.text.length) === node.text;
    }
  }
};

const valueOf = (field: string, input: FilterInput): Value => {
  if (field === '$owner') return input.owner;
  const definition = table.fields.find(({ name }) => name === field);
  return definition === undefined ? null : (input.fields[definition.id] ?? null);
};

const scaled = (decimal: string): bigint => {
  const [integer = '', fraction = ''] = decimal.split('.');
  return BigInt(integer + fraction.padEnd(30, '0'));
};

const signOf = (field: string, a: Value, b: FilterLiteral): number => {
  if (field === 'price' && typeof a === 'string') {
    const difference = scaled(a) - scaled(String(b));
    return difference < 0n ? -1 : difference > 0n ? 1 : 0;
  }
  return typeof a === 'string'
    ? compareBytes(utf8Encode(a), utf8Encode(String(b)))
    : Number(a) - Number(b);
};

const naiveCompare = (field: string, sign: string, a: Value, b: FilterLiteral): boolean => {
  if (a === null) return sign === '!=';
  const order = signOf(field, a, b);
  return (
    (order < 0 && ['<', '<=', '!='].includes(sign)) ||
    (order === 0 && ['=', '<=', '>='].includes(sign)) ||
    (order > 0 && ['>', '>=', '!='].includes(sign))
  );
};

const naiveLike = (text: readonly string[], points: readonly string[]): boolean => {
  const [first, ...rest] = points;
  if (first === undefined) return text.length === 0;
  if (first === '%')
    return naiveLike(text, rest) || (text.length > 0 && naiveLike(text.slice(1), points));
  if (text.length === 0) return false;
  if (first === '_') return naiveLike(text.slice(1), rest);
  const [wanted, after] = first === '\\' ? [rest[0], rest.slice(1)] : [first, rest];
  return text[0] === wanted && naiveLike(text.slice(1), after);
};

test('[FLT-11] the compiled filter agrees with a naive evaluator', () => {
  fc.assert(
    fc.property(
      filter,
      fc.array(record, { minLength: 1, maxLength: 20 }),
      (expression, records) => {
        const predicate = compileFilter(resolved(expression));
        expect(records.map(predicate)).toEqual(records.map((one) => naive(expression, one)));
      },
    ),
  );
});

test('[FLT-10] the like matcher agrees with a recursive one', () => {
  const point = fc.constantFrom('a', 'b', '%', '_', '\\%', '\\\\', '\u{1f600}');
  fc.assert(
    fc.property(
      fc.array(point, { maxLength: 8 }).map((points) => points.join('')),
      fc.array(
        fc.string({ unit: fc.constantFrom('a', 'b', '%', '\\', '\u{1f600}'), maxLength: 10 }),
        { minLength: 10, maxLength: 10 },
      ),
      (like, texts) => {
        const matches = compileLike(like);
        expect(texts.map(matches)).toEqual(texts.map((text) => naiveLike([...text], [...like])));
      },
    ),
  );
});

test('[FLT-9] text order is the order of UTF-8 bytes', () => {
  const text = fc.string({
    unit: fc.oneof(character, fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })),
    maxLength: 6,
  });
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareTexts(a, b))).toBe(
        Math.sign(compareBytes(utf8Encode(a), utf8Encode(b))),
      );
    }),
  );
});

test('[FLT-9] decimal order is exact', () => {
  const decimal = fc
    .tuple(fc.boolean(), fc.bigInt(0n, 10n ** 25n), fc.integer({ min: 0, max: 25 }))
    .map(([negative, digits, places]) => {
      const text = String(digits).padStart(places + 1, '0');
      const plain = places === 0 ? text : `${text.slice(0, -places)}.${text.slice(-places)}`;
      return canonicalDecimal(`${negative ? '-' : ''}${plain}`) ?? 'not a decimal';
    });
  const exact = (text: string): bigint =>
    text.startsWith('-') ? -scaled(text.slice(1)) : scaled(text);
  fc.assert(
    fc.property(decimal, decimal, (a, b) => {
      const difference = exact(a) - exact(b);
      expect(Math.sign(compareDecimals(a, b))).toBe(difference < 0n ? -1 : difference > 0n ? 1 : 0);
    }),
  );
});

const within = (range: IndexRange, field: string, value: Value): boolean =>
  (range.gt === undefined || naiveCompare(field, '>', value, range.gt)) &&
  (range.gte === undefined || naiveCompare(field, '>=', value, range.gte)) &&
  (range.lt === undefined || naiveCompare(field, '<', value, range.lt)) &&
  (range.lte === undefined || naiveCompare(field, '<=', value, range.lte));

test('[FLT-13] every record that passes lies within the plan and has the pinned values', () => {
  let narrowed = 0;
  let passed = 0;
  const conjunction: fc.Arbitrary<FilterExpression> = fc.oneof(
    filter,
    fc.record({
      kind: fc.constant('and'),
      all: fc.array(condition, { minLength: 2, maxLength: 4 }),
    }),
  );
  fc.assert(
    fc.property(
      conjunction,
      fc.shuffledSubarray([1, 2, 3, 4], { minLength: 1 }),
      fc.array(record, { minLength: 1, maxLength: 30 }),
      (expression, indexFields, records) => {
        const bound = resolved(expression);
        const plan = planIndex(bound, indexFields);
        if (plan.equals.length > 0 || plan.range !== undefined) narrowed += 1;
        for (const one of records.filter(compileFilter(bound))) {
          passed += 1;
          plan.equals.forEach((value, i) => {
            expect(one.fields[indexFields[i] as number]).toBe(value);
          });
          const ranged = table.fields.find(({ id }) => id === indexFields[plan.equals.length]);
          if (plan.range !== undefined && ranged !== undefined) {
            expect(within(plan.range, ranged.name, one.fields[ranged.id] ?? null)).toBe(true);
          }
          for (const { id } of table.fields) {
            const pin = equalityKey(bound, id);
            if (pin !== undefined) expect(one.fields[id]).toBe(pin);
          }
        }
      },
    ),
  );
  // The property says nothing unless plans were made and records passed.
  expect(narrowed).toBeGreaterThan(0);
  expect(passed).toBeGreaterThan(0);
});

test('[FLT-14] fields that are not read do not matter', () => {
  fc.assert(
    fc.property(filter, record, record, (expression, one, other) => {
      const bound = resolved(expression);
      const read = new Set(fieldsRead(bound));
      const fields = Object.fromEntries(
        table.fields.map(({ id }) => [id, (read.has(id) ? one : other).fields[id] ?? null]),
      );
      const predicate = compileFilter(bound);
      expect(predicate({ ...one, fields })).toBe(predicate(one));
    }),
  );
});
