import { compareBytes, concatBytes } from '@tidemark/model';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { indexKey, indexPrefixBytes } from './keys.js';
import { sortSuffixes, suffixesOf } from './sorted-suffixes.js';

const bytes = fc.uint8Array({ maxLength: 40 });
/** Few values, so that keys share beginnings, and zeros, which are escaped. */
const alike = fc
  .array(fc.constantFrom(0, 1, 255), { maxLength: 30 })
  .map((list) => Uint8Array.from(list));
const id = fc.stringMatching(/^[a-c]{1,6}$/);
const entries = fc.array(fc.tuple(fc.oneof(bytes, alike), id), { maxLength: 300 });

test('[STO-98] entries of a run are in the order of their index keys', () => {
  fc.assert(
    fc.property(entries, (list) => {
      const encoder = new TextEncoder();
      const parts = list.flatMap(([key, text]) => [key, encoder.encode(text)]);
      let end = 0;
      const ends = Uint32Array.from(parts, (part) => (end += part.length));
      const run = { layer: 1, table: 1, index: 1, run: 1, bytes: concatBytes(parts), ends };
      const suffixes = suffixesOf(run);
      const sorted = [...sortSuffixes(suffixes)].map((entry) =>
        suffixes.bytes.subarray(suffixes.starts[entry], suffixes.starts[entry + 1]),
      );
      const wanted = list
        .map(([key, text]) => indexKey(1, 1, 1, key, text).subarray(indexPrefixBytes))
        .sort(compareBytes);
      expect(sorted.map((one) => [...one])).toEqual(wanted.map((one) => [...one]));
    }),
  );
});
