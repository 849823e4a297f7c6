import { createHash } from 'node:crypto';
import { compareBytes, packBlocks, utf8Encode } from '@tidemark/model';
import { mutatedBytes, recordId, serverVersion } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fingerprintOf } from './fingerprint.js';
import { joinTail } from './frame.js';
import {
  decodePage,
  decodePages,
  encodePage,
  encodePages,
  pagePart,
  type TablePage,
} from './page.js';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

const entriesPage: fc.Arbitrary<TablePage> = fc.record({
  table: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  mode: fc.constantFrom('full', 'incremental', 'repair'),
  blocks: fc.constant([]),
  entries: fc.array(
    fc.oneof(
      fc.record({
        ...{ kind: fc.constant('upsert' as const), id: recordId, version: serverVersion },
        row: fc.uint8Array({ maxLength: 30 }),
      }),
      fc.record({ kind: fc.constant('touch' as const), id: recordId, version: serverVersion }),
      fc.record({ kind: fc.constant('evict' as const), id: recordId }),
    ),
    { maxLength: 6 },
  ),
});
const blocksPage: fc.Arbitrary<TablePage> = fc
  .tuple(
    fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    fc.uniqueArray(fc.record({ id: recordId, value: fc.uint8Array({ maxLength: 9_000 }) }), {
      minLength: 1,
      maxLength: 6,
      selector: ({ id }) => id,
    }),
  )
  .map(([table, rows]) => ({
    ...{ table, mode: 'full' as const, entries: [] },
    blocks: packBlocks(rows.sort((a, b) => compareBytes(utf8Encode(a.id), utf8Encode(b.id)))),
  }));
const page = fc.oneof(entriesPage, blocksPage);
const encoded = page.map((one) => encodePage(one, hash));
const example: TablePage = {
  table: 258,
  mode: 'incremental',
  blocks: [],
  entries: [
    { kind: 'upsert', id: 'é', version: { incarnation: 1, n: 2 ** 32 + 3 }, row: Uint8Array.of(9) },
    { kind: 'evict', id: 'b' },
  ],
};

/** Replaces bytes of the body and mends the checksum, as only a sender can. */
const resealed = (bytes: Uint8Array): Uint8Array => {
  const out = bytes.slice();
  if (out.length >= 26) out.set(hash(out.subarray(26)).subarray(0, 8), 18);
  return out;
};

test('[SYN-70] a page is header, directory, rows', () => {
  const bytes = encodePage(example, hash);
  expect([...bytes.subarray(0, 18)]).toEqual([
    1, 1, 0, 0, 1, 2, 0, 0, 0, 2, 0, 0, 0, 35, 0, 0, 0, 1,
  ]);
  expect(bytes.subarray(18, 26)).toEqual(hash(bytes.subarray(26)).subarray(0, 8));
  expect([...bytes.subarray(26)]).toEqual([
    ...[0, 2, 0, 0, 0, 1, 0, 1, 0, 0, 0, 3, 0, 0, 0, 1, 0xc3, 0xa9],
    ...[2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 98],
    9,
  ]);
});

test('[SYN-76] a page of blocks is header, lengths, blocks, and its ids ascend', () => {
  const block = (...ids: readonly string[]) =>
    packBlocks(ids.map((id) => ({ id, value: Uint8Array.of(7, 8) })));
  const one: TablePage = { table: 258, mode: 'full', entries: [], blocks: block('a', 'é') };
  const bytes = encodePage(one, hash);
  expect([...bytes.subarray(0, 18)]).toEqual([
    2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 20,
  ]);
  expect([...bytes.subarray(26)]).toEqual([
    ...[0, 0, 0, 20],
    ...[1, 0, 2, 1, 0, 0, 0, 2, 2, 0, 0, 0, 2, 97, 0xc3, 0xa9, 7, 8, 7, 8],
  ]);
  const problem = (blocks: TablePage['blocks']): unknown =>
    decodePage(encodePage({ ...one, blocks }, hash), hash);
  const malformed = { _tag: 'Left', left: 'malformed' };
  expect(problem([...block('a'), ...block('b')])).toMatchObject({ _tag: 'Right' });
  expect(problem([...block('b'), ...block('a')])).toEqual(malformed);
  expect(problem([...block('a'), ...block('a')])).toEqual(malformed);
  expect(problem(block('b', 'a'))).toEqual(malformed);
  expect(problem(block('a\0'))).toEqual(malformed);
  expect(problem(block(''))).toEqual(malformed);
  const cut = block('a').map((some) => ({ ...some, bytes: some.bytes.subarray(1) }));
  expect(problem(cut)).toEqual(malformed);
});

test('[SYN-71] decoding inverts encoding, for pages and for tails of pages', () => {
  fc.assert(
    fc.property(fc.array(page, { maxLength: 3 }), (pages) => {
      for (const one of pages)
        expect(decodePage(encodePage(one, hash), hash)).toEqual({ _tag: 'Right', right: one });
      const tail = joinTail(encodePages(pages.map((one) => pagePart(one, hash))));
      expect(decodePages(tail, hash)).toEqual({ _tag: 'Right', right: pages });
    }),
  );
});

test('[SYN-72] decoding is total, also when the checksum is right', () => {
  const bytes = fc.oneof(
    fc.uint8Array(),
    mutatedBytes(encoded),
    mutatedBytes(encoded).map(resealed),
  );
  fc.assert(
    fc.property(bytes, (some) => {
      const one = decodePage(some, hash);
      if (one._tag === 'Left')
        expect(['malformed', 'checksum', 'newer-format']).toContain(one.left);
      const all = decodePages(some, hash);
      if (all._tag === 'Left')
        expect(['malformed', 'checksum', 'newer-format']).toContain(all.left);
    }),
  );
});

test('[SYN-72] hostile directories are malformed', () => {
  const change = (at: number, ...values: readonly number[]) => {
    const bytes = encodePage(example, hash);
    bytes.set(values, at);
    return decodePage(resealed(bytes), hash);
  };
  const malformed = { _tag: 'Left', left: 'malformed' };
  expect(change(42, 0xff)).toEqual(malformed); // an id that is no UTF-8
  expect(change(42, 0, 97)).toEqual(malformed); // an id with NUL
  expect(change(26, 3)).toEqual(malformed); // an unknown kind
  expect(change(27, 0)).toEqual(malformed); // an empty id
  expect(change(26, 1)).toEqual(malformed); // a touch with a row
  expect(change(38, 255, 255, 255, 255)).toEqual(malformed); // a row beyond the end
  expect(change(6, 255, 255, 255, 255)).toEqual(malformed); // entries beyond the end
  expect(change(6, 0, 0, 0, 1)).toEqual(malformed); // bytes left over
  expect(change(1, 3)).toEqual(malformed); // an unknown mode
  expect(change(0, 0)).toEqual(malformed);
  expect(change(0, 2)).toEqual(malformed); // blocks in another mode
  expect(change(0, 3)).toEqual({ _tag: 'Left', left: 'newer-format' });
});

test('[SYN-73] a change of any byte of directory or rows is seen', () => {
  fc.assert(
    fc.property(page, fc.nat(), fc.integer({ min: 1, max: 255 }), (one, at, by) => {
      const bytes = encodePage(one, hash);
      if (bytes.length === 26) return;
      const place = 26 + (at % (bytes.length - 26));
      bytes[place] = (bytes[place] as number) ^ by;
      expect(decodePage(bytes, hash)).toEqual({ _tag: 'Left', left: 'checksum' });
    }),
  );
});

test('[SYN-74] range fingerprints are equal exactly if scope, ids and versions are', () => {
  const entries = fc
    .uniqueArray(fc.record({ id: recordId, version: serverVersion }), {
      maxLength: 4,
      selector: ({ id }) => id,
    })
    .map((list) => list.sort((a, b) => compareBytes(utf8Encode(a.id), utf8Encode(b.id))));
  const scope = fc.constantFrom('a'.repeat(32), 'b'.repeat(32));
  fc.assert(
    fc.property(entries, entries, scope, scope, (a, b, left, right) => {
      const equal = JSON.stringify([a, left]) === JSON.stringify([b, right]);
      expect(fingerprintOf(left, a, hash) === fingerprintOf(right, b, hash)).toBe(equal);
      expect(fingerprintOf(left, a, hash)).toMatch(/^[0-9a-f]{32}$/);
    }),
  );
});
