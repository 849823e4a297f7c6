import type { Readable } from 'node:stream';
import { csvRows } from './csv-rows.js';
import { jsonRows, ndjsonRows } from './json-rows.js';
import type { RawRow, RowFormat } from './row.js';

/**
 * Reads the rows of a stream, one at a time. `onColumns` is told the header of CSV before the first row, also
 * where there is no row; no columns for an empty file.
 */
export const rowsOf = (
  source: Readable,
  format: RowFormat,
  delimiter: string,
  onColumns: (columns: readonly string[]) => void,
): AsyncGenerator<RawRow> => {
  if (format === 'csv') return csvRows(source, delimiter, onColumns);
  return format === 'ndjson' ? ndjsonRows(source) : jsonRows(source);
};
