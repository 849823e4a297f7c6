/** Bytes, or characters, of one row of a file at most: rows beyond it are bad. */
export const rowBytesMax = 2 * 1024 * 1024;

/** Row of a file, read but not checked. `row` counts from 1, a header aside. */
export type RawRow =
  | {
      readonly row: number;
      readonly line: number | null;
      /** Cells by column: texts of CSV (null: empty without quotes), or values of JSON. */
      readonly cells: Readonly<Record<string, unknown>>;
    }
  | { readonly row: number; readonly line: number | null; readonly problem: string };

/** Formats of rows. */
export type RowFormat = 'csv' | 'ndjson' | 'json';

/** Every format of rows. */
export const rowFormats: readonly RowFormat[] = ['csv', 'ndjson', 'json'];

/** Format that the ending of a name tells; undefined when it tells none. */
export const formatOfName = (name: string): RowFormat | undefined => {
  if (/\.csv$/i.test(name)) return 'csv';
  if (/\.(ndjson|jsonl)$/i.test(name)) return 'ndjson';
  return /\.json$/i.test(name) ? 'json' : undefined;
};
