import type { Readable } from 'node:stream';
import { TidemarkError } from '@tidemark/model';
import { rowBytesMax, type RawRow } from './row.js';
import { NotUtf8, notUtf8At, textsOf } from './text-parts.js';

const toRow = (row: number, line: number | null, text: string): RawRow => {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { row, line, problem: 'it is no JSON' };
  }
  return typeof json === 'object' && json !== null && !Array.isArray(json)
    ? { row, line, cells: json as Readonly<Record<string, unknown>> }
    : { row, line, problem: 'it is no object' };
};

const tooLong = `it is longer than ${rowBytesMax} characters`;

/** Reads NDJSON: one object per line; empty lines are passed over. Lines that are no object are problems. */
export async function* ndjsonRows(source: Readable): AsyncGenerator<RawRow> {
  let row = 0;
  let line = 0;
  let rest = '';
  let isOver = false;
  const take = (text: string): RawRow | undefined => {
    line += 1;
    const over = isOver || text.length > rowBytesMax;
    isOver = false;
    if (!over && text.trim() === '') return undefined;
    row += 1;
    return over ? { row, line, problem: tooLong } : toRow(row, line, text);
  };
  try {
    for await (const text of textsOf(source)) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const one of lines) {
        const taken = take(one);
        if (taken !== undefined) yield taken;
      }
      if (rest.length > rowBytesMax) {
        rest = '';
        isOver = true;
      }
    }
  } catch (cause) {
    throw cause instanceof NotUtf8 ? notUtf8At(row + 1, line + 1) : cause;
  }
  const last = rest !== '' || isOver ? take(rest) : undefined;
  if (last !== undefined) yield last;
}

const malformed = (row: number, what: string): TidemarkError =>
  new TidemarkError('malformed-message', `row ${row}: ${what}`, { row });

/** Splits the text of a JSON array into the texts of its elements, without holding more than one. */
class ElementSplitter {
  #depth = 0;
  #inText = false;
  #escaped = false;
  #state: 'before' | 'inside' | 'after' = 'before';
  #element = '';
  count = 0;

  /** Takes the next part of the text; yields elements that are complete. */
  *take(text: string): Generator<string> {
    let from = 0;
    for (let at = 0; at < text.length; at += 1) {
      const char = text[at] ?? '';
      if (this.#inText) {
        if (this.#escaped) this.#escaped = false;
        else if (char === '\\') this.#escaped = true;
        else if (char === '"') this.#inText = false;
        continue;
      }
      if (this.#state !== 'inside') {
        from = at + 1;
        this.#outside(char);
        continue;
      }
      if (char === '"') this.#inText = true;
      else if (char === '{' || char === '[') this.#depth += 1;
      else if (char === '}' || (char === ']' && this.#depth > 0)) this.#depth -= 1;
      else if (this.#depth === 0 && (char === ',' || char === ']')) {
        const element = (this.#element + text.slice(from, at)).trim();
        this.#element = '';
        from = at + 1;
        if (char === ']') this.#state = 'after';
        if (element === '' && char === ']' && this.count === 0) continue;
        this.count += 1;
        yield element;
      }
    }
    this.#element += text.slice(from);
    if (this.#element.length > rowBytesMax) throw malformed(this.count + 1, tooLong);
  }

  /** Checks that the array has ended. */
  end(): void {
    if (this.#state !== 'after') throw malformed(this.count + 1, 'the array does not end');
  }

  #outside(char: string): void {
    if (/[\s\ufeff]/.test(char)) return;
    if (this.#state === 'before' && char === '[') this.#state = 'inside';
    else throw malformed(this.count + 1, 'expected one JSON array of objects');
  }
}

/**
 * Reads a JSON array of objects, one element at a time. Elements that are no object are problems in their
 * place; a text that is no array ends the reading with `malformed-message`.
 */
export async function* jsonRows(source: Readable): AsyncGenerator<RawRow> {
  const splitter = new ElementSplitter();
  let row = 0;
  try {
    for await (const text of textsOf(source))
      for (const element of splitter.take(text)) {
        row += 1;
        yield toRow(row, null, element);
      }
  } catch (cause) {
    throw cause instanceof NotUtf8 ? notUtf8At(row + 1, null) : cause;
  }
  splitter.end();
}
