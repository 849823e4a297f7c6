import { describe, expect, test } from 'vitest';
import { isCanonicalValue, type FieldDefinition, type FieldType } from '@tidemark/model';
import { canonicalDecimal, canonicalInstant, valueFromText } from './value-text.js';

const fieldOf = (type: FieldType): FieldDefinition => ({ id: 1, name: 'f', type });

describe('values from texts', () => {
  test.each([
    ['1.50', '1.5'],
    ['007', '7'],
    ['-0.0', '0'],
    ['+3', '3'],
    ['0.0010', '0.001'],
    ['12345678901234567890.10', '12345678901234567890.1'],
  ])('[CLI-10] the decimal %s is %s', (text, canonical) => {
    expect(canonicalDecimal(text)).toBe(canonical);
    expect(isCanonicalValue('decimal', canonical)).toBe(true);
  });

  test.each([
    ['2026-01-02T03:04:05Z', '2026-01-02T03:04:05.000Z'],
    ['2026-01-02 03:04+01:00', '2026-01-02T02:04:00.000Z'],
    ['2026-01-02T03:04:05.6789Z', '2026-01-02T03:04:05.678Z'],
    // Without a zone it could be any time.
    ['2026-01-02T03:04:05', '2026-01-02T03:04:05'],
    ['2024-02-29T23:59:59Z', '2024-02-29T23:59:59.000Z'],
    // There is no such day: it must not become the next one.
    ['2024-02-30T00:00:00Z', '2024-02-30T00:00:00Z'],
    ['2023-02-29T00:00:00.000Z', '2023-02-29T00:00:00.000Z'],
    ['2023-04-31 10:00+02:00', '2023-04-31 10:00+02:00'],
  ])('[CLI-10] the instant %s is %s', (text, canonical) => {
    expect(canonicalInstant(text)).toBe(canonical);
  });

  test('[CLI-10] what is no value stays a text, which the check then refuses', () => {
    for (const [type, text] of [
      ['number', '1,5'],
      ['number', 'Infinity'],
      ['counter', ' '],
      ['boolean', 'yes'],
      ['decimal', '1e5'],
      ['date', '2026-02-30'],
      ['datetime', '2024-02-30T00:00:00.000Z'],
      ['datetime', '2023-02-29 00:00Z'],
      ['attachment', '{'],
    ] as const)
      expect(isCanonicalValue(type, valueFromText(fieldOf(type), text))).toBe(false);
    expect(valueFromText(fieldOf('number'), '-0')).toBe(0);
    expect(valueFromText(fieldOf('boolean'), '1')).toBe(true);
    expect(valueFromText(fieldOf('string'), ' x ')).toBe(' x ');
  });
});
