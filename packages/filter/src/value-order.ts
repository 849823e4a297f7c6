/** Order of the values of a field: text by code point, decimals and numbers by size, false before true. */
export type ValueOrder = 'boolean' | 'number' | 'text' | 'decimal';

/**
 * Orders two texts by code point, which is the byte order of their UTF-8 forms.
 *
 * Surrogates are moved above the other units, so that comparing units gives the order of code points.
 */
export const compareTexts = (a: string, b: string): number => {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i += 1) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return raised(x) - raised(y);
  }
  return a.length - b.length;
};

const raised = (unit: number): number =>
  unit < 0xd800 ? unit : unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;

/** Orders two canonical decimals by size, exactly, on their texts. */
export const compareDecimals = (a: string, b: string): number => {
  const negative = a.startsWith('-');
  if (negative !== b.startsWith('-')) return negative ? -1 : 1;
  return negative ? compareMagnitudes(b.slice(1), a.slice(1)) : compareMagnitudes(a, b);
};

const compareMagnitudes = (a: string, b: string): number => {
  const aInteger = integerLength(a);
  const bInteger = integerLength(b);
  // Canonical integers have no leading zeros, so the longer is the greater; else digits decide, and
  // a fraction that goes on after equal digits is the greater since it does not end in zero.
  return aInteger !== bInteger ? aInteger - bInteger : compareTexts(a, b);
};

const integerLength = (text: string): number => {
  const dot = text.indexOf('.');
  return dot < 0 ? text.length : dot;
};

/** Canonical form of a plain decimal text (`12.50` becomes `12.5`); `undefined` when it is not one. */
export const canonicalDecimal = (text: string): string | undefined => {
  const match = text.length > 200 ? null : /^(-?)0*(\d+)(?:\.(\d+))?$/.exec(text);
  if (match === null) return undefined;
  const fraction = (match[3] ?? '').replace(/0+$/, '');
  const magnitude = fraction === '' ? (match[2] as string) : `${match[2]}.${fraction}`;
  return magnitude === '0' ? '0' : `${match[1]}${magnitude}`;
};

/** Orders two values of the given order; 0 for values that are not of its type. */
export const compareOrdered = (
  order: ValueOrder,
  a: boolean | number | string,
  b: boolean | number | string,
): number => {
  if (typeof a === 'string' && typeof b === 'string') {
    return order === 'decimal' ? compareDecimals(a, b) : compareTexts(a, b);
  }
  return Number(a) - Number(b);
};
