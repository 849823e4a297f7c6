/**
 * Properties: rows come back as they were written, whatever the texts are and wherever the stream is cut;
 * a bad row changes none of the others.
 */
import { Readable } from 'node:stream';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defineSchema, field, indexSchema, isWellFormed } from '@tidemark/model';
import { csvRows } from './csv-rows.js';
import { jsonRows, ndjsonRows } from './json-rows.js';
import { checkRow } from './row-check.js';
import { rowText } from './row-text.js';
import type { RawRow, RowFormat } from './row.js';

const { customization } = defineSchema({
  version: 1,
  tables: {
    things: {
      id: 1,
      fields: {
        name: field.string(1),
        size: field.number(2),
        open: field.boolean(3),
        price: field.decimal(4),
        due: field.date(5),
        at: field.datetime(6),
      },
    },
  },
});
const table = indexSchema(customization, []).tablesByName.get('things')!;
const columns = ['id', ...table.fields.map(({ name }) => name)];

const texts = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.stringMatching(/^[",\r\n a-z]{0,8}$/),
  fc.constantFrom('', ' ', '"', '""', ',', '\n', '\r\n', 'null', '\u2028', 'é'),
);
const orNull = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: null });
const records = fc
  .array(
    fc.record({
      name: orNull(texts.filter(isWellFormed)),
      size: orNull(fc.integer()),
      open: orNull(fc.boolean()),
      price: orNull(fc.constantFrom('0', '-1.5', '12345678901234567890.01')),
      due: orNull(fc.constantFrom('2024-02-29', '1999-12-31')),
      at: orNull(fc.constantFrom('2024-02-29T23:59:59.999Z')),
    }),
    { maxLength: 12 },
  )
  .map((list) => list.map((fields, at) => ({ id: `r${at}`, ...fields })));

const readers = {
  csv: (source: Readable) => csvRows(source, ','),
  ndjson: ndjsonRows,
  json: jsonRows,
};
const formats = fc.constantFrom<RowFormat>('csv', 'ndjson', 'json');

/** A stream that hands the bytes out in pieces of the given sizes, in turn. */
const pieces = (text: string, sizes: readonly number[]): Readable => {
  const bytes = Buffer.from(text, 'utf8');
  const parts: Buffer[] = [];
  for (let at = 0, k = 0; at < bytes.length; k += 1) {
    const size = sizes[k % sizes.length] ?? 1;
    parts.push(bytes.subarray(at, at + size));
    at += size;
  }
  return Readable.from(parts);
};
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });

const readAll = async (rows: AsyncIterable<RawRow>): Promise<RawRow[]> => {
  const all: RawRow[] = [];
  for await (const row of rows) all.push(row);
  return all;
};

describe('rows', () => {
  test('[CLI-14] records come back equal from every format, wherever the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(formats, records, sizes, async (format, list, cuts) => {
        const text = rowText(format, columns, ',');
        const half = Math.ceil(list.length / 2);
        const file = [
          text.begin,
          text.page(list.slice(0, half) as never, true),
          text.page(list.slice(half) as never, half === 0),
          text.end,
        ].join('');
        const rows = await readAll(readers[format](pieces(file, cuts)));
        const mapping = {
          table,
          format,
          idColumn: 'id',
          renamed: new Map<string, string>(),
          ignoreUnknown: false,
        };
        const checked = rows.map((row) => checkRow(mapping, row));
        expect(
          checked.map((one) =>
            'put' in one ? { id: one.put.id, ...one.put.fields } : one.problems,
          ),
        ).toEqual(list);
        expect(rows.map(({ row }) => row)).toEqual(list.map((_, at) => at + 1));
      }),
    );
  });

  test('[CLI-13] a broken row of CSV ends with its line and changes no other one', async () => {
    const broken = fc.constantFrom('r,"a"b,1', 'r,a,b,c,d', 'r', 'r,a"b"c,1', '"r""x"y,a,1');
    await fc.assert(
      fc.asyncProperty(records, broken, fc.nat(), sizes, async (list, bad, at, cuts) => {
        const text = rowText('csv', ['id', 'name', 'size'], ',');
        const place = at % (list.length + 1);
        const file = [
          text.begin,
          text.page(list.slice(0, place) as never, true),
          `${bad}\n`,
          text.page(list.slice(place) as never, false),
        ].join('');
        const rows = await readAll(csvRows(pieces(file, cuts), ','));
        expect(rows).toHaveLength(list.length + 1);
        expect(rows.filter((row) => 'problem' in row).map(({ row }) => row)).toEqual([place + 1]);
        const good = rows.flatMap((row) => ('cells' in row ? [row.cells['name']] : []));
        expect(good).toEqual(list.map(({ name }) => name));
      }),
    );
  });

  test('[CLI-10] a broken row of NDJSON or JSON changes no other one', async () => {
    const broken = fc.constantFrom('[1]', '"text"', '{"a" 1}', '7', '{"x":"}');
    await fc.assert(
      fc.asyncProperty(records, broken, sizes, async (list, bad, cuts) => {
        const lines = list.map((record) => JSON.stringify(record));
        const ndjson = await readAll(
          ndjsonRows(pieces([...lines, bad, ...lines].join('\n'), cuts)),
        );
        expect(ndjson.map((row) => 'problem' in row)).toEqual([
          ...lines.map(() => false),
          true,
          ...lines.map(() => false),
        ]);
        // An open text takes in what follows, so only closed ones can be told apart in an array.
        if (bad === '{"x":"}') return;
        const json = await readAll(
          jsonRows(pieces(`[${[...lines, bad, ...lines].join(',')}]`, cuts)),
        );
        expect(json.map((row) => 'problem' in row)).toEqual(ndjson.map((row) => 'problem' in row));
      }),
    );
  });
});
