import { createHash } from 'node:crypto';
import { encodeRow, fieldBytesOfRow } from '@tidemark/model';
import { row } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  contentFingerprint,
  startContentFingerprint,
  type ContentRow,
} from './content-fingerprint.js';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

const rows = (count: number, text = 'x'): ContentRow[] =>
  Array.from({ length: count }, (_, i) => ({ id: `r${i}`, fields: { 1: `${text} ${i}`, 3: i } }));

test('[SYN-75] a content fingerprint is equal exactly if ids and values are, over many blocks', () => {
  const base = contentFingerprint(rows(3_000), hash);
  expect(contentFingerprint(rows(3_000), hash)).toBe(base);
  const prints = new Set([base]);
  for (const at of [0, 1, 700, 2_998, 2_999]) {
    const changed = rows(3_000);
    changed[at] = { id: `r${at}`, fields: { 1: 'changed', 3: at } };
    prints.add(contentFingerprint(changed, hash));
    prints.add(
      contentFingerprint(
        rows(3_000).filter((_, i) => i !== at),
        hash,
      ),
    );
  }
  prints.add(contentFingerprint([], hash));
  prints.add(contentFingerprint(rows(40, 'y'.repeat(40_000)), hash));
  prints.add(contentFingerprint(rows(41, 'y'.repeat(40_000)), hash));
  expect(prints.size).toBe(14);
});

test('[SYN-75] bytes of a row and its decoded fields give the same', () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 5 }), (list) => {
      const fingerprint = startContentFingerprint(hash);
      for (const [i, one] of list.entries())
        fingerprint.addBytes(String(i), fieldBytesOfRow(encodeRow(one)));
      const decoded = list.map(({ fields }, i) => ({ id: String(i), fields }));
      expect(fingerprint.digest()).toBe(contentFingerprint(decoded, hash));
    }),
  );
});
