import { encodeRow, utf8Decode, utf8Encode, type FieldDefinition, type Row } from '@tidemark/model';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IndexDraft } from './index-draft.js';
import { indexKey, indexTextBytesMax } from './index-key.js';

const field = (id: number, type: FieldDefinition['type']): FieldDefinition =>
  ({ id, name: `f${id}`, type }) as FieldDefinition;

const text = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'é', '\u{1f600}', '"', '\\', '\u0000', '{', ',', '\n') }),
  fc.string({
    unit: fc.constantFrom('x', 'é'),
    minLength: indexTextBytesMax - 3,
    maxLength: indexTextBytesMax + 3,
  }),
  fc.string({ minLength: 60, maxLength: 70 }),
);
const attachment = { digest: 'ab'.repeat(32), name: 'n', type: 't', bytes: 1 };
const fields = fc.record(
  {
    1: text,
    2: fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => (one === 0 ? 0 : one)),
    3: fc.boolean(),
    4: fc.constantFrom('0', '-1.5', '12.25', '100'),
    5: fc.constant(attachment),
    40: text,
  },
  { requiredKeys: [] },
);
const definitions = [
  field(1, 'string' as FieldDefinition['type']),
  field(2, 'number' as FieldDefinition['type']),
  field(3, 'boolean'),
  field(4, 'decimal'),
  field(5, 'attachment' as FieldDefinition['type']),
  field(40, 'string' as FieldDefinition['type']),
];
const indexes = fc.array(
  fc.uniqueArray(fc.constantFrom(...definitions), {
    minLength: 1,
    maxLength: 4,
    selector: ({ id }) => id,
  }),
  { minLength: 1, maxLength: 3 },
);

const rowOf = (values: Row['fields']): Row => ({
  version: { incarnation: 1, n: 1 },
  ...{ born: 'r/1/1', modifiedOn: 1, modifiedBy: 'u"', createdOn: 1, owner: 'o\\' },
  ...{ fields: values, docs: {}, editedAt: {} },
});

test('[PUL-81] keys read from the bytes of rows are those of the decoded rows', () => {
  fc.assert(
    fc.property(fc.array(fields, { maxLength: 20 }), indexes, (rows, lists) => {
      const draft = new IndexDraft(
        lists.map((list, i) => ({ no: i + 1, ready: true, fields: list })),
      );
      rows.forEach((values, i) => {
        const id = utf8Encode(`id-${i}`);
        draft.add(id, 0, id.length, encodeRow(rowOf(values as Row['fields'])));
      });
      expect(draft.count).toBe(rows.length * lists.length);
      draft.runs(3, 1, 10).forEach(({ bytes, ends, index, run }, i) => {
        expect([index, run]).toEqual([i + 1, 10 + i]);
        let from = 0;
        rows.forEach((values, k) => {
          const [keyEnd, end] = [ends[2 * k] as number, ends[2 * k + 1] as number];
          const wanted = indexKey(lists[i] as FieldDefinition[], values as Row['fields']);
          expect([...bytes.subarray(from, keyEnd)]).toEqual([...wanted]);
          expect(utf8Decode(bytes.subarray(keyEnd, end))).toBe(`id-${k}`);
          from = end;
        });
        expect(bytes.length).toBe(from);
      });
    }),
  );
});
