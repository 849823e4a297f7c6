import { concatBytes, encodeRow, type Row } from '@tidemark/model';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LogicalRows } from './logical-row.js';

const piece = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'é', '😀', '\n', '"', '\u0000'), maxLength: 6 }),
  fc.constantFrom('word '.repeat(900), '😀'.repeat(2_100), '\u0000a long text\u0000'),
);
const edit = fc.record({ at: fc.nat(1_000), remove: fc.nat(700), insert: piece });

const rowOf = (text: string, title: string): Row => ({
  version: { incarnation: 1, n: 7 },
  born: 'r/1/1',
  modifiedOn: 5,
  modifiedBy: 'u',
  createdOn: 4,
  owner: 'u',
  fields: { 1: text, 2: 3, 4: title, 9: null },
  docs: { 1: 'heads' },
  editedAt: {},
});

it('[SRV-21] a row with long texts counts in the digest by the bytes of encodeRow, however it was edited', () => {
  fc.assert(
    fc.property(
      fc.array(edit, { maxLength: 12 }),
      fc.constantFrom('x', 'y'.repeat(99)),
      (edits, title) => {
        const rows = new LogicalRows();
        let characters: string[] = [];
        for (const { at, remove, insert } of edits) {
          const from = Math.floor((at / 1_001) * (characters.length + 1));
          characters = [
            ...characters.slice(0, from),
            ...insert,
            ...characters.slice(from + remove),
          ];
          const row = rowOf(characters.join(''), title);
          const bytes = concatBytes(rows.encode('2/note', row));
          expect(Buffer.from(bytes).equals(encodeRow(row))).toBe(true);
        }
      },
    ),
  );
});
