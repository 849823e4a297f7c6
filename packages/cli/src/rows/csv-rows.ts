import type { Readable } from 'node:stream';
import { parse, type CsvError, type Options } from 'csv-parse';
import { TidemarkError } from '@tidemark/model';
import { rowBytesMax, type RawRow } from './row.js';

/** Failures after which the parser cannot tell where the next row begins. */
const fatalCodes: ReadonlySet<string> = new Set(['CSV_MAX_RECORD_SIZE', 'CSV_QUOTE_NOT_CLOSED']);

interface ParsedRow {
  readonly row: number;
  readonly line: number;
  readonly cells: readonly (string | null)[];
}

const fatal = (row: number, { message }: CsvError): TidemarkError =>
  new TidemarkError('malformed-message', `row ${row}: ${message}`, { row });

const cellsOf = (header: readonly string[], { row, line, cells }: ParsedRow): RawRow => {
  if (cells.length !== header.length)
    return {
      row,
      line,
      problem: `it has ${cells.length} cells, the header ${header.length}`,
    };
  return { row, line, cells: Object.fromEntries(header.map((name, at) => [name, cells[at]])) };
};

/**
 * Reads CSV with a header, a row at a time. Empty cells without quotes are null. Rows that cannot be read
 * are problems in their place; a quote that never closes ends the reading with `malformed-message`.
 */
export async function* csvRows(source: Readable, delimiter: string): AsyncGenerator<RawRow> {
  let count = 0;
  let lastBadLine = -1;
  const unreadable: RawRow[] = [];
  let broken: { readonly row: number; readonly error: CsvError } | undefined;
  const options: Options<ParsedRow, (string | null)[]> = {
    bom: true,
    delimiter,
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: rowBytesMax,
    cast: (value, { quoting }) => (value === '' && !quoting ? null : value),
    on_record: (cells, { lines }): ParsedRow => {
      count += 1;
      // The header counts as row 0.
      return { row: count - 1, line: lines, cells };
    },
    on_skip: (error) => {
      if (error === undefined || broken !== undefined) return undefined;
      const line = typeof error['lines'] === 'number' ? error['lines'] : -1;
      // One row may break in several places.
      if (line === lastBadLine) return undefined;
      lastBadLine = line;
      count += 1;
      if (fatalCodes.has(error.code)) broken = { row: count - 1, error };
      else unreadable.push({ row: count - 1, line, problem: error.message });
      return undefined;
    },
  };
  // The types of `parse` know records of texts only.
  const parser = parse(options as unknown as Options);
  source.once('error', (cause) => parser.destroy(cause));
  source.pipe(parser);
  let header: readonly string[] | undefined;
  try {
    for await (const parsed of parser as AsyncIterable<ParsedRow>) {
      header ??= headerOf(parsed);
      while ((unreadable[0]?.row ?? Infinity) < parsed.row) {
        const next = unreadable.shift();
        if (next !== undefined) yield next;
      }
      if (parsed.row > 0) yield cellsOf(header, parsed);
    }
  } finally {
    source.destroy();
  }
  yield* unreadable;
  if (broken !== undefined) throw fatal(broken.row, broken.error);
}

const headerOf = ({ cells }: ParsedRow): readonly string[] => {
  const names = cells.map((cell) => (cell ?? '').trim());
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (names.includes('') || twice !== undefined)
    throw new TidemarkError(
      'malformed-message',
      twice === undefined || twice === ''
        ? 'the header has a column without a name'
        : `the header has the column ${twice} twice`,
    );
  return names;
};
