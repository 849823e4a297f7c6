import type { Readable } from 'node:stream';
import { parse, type Options } from 'csv-parse/sync';
import { TidemarkError } from '@tidemark/model';
import { rowBytesMax, type RawRow } from './row.js';
import { NotUtf8, notUtf8At, textsOf } from './text-parts.js';

/** Records that are parsed together. */
const parseRecordsMax = 1_000;

/** Text of one record and the line on which it begins; `isBroken` where its quotes do not end as they should. */
interface RecordText {
  readonly text: string;
  readonly line: number;
  readonly isBroken: boolean;
}

type Cells = readonly (string | null)[];

const tooLong = (line: number): TidemarkError =>
  new TidemarkError(
    'malformed-message',
    `line ${line}: a quote opens that does not close within ${rowBytesMax} characters`,
    { line },
  );

/** Where a line ends: within quotes or not, and whether a quote stood where none may. */
interface LineEnd {
  readonly isQuoted: boolean;
  readonly isBroken: boolean;
}

/** Place of the quote that closes, or -1; two quotes stand for one. */
const closingQuote = (line: string, from: number): number => {
  for (let at = line.indexOf('"', from); at >= 0; at = line.indexOf('"', at + 2))
    if (line[at + 1] !== '"') return at;
  return -1;
};

/** Goes through the cells of a line: a quote opens only at the start of a cell, and closes only at its end. */
const endOf = (line: string, delimiter: string, isOpen: boolean): LineEnd => {
  let quote = line.indexOf('"');
  if (!isOpen && quote < 0) return { isQuoted: false, isBroken: false };
  let at = 0;
  let isQuoted = isOpen;
  let isBroken = false;
  for (;;) {
    if (isQuoted) {
      const close = closingQuote(line, at);
      if (close < 0) return { isQuoted: true, isBroken };
      at = close + 1;
      isQuoted = false;
      const isEnd = at === line.length || (line[at] === '\r' && at + 1 === line.length);
      isBroken ||= !isEnd && !line.startsWith(delimiter, at);
    } else if (line[at] === '"') {
      at += 1;
      isQuoted = true;
      continue;
    }
    const next = line.indexOf(delimiter, at);
    if (quote >= 0 && quote < at) quote = line.indexOf('"', at);
    isBroken ||= quote >= 0 && (next < 0 || quote < next);
    if (next < 0) return { isQuoted: false, isBroken };
    at = next + delimiter.length;
  }
};

/**
 * Splits CSV into records: a line with an open quote takes the next ones in. A record of several lines whose
 * quotes are broken took in lines that are not its own: then its first line is a record, and the others are
 * read again.
 */
class RecordSplitter {
  readonly #delimiter: string;
  #line = 0;
  #rest = '';
  #open: string[] = [];
  #openLine = 0;
  #openChars = 0;
  #isQuoted = false;

  constructor(delimiter: string) {
    this.#delimiter = delimiter;
  }

  /** Line that is read next. */
  get nextLine(): number {
    return this.#line + 1;
  }

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
    // Lines to read, the next one last.
    const waiting = [line];
    for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
      this.#line += 1;
      if (this.#open.length === 0) {
        this.#openLine = this.#line;
        this.#openChars = 0;
      }
      const { isQuoted, isBroken } = endOf(one, this.#delimiter, this.#isQuoted);
      this.#open.push(one);
      this.#openChars += one.length + 1;
      if (isBroken && this.#open.length > 1) {
        const [first = '', ...others] = this.#open;
        waiting.push(...others.reverse());
        this.#line = this.#openLine;
        this.#isQuoted = false;
        this.#open = [];
        yield { text: first.replace(/\r$/, ''), line: this.#openLine, isBroken };
        continue;
      }
      this.#isQuoted = isQuoted && !isBroken;
      if (this.#openChars > rowBytesMax) throw tooLong(this.#openLine);
      if (this.#isQuoted) continue;
      const text = this.#open.join('\n').replace(/\r$/, '');
      this.#open = [];
      if (text.trim() !== '') yield { text, line: this.#openLine, isBroken };
    }
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
  // A broken one would take in those behind it.
  const whole = records.filter(({ isBroken }) => !isBroken);
  let plain: Iterator<Cells> | undefined;
  try {
    const all = parsePlain(whole, delimiter);
    if (all.length === whole.length) plain = all.values();
  } catch {
    // One of them cannot be read: each is read alone.
  }
  return records.map((record) => {
    const parsed = record.isBroken ? undefined : plain?.next().value;
    if (parsed !== undefined) return parsed as Cells;
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
 * problems in their place; a quote that never closes ends the reading with `malformed-message`. `onColumns`
 * is told the header before the first row; no columns for an empty file.
 */
export async function* csvRows(
  source: Readable,
  delimiter: string,
  onColumns: (columns: readonly string[]) => void = () => undefined,
): AsyncGenerator<RawRow> {
  const splitter = new RecordSplitter(delimiter);
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
        onColumns(header);
        continue;
      }
      row += 1;
      yield rowOf(header, row, record.line, found);
    }
  }
  try {
    for await (const text of textsOf(source)) {
      for (const record of splitter.take(text)) {
        waiting.push(record);
        if (waiting.length >= parseRecordsMax) yield* parsed();
      }
    }
  } catch (cause) {
    if (!(cause instanceof NotUtf8)) throw cause;
    yield* parsed();
    throw notUtf8At(row + 1, splitter.nextLine);
  }
  waiting.push(...splitter.end());
  yield* parsed();
  if (header === undefined) onColumns([]);
}
