import { fieldId, row, value } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8Decode, utf8Encode } from './bytes.js';
import { baseOfRow, decodeRow, encodeRow, projectRow, type Row } from './row.js';
import { fieldBytesOfRow, visitRowFields } from './row-fields.js';

const example: Row = {
  version: { incarnation: 1, n: 9 },
  ...{ born: 'r1/1/3', modifiedOn: 2_000, modifiedBy: 'user-1', createdOn: 1_000, owner: 'user-2' },
  fields: { 10: 'x', 2: true },
  docs: { 2: 'AQ==' },
  editedAt: { 10: 1_500 },
};

test('[MOD-50] a row is positional JSON with fields in ascending order of ids, without nulls', () => {
  const { docs: _docs, editedAt: _editedAt, ...rest } = example;
  expect(utf8Decode(encodeRow(example))).toBe(
    '[1,9,"r1/1/3",2000,"user-1",1000,"user-2",{"2":true,"10":"x"},{"2":"AQ=="},{"10":1500}]',
  );
  expect(utf8Decode(encodeRow({ ...rest, fields: { 1: null }, docs: {}, editedAt: {} }))).toBe(
    '[1,9,"r1/1/3",2000,"user-1",1000,"user-2",{},0,0]',
  );
});

test('[MOD-51] decoding inverts encoding', () => {
  fc.assert(
    fc.property(row, (one) => {
      expect(decodeRow(encodeRow(one))).toEqual(one);
    }),
  );
});

test('[MOD-51] unknown trailing elements are ignored', () => {
  const longer = `${utf8Decode(encodeRow(example)).slice(0, -1)},{"new":1}]`;
  expect(decodeRow(utf8Encode(longer))).toEqual(example);
});

test('[MOD-50] equal rows have equal bytes, however they were built', () => {
  const entries = fc.uniqueArray(fc.tuple(fieldId, value), { selector: ([id]) => id });
  fc.assert(
    fc.property(entries, entries, (first, second) => {
      const build = (list: readonly (readonly [number, unknown])[]): Row => ({
        ...example,
        fields: Object.fromEntries(list) as Row['fields'],
      });
      const turned = first
        .map(
          ([id, one]) =>
            [
              id,
              typeof one === 'object' && one !== null
                ? Object.fromEntries(Object.entries(one).reverse())
                : one,
            ] as const,
        )
        .reverse();
      expect(encodeRow(build(turned))).toEqual(encodeRow(build(first)));
      const kept = (list: readonly (readonly [number, unknown])[]): string =>
        JSON.stringify(list.filter(([, one]) => one !== null).sort(([a], [b]) => a - b));
      expect(kept(first) === kept(second)).toBe(
        utf8Decode(encodeRow(build(first))) === utf8Decode(encodeRow(build(second))),
      );
    }),
  );
});

test('[MOD-52] a projection keeps the named fields with their documents and times', () => {
  expect(projectRow(example, new Set([10, 77]))).toEqual({
    ...example,
    fields: { 10: 'x' },
    docs: {},
    editedAt: { 10: 1_500 },
  });
  fc.assert(
    fc.property(row, (one) => {
      const all = new Set(
        [one.fields, one.docs, one.editedAt].flatMap((part) => Object.keys(part).map(Number)),
      );
      expect(projectRow(one, all)).toEqual(one);
      expect(projectRow(one, new Set()).fields).toEqual({});
    }),
  );
});

test('[MOD-53] the base that an author names is version, birth and time of the row', () => {
  expect(baseOfRow(example)).toEqual({ incarnation: 1, n: 9, born: 'r1/1/3', modifiedOn: 2_000 });
});

test('[MOD-51] the fields are found within the bytes of a row without decoding it', () => {
  const wild = fc.string({
    unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', 'é', '\n'),
  });
  fc.assert(
    fc.property(row, wild, wild, (one, text1, text2) => {
      const odd = { ...one, born: text1, owner: text2, fields: { ...one.fields, 7: text1 } };
      const bytes = encodeRow(odd);
      expect(JSON.parse(utf8Decode(fieldBytesOfRow(bytes)))).toEqual(
        (JSON.parse(utf8Decode(bytes)) as readonly unknown[])[7],
      );
      const found: Record<number, unknown> = {};
      visitRowFields(bytes, (field, from, to) => {
        found[field] = JSON.parse(utf8Decode(bytes.subarray(from, to)));
      });
      expect(found).toEqual(decodeRow(bytes).fields);
    }),
  );
});
