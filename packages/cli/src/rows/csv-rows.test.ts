/** What a reader makes of quotes, encodings and line ends that are not as they should be. */
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { defineSchema, field, indexSchema, TidemarkError } from '@tidemark/model';
import { csvRows } from './csv-rows.js';
import { jsonRows, ndjsonRows } from './json-rows.js';
import { checkColumns, checkRow, type RowMapping } from './row-check.js';
import { rowText } from './row-text.js';
import type { RawRow } from './row.js';

const { customization } = defineSchema({
  version: 1,
  tables: { parts: { id: 1, fields: { name: field.string(1), size: field.number(2) } } },
});
const mapping: RowMapping = {
  table: indexSchema(customization, []).tablesByName.get('parts')!,
  format: 'csv',
  idColumn: 'id',
  renamed: new Map(),
  ignoreUnknown: false,
};

const streamOf = (text: string | Uint8Array, cut = 7): Readable => {
  const bytes = Buffer.from(text);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += cut) parts.push(bytes.subarray(at, at + cut));
  return Readable.from(parts);
};
const readAll = async (rows: AsyncIterable<RawRow>) => {
  const all: (readonly [number, unknown])[] = [];
  let failure: unknown;
  try {
    for await (const row of rows)
      all.push([row.line ?? row.row, 'cells' in row ? Object.values(row.cells) : 'bad']);
  } catch (cause) {
    failure = cause;
  }
  return { all, failure };
};
const read = async (lines: readonly string[]) => {
  const { all, failure } = await readAll(csvRows(streamOf(lines.join('\n')), ','));
  expect(failure).toBeUndefined();
  return all;
};

describe('quotes of CSV', () => {
  test('[CLI-13] a quote within a cell opens nothing: only its own row is bad', async () => {
    const good = Array.from({ length: 13 }, (_, at) => `g${at},good,${at}`);
    expect(await read(['id,name,size', 'a,3 5" pipe,1', ...good, 'z,6" pipe,2', 'y,x,3'])).toEqual([
      [2, 'bad'],
      ...good.map((line, at) => [at + 3, line.split(',')]),
      [16, 'bad'],
      [17, ['y', 'x', '3']],
    ]);
  });

  test('[CLI-13] a quote that opens and swallows rows makes its first line bad, not the others', async () => {
    expect(
      await read(['id,name,size', 'a,"open,1', 'b,x,2', 'c,"two\nlines",3', 'd,"q""q",4', 'e,,5']),
    ).toEqual([
      [2, 'bad'],
      [3, ['b', 'x', '2']],
      [4, ['c', 'two\nlines', '3']],
      [6, ['d', 'q"q', '4']],
      [7, ['e', null, '5']],
    ]);
    // Broken rows one behind the other, with Windows line ends.
    expect(
      await read(['id,name,size\r', 'a,"open,1\r', 'b,"open,2\r', 'c,"x"y,3\r', 'd,"",4\r']),
    ).toEqual([
      [2, 'bad'],
      [3, 'bad'],
      [4, 'bad'],
      [5, ['d', '', '4']],
    ]);
  });
});

describe('texts of rows', () => {
  const encoded = [
    ['csv', 'id,name,size\na,x,1\nb,caf\xe9,2\nc,y,3\n', (s: Readable) => csvRows(s, ',')],
    ['ndjson', '{"id":"a"}\n{"id":"caf\xe9"}\n', ndjsonRows],
    ['json', '[{"id":"a"},{"id":"caf\xe9"}]', jsonRows],
  ] as const;
  test.each(encoded)(
    '[CLI-18] %s in another encoding is refused with the row',
    async (_, text, reader) => {
      for (const cut of [1, 3, 1_000]) {
        const { all, failure } = await readAll(reader(streamOf(Buffer.from(text, 'latin1'), cut)));
        expect(all).toHaveLength(1);
        expect(failure).toBeInstanceOf(TidemarkError);
        expect(failure).toMatchObject({ code: 'malformed-message', details: { row: 2 } });
        expect(String(failure)).toContain('UTF-8');
        // What it says holds no value.
        expect(String(failure)).not.toContain('caf');
      }
    },
  );

  test('[CLI-18] a character that is cut at the end of the file is refused', async () => {
    const { failure } = await readAll(
      ndjsonRows(streamOf(Buffer.from('{"id":"a"}\n{"é').subarray(0, -1))),
    );
    expect(failure).toMatchObject({ code: 'malformed-message', details: { row: 2 } });
  });

  test('[CLI-14] texts with carriage returns at the end, and marks of byte order, come back', async () => {
    const records = ['a\r', '\r', '\ufeffx', 'é€😀', ''].map((name, at) => ({
      id: `r${at}`,
      name,
    }));
    const text = rowText('csv', ['id', 'name'], ',');
    for (const cut of [1, 2, 5]) {
      const file = `\ufeff${text.begin}${text.page(records, true)}${text.end}`;
      const { all } = await readAll(csvRows(streamOf(file, cut), ','));
      expect(all.map(([, cells]) => cells)).toEqual(records.map(({ id, name }) => [id, name]));
    }
  });
});

describe('columns', () => {
  const codeOf = (columns: readonly string[], renamed: ReadonlyMap<string, string>) => {
    try {
      checkColumns({ ...mapping, renamed }, columns);
      return undefined;
    } catch (cause) {
      return (cause as TidemarkError).code;
    }
  };
  test('[CLI-16] two columns of one field are refused', () => {
    expect(codeOf(['id', 'name', 'size'], new Map())).toBeUndefined();
    expect(codeOf(['id', 'name', 'title'], new Map([['title', 'name']]))).toBe('invalid-option');
    const title = new Map([
      ['title', 'name'],
      ['label', 'name'],
    ]);
    expect(codeOf(['id', 'title', 'label'], title)).toBe('invalid-option');
    expect(codeOf(['id', 'title', 'size'], title)).toBeUndefined();
  });

  test('[CLI-10] a row of JSON with two values for one field is bad', () => {
    const checked = checkRow(
      { ...mapping, format: 'json', renamed: new Map([['title', 'name']]) },
      { row: 1, line: null, cells: { id: 'a', name: 'x', title: 'y' } },
    );
    expect(checked).toMatchObject({ problems: [{ code: 'invalid-value', field: 'title' }] });
  });

  test('[CLI-16] the columns are told where there is no row, and where there is no header', async () => {
    const columnsOf = async (text: string) => {
      const told: (readonly string[])[] = [];
      await readAll(csvRows(streamOf(text), ',', (columns) => told.push(columns)));
      return told;
    };
    expect(await columnsOf('id,wrong\n')).toEqual([['id', 'wrong']]);
    expect(await columnsOf('')).toEqual([[]]);
    expect(await columnsOf('id,name\na,b\nc,d\n')).toEqual([['id', 'name']]);
  });
});
