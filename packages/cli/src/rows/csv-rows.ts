import type { Readable } from 'node:stream';
import { parse, type Options } from 'csv-parse/sync';
import { TidemarkError } from '@tidemark/model';
import { rowBytesMax, type RawRow } from './row.js';
import { textsOf } from './text-parts.js';

/** Records that are parsed together. */
const parseRecordsMax = 1_000;

/** Text of one record and the line on which it begins. */
interface RecordText {
  readonly text: string;
  readonly line: number;
}

type Cells = readonly (string | null)[];

const quotesIn = (text: string): number => {
  let count = 0;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) count += 1;
  return count;
};

const tooLong = (line: number): TidemarkError =>
  new TidemarkError(
    'malformed-message',
    `line ${line}: a quote opens that does not close within ${rowBytesMax} characters`,
    { line },
  );

/**
 * Splits CSV into records: a line with an open quote takes the next ones in. So a row with broken quotes
 * ends with its line mostly, and the rows behind it are read as they are.
 */
class RecordSplitter {
  #line = 0;
  #rest = '';
  #open: string[] = [];
  #openLine = 0;
  #openChars = 0;
  #isQuoted = false;

  /** Takes the next part of the text; yields records that are complete. */
  *take(text: string): Generator<RecordText> {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > rowBytesMax) throw tooLong(this.#line + 1);
    for (const line of lines) yield* this.#next(line);
  }

  /** Yields the last record. Throws when a quote is open. */
  *end(): Generator<RecordText> {
    if (this.#rest !== '') yield* this.#next(this.#rest);
    if (this.#isQuoted) throw tooLong(this.#openLine);
  }

  *#next(line: string): Generator<RecordText> {
    this.#line += 1;
    if (quotesIn(line) % 2 === 1) this.#isQuoted = !this.#isQuoted;
    if (this.#open.length === 0) {
      this.#openLine = this.#line;
      this.#openChars = 0;
    }
    this.#open.push(line);
    this.#openChars += line.length + 1;
    if (this.#openChars > rowBytesMax) throw tooLong(this.#openLine);
    if (this.#isQuoted) return;
    const text = this.#open.join('\n').replace(/\r$/, '');
    this.#open = [];
    if (text.trim() !== '') yield { text, line: this.#openLine };
  }
}

const optionsOf = (delimiter: string): Options => ({
  delimiter,
  record_delimiter: '\n',
  relax_column_count: true,
});

/** Cells of a record in which an empty cell may have quotes: then it is the empty text, else null. */
const parseQuoted = ({ text }: RecordText, delimiter: string): readonly Cells[] =>
  parse(text, {
    ...optionsOf(delimiter),
    // Asking about quotes makes the parser several times slower, so only these records do.
    cast: (value, { quoting }) => (value === '' && !quoting ? null : value),
  }) as unknown as readonly Cells[];

/** Whether a cell may be the empty text in quotes; in a cell with quotes of its own it may look so. */
const mayHaveEmptyText = (text: string, delimiter: string): boolean => {
  for (let at = text.indexOf('""'); at >= 0; at = text.indexOf('""', at + 1)) {
    const begins = at === 0 || text.startsWith(delimiter, at - delimiter.length);
    if (begins && (at + 2 === text.length || text.startsWith(delimiter, at + 2))) return true;
  }
  return false;
};

const parsePlain = (records: readonly RecordText[], delimiter: string): readonly Cells[] => {
  const texts = records.map(({ text }) => text).join('\n');
  const all = parse(texts, optionsOf(delimiter)) as readonly (readonly string[])[];
  if (all.length !== records.length) return [];
  return all.map((cells, at) => {
    const record = records[at];
    if (record === undefined || !cells.includes('')) return cells;
    if (mayHaveEmptyText(record.text, delimiter)) return parseQuoted(record, delimiter)[0] ?? cells;
    return cells.map((cell) => (cell === '' ? null : cell));
  });
};

/** Cells of each record, or what is wrong with it. */
const parseEach = (
  records: readonly RecordText[],
  delimiter: string,
): readonly (Cells | string)[] => {
  try {
    const all = parsePlain(records, delimiter);
    if (all.length === records.length) return all;
  } catch {
    // One of them cannot be read: each is read alone.
  }
  return records.map((record) => {
    try {
      const [cells, more] = parseQuoted(record, delimiter);
      return cells === undefined || more !== undefined ? 'it is not one row' : cells;
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      // The parser counts lines from the record, and cites it.
      return message.replace(/ at line \d+/, '').replace(/, got .*$|: got .*$/, '');
    }
  });
};

const headerOf = (cells: Cells | string): readonly string[] => {
  if (typeof cells === 'string')
    throw new TidemarkError('malformed-message', `the header cannot be read: ${cells}`);
  const names = cells.map((cell) => (cell ?? '').trim());
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (names.includes(''))
    throw new TidemarkError('malformed-message', 'the header has a column without a name');
  if (twice !== undefined)
    throw new TidemarkError('malformed-message', `the header has the column ${twice} twice`);
  return names;
};

const rowOf = (
  header: readonly string[],
  row: number,
  line: number,
  cells: Cells | string,
): RawRow => {
  if (typeof cells === 'string') return { row, line, problem: cells };
  if (cells.length !== header.length)
    return {
      row,
      line,
      problem: `it has ${cells.length} cells, the header ${header.length}`,
    };
  return { row, line, cells: Object.fromEntries(header.map((name, at) => [name, cells[at]])) };
};

/**
 * Reads CSV with a header, row by row. Empty cells without quotes are null. Rows that cannot be read are
 * problems in their place; a quote that never closes ends the reading with `malformed-message`.
 */
export async function* csvRows(source: Readable, delimiter: string): AsyncGenerator<RawRow> {
  const splitter = new RecordSplitter();
  let header: readonly string[] | undefined;
  let row = 0;
  let waiting: RecordText[] = [];
  function* parsed(): Generator<RawRow> {
    const records = waiting;
    waiting = [];
    const cells = parseEach(records, delimiter);
    for (const [at, record] of records.entries()) {
      const found = cells[at] ?? 'it is not one row';
      if (header === undefined) {
        header = headerOf(found);
        continue;
      }
      row += 1;
      yield rowOf(header, row, record.line, found);
    }
  }
  for await (const text of textsOf(source)) {
    for (const record of splitter.take(text)) {
      waiting.push(record);
      if (waiting.length >= parseRecordsMax) yield* parsed();
    }
  }
  waiting.push(...splitter.end());
  yield* parsed();
}
