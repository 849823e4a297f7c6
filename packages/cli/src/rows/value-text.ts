import type { FieldDefinition, Value } from '@tidemark/model';

const decimalPattern = /^([+-]?)(\d+)(?:\.(\d*))?$/;
const zonedPattern =
  /^(\d{4})-(\d{2})-(\d{2})[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/;

/** Decimal in its canonical form; as it was when it is none. */
export const canonicalDecimal = (text: string): string => {
  const match = decimalPattern.exec(text);
  if (match === null) return text;
  const whole = (match[2] ?? '').replace(/^0+(?=\d)/, '');
  const part = (match[3] ?? '').replace(/0+$/, '');
  const digits = part === '' ? whole : `${whole}.${part}`;
  return match[1] === '-' && digits !== '0' ? `-${digits}` : digits;
};

/** Whether a month has the day: the parser of dates takes the 30th of February for the 1st of March. */
const isDay = (year: number, month: number, day: number): boolean => {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
};

/**
 * Instant in its canonical form (UTC, milliseconds); as it was when its zone or anything else is missing, or
 * when there is no such day.
 */
export const canonicalInstant = (text: string): string => {
  const [, year, month, day] = zonedPattern.exec(text) ?? [];
  if (!isDay(Number(year), Number(month), Number(day))) return text;
  const ms = Date.parse(text.replace(' ', 'T'));
  return Number.isNaN(ms) ? text : new Date(ms).toISOString();
};

const numberOf = (text: string): Value => {
  const trimmed = text.trim();
  if (trimmed === '') return text;
  const number = Number(trimmed);
  if (!Number.isFinite(number)) return text;
  return number === 0 ? 0 : number;
};

const attachmentOf = (text: string): Value => {
  try {
    return JSON.parse(text) as Value;
  } catch {
    return text;
  }
};

/**
 * Value of a field from its text in a CSV cell or on the command line. A text that is none stays as it is:
 * the check of the value that follows says what is wrong with it.
 */
export const valueFromText = (field: FieldDefinition, text: string): Value => {
  switch (field.type) {
    case 'number':
    case 'counter':
      return numberOf(text);
    case 'boolean':
      if (text === 'true' || text === '1') return true;
      return text === 'false' || text === '0' ? false : text;
    case 'decimal':
      return canonicalDecimal(text.trim());
    case 'datetime':
      return canonicalInstant(text.trim());
    case 'date':
      return text.trim();
    case 'attachment':
      return attachmentOf(text);
    case 'string':
    case 'option':
    case 'reference':
    case 'text':
      return text;
  }
};

/** Value of a field from JSON: decimals and instants may be written in other ways than the canonical one. */
export const valueFromPlainJson = (field: FieldDefinition, json: unknown): unknown => {
  if (typeof json !== 'string') return json;
  if (field.type === 'decimal') return canonicalDecimal(json);
  return field.type === 'datetime' ? canonicalInstant(json) : json;
};

/** Text of a value in a CSV cell; null stays null, which is an empty cell without quotes. */
export const textFromValue = (value: Value): string | null => {
  if (value === null || typeof value === 'string') return value;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
};
