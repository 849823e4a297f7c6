import { stringify } from 'csv-stringify/sync';
import type { SchemaTable, Value } from '@tidemark/model';
import type { DeskRecord } from '../server/desk.js';
import { textFromValue } from './value-text.js';
import type { RowFormat } from './row.js';

/** Columns of an export: the id, then fields. */
export const columnsOf = (table: SchemaTable, wanted: readonly string[] | undefined) => [
  'id',
  ...(wanted ?? table.fields.map(({ name }) => name)),
];

const pick = (record: DeskRecord, columns: readonly string[]): Record<string, Value> => {
  const picked: Record<string, Value> = {};
  for (const column of columns) picked[column] = record[column] ?? null;
  return picked;
};

/** Texts of an export, page by page; together they are one file of the format. */
export interface RowText {
  readonly begin: string;
  /** Text of a page; `isFirst` when nothing stands before it. */
  readonly page: (records: readonly DeskRecord[], isFirst: boolean) => string;
  readonly end: string;
}

const csvText = (columns: readonly string[], delimiter: string): RowText => {
  // An empty text gets quotes; null is an empty cell without: so both come back as they were. A carriage
  // return at the end of a line would pass for the end of the line.
  const options = { delimiter, quoted_empty: false, quoted_match: /^$|\r/ };
  return {
    begin: stringify([[...columns]], { delimiter }),
    page: (records) =>
      stringify(
        records.map((record) => columns.map((column) => textFromValue(record[column] ?? null))),
        options,
      ),
    end: '',
  };
};

/** Writes records in a format. */
export const rowText = (
  format: RowFormat,
  columns: readonly string[],
  delimiter: string,
): RowText => {
  if (format === 'csv') return csvText(columns, delimiter);
  const lines = (records: readonly DeskRecord[]): string[] =>
    records.map((record) => JSON.stringify(pick(record, columns)));
  if (format === 'ndjson')
    return {
      begin: '',
      page: (records) =>
        lines(records)
          .map((line) => `${line}\n`)
          .join(''),
      end: '',
    };
  return {
    begin: '[\n',
    page: (records, isFirst) =>
      records.length === 0 ? '' : `${isFirst ? '' : ',\n'}${lines(records).join(',\n')}`,
    end: '\n]\n',
  };
};
