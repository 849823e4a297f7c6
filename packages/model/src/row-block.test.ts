import { recordId } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareBytes, utf8Decode, utf8Encode } from './bytes.js';
import {
  blockBytes,
  blockRowsMax,
  checkBlock,
  findInBlock,
  openBlock,
  packBlocks,
  rowsOfBlock,
  visitBlock,
} from './row-block.js';

const nothing = new Uint8Array(0);
/** An id that no test draws. */
const absent = utf8Encode('no such id ');
const rows = fc
  .uniqueArray(fc.record({ id: recordId, value: fc.uint8Array({ maxLength: 9_000 }) }), {
    maxLength: 12,
    selector: ({ id }) => id,
  })
  .map((list) => list.sort((a, b) => compareBytes(utf8Encode(a.id), utf8Encode(b.id))));

test('[MOD-65] blocks hold the rows that were packed, in order, and are full at 16 KB or 256 rows', () => {
  fc.assert(
    fc.property(rows, (list) => {
      const blocks = packBlocks(list);
      expect(blocks.flatMap(({ bytes }) => rowsOfBlock(bytes))).toEqual(list);
      for (const [at, block] of blocks.entries()) {
        expect(checkBlock(block.bytes, blocks[at - 1]?.last ?? nothing)).toEqual(block);
        const inside = rowsOfBlock(block.bytes);
        const visited: unknown[] = [];
        visitBlock(block.bytes, (id, idEnd, row, rowEnd) => {
          const value = block.bytes.subarray(row, rowEnd);
          visited.push({ id: utf8Decode(block.bytes.subarray(id, idEnd)), value });
        });
        expect(visited).toEqual(inside);
        const before = inside
          .slice(0, -1)
          .reduce((sum, { id, value }) => sum + utf8Encode(id).length + value.length, 0);
        expect(before).toBeLessThan(blockBytes);
        for (const { id, value } of inside)
          expect(findInBlock(block.bytes, utf8Encode(id))).toEqual(value);
        const first = utf8Encode(inside[0]?.id ?? '');
        const isBelow = compareBytes(absent, first) < 0;
        expect(findInBlock(block.bytes, absent)).toBe(isBelow ? null : undefined);
      }
    }),
  );
  const many = Array.from({ length: blockRowsMax + 1 }, (_, i) => ({
    id: String(i).padStart(5, '0'),
    value: nothing,
  }));
  expect(packBlocks(many).map(({ count }) => count)).toEqual([blockRowsMax, 1]);
});

test('[MOD-65] whatever is changed or cut of a block, it is refused or holds ids in order', () => {
  fc.assert(
    fc.property(rows, fc.nat(), fc.nat(255), fc.nat(), (list, at, byte, cut) => {
      const [block] = packBlocks(list);
      if (block === undefined) return;
      const { bytes } = block;
      const changed = bytes.slice(0, bytes.length - (cut % 4 === 0 ? 1 + (cut % bytes.length) : 0));
      if (changed.length > 0) changed[at % changed.length] = byte;
      const checked = checkBlock(changed, nothing);
      if (checked === undefined) return;
      const ids = openBlock(changed).ids;
      expect(ids).toHaveLength(checked.count);
      for (const [i, id] of ids.entries())
        expect(compareBytes(ids[i - 1] ?? nothing, id)).toBeLessThan(0);
      expect(ids.at(-1)).toEqual(checked.last);
      const { values } = openBlock(changed);
      for (const [i, id] of ids.entries()) expect(findInBlock(changed, id)).toEqual(values[i]);
    }),
  );
});
