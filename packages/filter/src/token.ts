import { left, right, type Result } from '@tidemark/model';
import type { FilterProblem } from './problem.js';

/**
 * Token of the filter language. `text` is the decoded content; keywords are lower case. A `word` stands
 * bare, a `name` in brackets.
 */
export interface Token {
  readonly kind: 'keyword' | 'word' | 'name' | 'string' | 'number' | 'symbol' | 'end';
  readonly text: string;
  readonly position: number;
}

const keywords = new Set(['and', 'or', 'not', 'in', 'like', 'is', 'null', 'true', 'false']);

/** Tells whether a word is reserved, so that a field of this name is written in brackets. */
export const isKeyword = (word: string): boolean => keywords.has(word.toLowerCase());

/** Builds a problem at a position of the text. */
export const expectedAt = (position: number, expected: string, found: string): FilterProblem => ({
  path: '',
  position,
  expected,
  message: `at ${position}: expected ${expected}, found ${found}`,
});

const spaces = /[ \t\r\n]*/y;
const word = /[$A-Za-z_][A-Za-z0-9_]*/y;
const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const symbol = /<=|>=|!=|<>|[=<>(),]/y;
const closers: Readonly<Record<string, string>> = { '"': '"', "'": "'", '[': ']' };

/** Splits filter text into tokens, the last of which is `end`. Linear in the text. */
export const tokenize = (text: string): Result<FilterProblem, readonly Token[]> => {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    at += found?.length ?? 0;
    return found;
  };
  for (;;) {
    take(spaces);
    const position = at;
    if (at >= text.length) {
      tokens.push({ kind: 'end', text: '', position });
      return right(tokens);
    }
    const closer = closers[text[at] as string];
    if (closer !== undefined) {
      const quoted = readQuoted(text, at, closer);
      if (quoted === undefined)
        return left(expectedAt(text.length, `a closing ${closer}`, 'the end'));
      tokens.push({ kind: closer === ']' ? 'name' : 'string', text: quoted.content, position });
      at = quoted.end;
      continue;
    }
    const name = take(word);
    if (name !== undefined) {
      tokens.push(
        isKeyword(name)
          ? { kind: 'keyword', text: name.toLowerCase(), position }
          : { kind: 'word', text: name, position },
      );
      continue;
    }
    const digits = take(number);
    const sign = digits === undefined ? take(symbol) : undefined;
    if (digits !== undefined) tokens.push({ kind: 'number', text: digits, position });
    else if (sign !== undefined)
      tokens.push({ kind: 'symbol', text: sign === '<>' ? '!=' : sign, position });
    else
      return left(expectedAt(position, 'a field, an operator or a constant', 'another character'));
  }
};

/** Content between `at` and the closer, where a doubled closer stands for one. */
const readQuoted = (
  text: string,
  at: number,
  closer: string,
): { readonly content: string; readonly end: number } | undefined => {
  const parts: string[] = [];
  let from = at + 1;
  for (;;) {
    const found = text.indexOf(closer, from);
    if (found < 0) return undefined;
    parts.push(text.slice(from, found));
    if (text[found + 1] !== closer) return { content: parts.join(closer), end: found + 1 };
    from = found + 2;
  }
};
