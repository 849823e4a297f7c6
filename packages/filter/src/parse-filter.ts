import { isLeft, left, right, type Result } from '@tidemark/model';
import { nameProblem, patternProblem, sizeProblem, textProblem } from './bounds.js';
import {
  filterDepthMax,
  filterListMax,
  filterTextLengthMax,
  type ComparisonOperator,
  type FilterExpression,
  type FilterLiteral,
} from './expression.js';
import type { FilterProblem } from './problem.js';
import { expectedAt, tokenize, type Token } from './token.js';

/**
 * Parses filter text. The failure tells the position and what was expected there; nothing throws.
 *
 * `not` binds tightest, then `and`, then `or`. Linear in the text, within the stated bounds.
 */
export const parseFilter = (text: string): Result<FilterProblem, FilterExpression> => {
  if (text.length > filterTextLengthMax) {
    return left(
      boundProblem(filterTextLengthMax, `filter text exceeds ${filterTextLengthMax} characters`),
    );
  }
  const tokens = tokenize(text);
  if (isLeft(tokens)) return tokens;
  try {
    const reader = new TokenReader(tokens.right);
    const expression = readOr(reader, 1);
    if (reader.next.kind !== 'end') reader.fail('and, or, or the end');
    const problem = sizeProblem(expression);
    return problem === undefined ? right(expression) : left(boundProblem(0, problem));
  } catch (thrown) {
    if (thrown instanceof ParseStop) return left(thrown.problem);
    throw thrown;
  }
};

const boundProblem = (position: number, message: string): FilterProblem => ({
  path: '',
  position,
  message,
});

/** Carries the problem out of the recursive descent; it never leaves this file. */
class ParseStop extends Error {
  readonly problem: FilterProblem;

  constructor(problem: FilterProblem) {
    super(problem.message);
    this.problem = problem;
  }
}

class TokenReader {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get next(): Token {
    return this.#tokens[this.#at] as Token;
  }

  /** Takes the next token, but stays on the end. */
  take(): Token {
    const token = this.next;
    if (token.kind !== 'end') this.#at += 1;
    return token;
  }

  /** Takes the next token if it is this symbol or keyword. */
  takes(kind: 'symbol' | 'keyword', text: string): boolean {
    const hit = this.next.kind === kind && this.next.text === text;
    if (hit) this.#at += 1;
    return hit;
  }

  fail(expected: string): never {
    const { kind, position, text } = this.next;
    // Only symbols and keywords are shown: anything else may be private data.
    const found =
      kind === 'end' ? 'the end' : kind === 'symbol' || kind === 'keyword' ? text : `a ${kind}`;
    throw new ParseStop(expectedAt(position, expected, found));
  }

  stopAt(position: number, problem: string | undefined): void {
    if (problem !== undefined)
      throw new ParseStop(boundProblem(position, `at ${position}: ${problem}`));
  }
}

const readOr = (reader: TokenReader, depth: number): FilterExpression => {
  const any = [readAnd(reader, depth)];
  while (reader.takes('keyword', 'or')) any.push(readAnd(reader, depth));
  return any.length === 1 ? (any[0] as FilterExpression) : { kind: 'or', any };
};

const readAnd = (reader: TokenReader, depth: number): FilterExpression => {
  const all = [readNot(reader, depth)];
  while (reader.takes('keyword', 'and')) all.push(readNot(reader, depth));
  return all.length === 1 ? (all[0] as FilterExpression) : { kind: 'and', all };
};

const readNot = (reader: TokenReader, depth: number): FilterExpression => {
  const { position } = reader.next;
  if (depth > filterDepthMax)
    reader.stopAt(position, `filter is nested deeper than ${filterDepthMax}`);
  if (reader.takes('keyword', 'not')) return { kind: 'not', not: readNot(reader, depth + 1) };
  if (!reader.takes('symbol', '(')) return readCondition(reader);
  const inner = readOr(reader, depth + 1);
  if (!reader.takes('symbol', ')')) reader.fail('and, or, or )');
  return inner;
};

const comparisons: ReadonlySet<string> = new Set(['=', '!=', '<', '<=', '>', '>=']);

const readCondition = (reader: TokenReader): FilterExpression => {
  const { kind, text: field, position } = reader.next;
  if (kind !== 'word' && kind !== 'name') reader.fail('a field, not or (');
  reader.take();
  reader.stopAt(position, nameProblem(field));
  if (reader.takes('keyword', 'is')) {
    const negated = reader.takes('keyword', 'not');
    if (!reader.takes('keyword', 'null')) reader.fail(negated ? 'null' : 'null or not null');
    return { kind: 'null', field, negated };
  }
  if (reader.takes('keyword', 'in')) return readList(reader, field, false);
  if (reader.takes('keyword', 'not')) {
    if (!reader.takes('keyword', 'in')) reader.fail('in');
    return readList(reader, field, true);
  }
  if (reader.takes('keyword', 'like')) return readPattern(reader, 'like', field);
  if (takesWord(reader, 'contains')) return readPattern(reader, 'contains', field);
  if (takesWord(reader, 'starts')) {
    if (!takesWord(reader, 'with')) reader.fail('with');
    return readPattern(reader, 'starts-with', field);
  }
  const { kind: operatorKind, text } = reader.next;
  if (operatorKind !== 'symbol' || !comparisons.has(text)) reader.fail('an operator');
  reader.take();
  return compareWith(reader, field, text as ComparisonOperator);
};

const compareWith = (
  reader: TokenReader,
  field: string,
  operator: ComparisonOperator,
): FilterExpression => {
  if (
    reader.next.kind === 'keyword' &&
    reader.next.text === 'null' &&
    operator !== '=' &&
    operator !== '!='
  ) {
    reader.fail('a constant other than null');
  }
  const value = readLiteral(reader);
  return value === null
    ? { kind: 'null', field, negated: operator === '!=' }
    : { kind: 'compare', field, operator, value };
};

/** `starts`, `with` and `contains` are words only in the place of an operator: fields may have these names. */
const takesWord = (reader: TokenReader, word: string): boolean => {
  const { kind, text } = reader.next;
  const hit = kind === 'word' && text.toLowerCase() === word;
  if (hit) reader.take();
  return hit;
};

const readPattern = (
  reader: TokenReader,
  kind: 'like' | 'contains' | 'starts-with',
  field: string,
): FilterExpression => {
  const token = reader.next;
  if (token.kind !== 'string') reader.fail('a text');
  reader.take();
  reader.stopAt(token.position, patternProblem(kind, token.text));
  return { kind, field, text: token.text };
};

const readList = (reader: TokenReader, field: string, negated: boolean): FilterExpression => {
  if (!reader.takes('symbol', '(')) reader.fail('(');
  const values: FilterLiteral[] = [];
  do {
    if (values.length === filterListMax) {
      reader.stopAt(reader.next.position, `list has more than ${filterListMax} constants`);
    }
    values.push(readLiteral(reader));
  } while (reader.takes('symbol', ','));
  if (!reader.takes('symbol', ')')) reader.fail(', or )');
  return { kind: 'in', field, negated, values };
};

const readLiteral = (reader: TokenReader): FilterLiteral => {
  const { kind, text, position } = reader.next;
  if (kind === 'string') {
    reader.stopAt(position, textProblem(text));
  } else if (kind === 'number') {
    reader.stopAt(position, numberProblem(text));
  } else if (kind !== 'keyword' || (text !== 'null' && text !== 'true' && text !== 'false')) {
    reader.fail('a constant');
  }
  reader.take();
  if (kind === 'string') return text;
  // Adding 0 turns -0 into 0, which is the canonical form.
  if (kind === 'number') return Number(text) + 0;
  return text === 'null' ? null : text === 'true';
};

/** A number must survive the way through 64-bit floating point digit by digit, else it is meant as text. */
const numberProblem = (text: string): string | undefined => {
  const value = Number(text);
  return Number.isFinite(value) && digitsOf(text) === digitsOf(String(value))
    ? undefined
    : 'number has more digits than a number holds: write it as a text';
};

/** Significant digits and exponent, the same for all spellings of one number. */
const digitsOf = (text: string): string => {
  const [mantissa = '', exponent = '0'] = text
    .toLowerCase()
    .replace('-', (sign, at) => (at === 0 ? '' : sign))
    .split('e');
  const [integer = '', fraction = ''] = mantissa.split('.');
  const digits = (integer + fraction).replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  return `${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
};
