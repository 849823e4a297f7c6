import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { csvRows } from './csv-rows.js';
import { jsonRows, ndjsonRows } from './json-rows.js';
import type { RawRow, RowFormat } from './row.js';

const readBytes = 256 * 1024;

/** Reads the rows of a file, or of the standard input for `-`, one at a time. */
export const rowsOf = (
  file: string,
  format: RowFormat,
  delimiter: string,
): AsyncGenerator<RawRow> => {
  const source: Readable =
    file === '-' ? process.stdin : createReadStream(file, { highWaterMark: readBytes });
  if (format === 'csv') return csvRows(source, delimiter);
  return format === 'ndjson' ? ndjsonRows(source) : jsonRows(source);
};
