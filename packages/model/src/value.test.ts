import { illFormedText, text, value, valueOf } from '@tidemark/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  equalValues,
  fieldTypes,
  isCanonicalValue,
  stringLengthMax,
  textLengthMax,
  valueFromJson,
  type FieldType,
  type Value,
} from './value.js';

const sha256 = '0123456789abcdef'.repeat(4);
const attachment = { sha256, bytes: 3, mediaType: 'image/png', name: 'a.png' };

/** Per type: canonical forms, then forms that look right and are not. */
const forms: Readonly<Record<FieldType, readonly [readonly unknown[], readonly unknown[]]>> = {
  boolean: [
    [true, false],
    [0, 1, 'true', null, undefined],
  ],
  number: [
    [0, 1.5, -1, Number.MAX_VALUE],
    [NaN, Infinity, -Infinity, -0, '1', null, 1n],
  ],
  counter: [
    [0, 1.5, -1],
    [NaN, Infinity, -0, '1', null],
  ],
  string: [
    ['', 'a', 'e\u0301', 'x'.repeat(stringLengthMax)],
    [1, null, '\ud800', '\udc00a', 'x'.repeat(stringLengthMax + 1), Object('a')],
  ],
  text: [
    ['', 'x'.repeat(textLengthMax)],
    ['x'.repeat(textLengthMax + 1), '\ud83d', 1],
  ],
  option: [
    ['a', 'x'.repeat(255)],
    ['', 'x'.repeat(256), '\ud800', 1],
  ],
  reference: [
    ['a', '__proto__', 'x'.repeat(255)],
    ['', 'x'.repeat(256), 'é'.repeat(128), 'a\0', '\ud800', 1],
  ],
  decimal: [
    ['0', '1', '-1', '0.5', '-0.5', '10', '12.05', `0.${'0'.repeat(98)}1`, '9'.repeat(100)],
    [
      '',
      '-0',
      '00',
      '01',
      '1.',
      '.5',
      '1.0',
      '-0.0',
      '+1',
      '1e3',
      ' 1',
      '1\n',
      '1,5',
      '9'.repeat(101),
      1,
    ],
  ],
  date: [
    ['2024-02-29', '2000-02-29', '0000-01-01', '9999-12-31'],
    [
      '2023-02-29',
      '1900-02-29',
      '2023-04-31',
      '2023-13-01',
      '2023-00-01',
      '2023-01-00',
      '2023-1-1',
      '23-01-01',
      '2023-01-01T',
      '2023-01-01\n',
    ],
  ],
  datetime: [
    ['2024-02-29T23:59:59.999Z', '2000-01-01T00:00:00.000Z'],
    [
      '2023-02-29T00:00:00.000Z',
      '2024-01-01T24:00:00.000Z',
      '2024-01-01T00:60:00.000Z',
      '2024-01-01T00:00:60.000Z',
      '2024-01-01T00:00:00Z',
      '2024-01-01T00:00:00.00Z',
      '2024-01-01T00:00:00.000+00:00',
      '2024-01-01 00:00:00.000Z',
      '2024-01-01T00:00:00.000z',
    ],
  ],
  attachment: [
    [attachment, { name: '', mediaType: '', bytes: 0, sha256 }],
    [
      { ...attachment, extra: 1 },
      { ...attachment, bytes: -1 },
      { ...attachment, bytes: 1.5 },
      { ...attachment, sha256: sha256.toUpperCase() },
      { ...attachment, name: '\ud800' },
      { ...attachment, mediaType: '\ud800' },
      JSON.parse(`{"__proto__":${JSON.stringify(attachment)}}`),
      Object.create(attachment),
      [],
      null,
    ],
  ],
};

/** Days of a month as a table, apart from the code under test. */
const isInCalendar = (year: number, month: number, day: number): boolean => {
  const leap = year % 400 === 0 || (year % 100 !== 0 && year % 4 === 0);
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0;
  return day >= 1 && day <= days;
};

describe('[MOD-10] the canonical forms of each field type', () => {
  test.each(fieldTypes)('%s', (type) => {
    const [canonical, others] = forms[type];
    for (const one of canonical) expect(isCanonicalValue(type, one), String(one)).toBe(true);
    for (const one of others) expect(isCanonicalValue(type, one), String(one)).toBe(false);
    fc.assert(fc.property(valueOf(type), (one) => isCanonicalValue(type, one)));
  });

  test('numbers and decimals agree on what is one number', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (number) => isCanonicalValue('decimal', String(number))),
    );
  });

  test('dates are those of the calendar', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9999 }),
        fc.integer({ min: 0, max: 13 }),
        fc.integer({ min: 0, max: 32 }),
        (year, month, day) => {
          const pad = (number: number, size: number): string => String(number).padStart(size, '0');
          const date = `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}`;
          expect(isCanonicalValue('date', date), date).toBe(isInCalendar(year, month, day));
        },
      ),
    );
  });
});

test('[MOD-11] texts are compared as given, without normalisation', () => {
  expect(equalValues('é', 'e\u0301')).toBe(false);
  expect(equalValues('1', 1)).toBe(false);
  expect(equalValues(null, '')).toBe(false);
});

test('[MOD-11] values are equal exactly if their encodings are', () => {
  const encoded = (one: Value): string => JSON.stringify(valueFromJson(one));
  fc.assert(
    fc.property(value, value, (a, b) => {
      expect(equalValues(a, b)).toBe(encoded(a) === encoded(b));
      expect(equalValues(a, JSON.parse(JSON.stringify(a)) as Value)).toBe(true);
    }),
  );
});

test('[MOD-11] the order of an attachment as written does not matter', () => {
  const turned = { name: 'a.png', mediaType: 'image/png', bytes: 3, sha256 };
  expect(equalValues(attachment, turned)).toBe(true);
  expect(JSON.stringify(valueFromJson(turned))).toBe(JSON.stringify(attachment));
});

test('[MOD-12] JSON that can be a value of no type is refused', () => {
  const hostile: unknown = JSON.parse('{"__proto__":{"sha256":"","bytes":0,"mediaType":""}}');
  for (const json of [undefined, [], {}, [1], { a: 1 }, -0, NaN, hostile])
    expect(valueFromJson(json)).toBeUndefined();
  fc.assert(
    fc.property(value, (one) => {
      expect(valueFromJson(one)).toEqual(one);
    }),
  );
});

test('[MOD-10] a lone surrogate is in no canonical value', () => {
  const types = fc.constantFrom(...fieldTypes);
  fc.assert(fc.property(types, illFormedText, (type, one) => !isCanonicalValue(type, one)));
  fc.assert(fc.property(text(), (one) => isCanonicalValue('string', one)));
});
