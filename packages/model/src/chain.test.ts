import { createHash } from 'node:crypto';
import { mutatedBytes } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concatBytes } from './bytes.js';
import {
  emptyHead,
  eraseTransaction,
  nextHead,
  openTransaction,
  saltBytes,
  storeTransaction,
} from './chain.js';
import { transactionBytesMax, transactionOpsMax } from './operation.js';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());
const salt = new Uint8Array(saltBytes).fill(7);

const stored = fc
  .tuple(
    fc.integer({ min: 1, max: transactionOpsMax }),
    fc.uint8Array({ minLength: saltBytes, maxLength: saltBytes }),
    fc.uint8Array({ maxLength: 30 }),
  )
  .map(([ops, ownSalt, payload]) => ({
    ops,
    payload,
    bytes: storeTransaction(ops, ownSalt, payload),
  }));

const open = (bytes: Uint8Array) => {
  const result = openTransaction(bytes, hash);
  if (result._tag === 'Left') throw new Error(result.left);
  return result.right;
};

const headOf = (transactions: readonly Uint8Array[]): Uint8Array =>
  transactions.reduce<Uint8Array>((head, bytes) => nextHead(head, open(bytes), hash), emptyHead);

test('[MOD-30] the stored bytes are header, salt, payload', () => {
  const bytes = storeTransaction(258, salt, Uint8Array.of(91, 93));
  expect([...bytes.subarray(0, 8)]).toEqual([1, 0, 1, 2, 0, 0, 0, 2]);
  expect(bytes.subarray(8, 24)).toEqual(salt);
  expect([...bytes.subarray(24)]).toEqual([91, 93]);
});

test('[MOD-30] opening inverts storing', () => {
  fc.assert(
    fc.property(stored, ({ ops, payload, bytes }) => {
      const opened = open(bytes);
      expect(opened.opCount).toBe(ops);
      expect(opened.payload).toEqual(payload);
      expect(opened.digest).toEqual(hash(bytes.subarray(8)));
    }),
  );
});

test('[MOD-31] a head is the hash of the head before, the header and the digest of the body', () => {
  const bytes = storeTransaction(1, salt, Uint8Array.of(1));
  expect(emptyHead).toEqual(new Uint8Array(32));
  expect(nextHead(emptyHead, open(bytes), hash)).toEqual(
    hash(concatBytes([emptyHead, bytes.subarray(0, 8), hash(bytes.subarray(8))])),
  );
});

test('[MOD-31] a change of any byte that still opens changes the head', () => {
  fc.assert(
    fc.property(stored, fc.nat(), fc.integer({ min: 1, max: 255 }), ({ bytes }, at, by) => {
      const changed = bytes.slice();
      const place = at % changed.length;
      changed[place] = (changed[place] as number) ^ by;
      const result = openTransaction(changed, hash);
      if (result._tag === 'Left') return;
      expect(nextHead(emptyHead, result.right, hash)).not.toEqual(headOf([bytes]));
    }),
  );
});

test('[MOD-32] erasing any transactions leaves every head as it was', () => {
  const log = fc.array(fc.tuple(stored, fc.boolean()), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(log, (entries) => {
      const whole = entries.map(([{ bytes }]) => bytes);
      const erased = entries.map(([{ bytes }, drop]) =>
        drop ? eraseTransaction(open(bytes)) : bytes,
      );
      expect(headOf(erased)).toEqual(headOf(whole));
    }),
  );
});

test('[MOD-32] an erased transaction holds neither salt nor payload, and erasing it again changes nothing', () => {
  const payload = new Uint8Array(40).fill(65);
  const erased = eraseTransaction(open(storeTransaction(3, salt, payload)));
  expect(erased.length).toBe(40);
  expect(erased[1]).toBe(1);
  const opened = open(erased);
  expect(opened.payload).toBeUndefined();
  expect(opened.opCount).toBe(3);
  expect(Buffer.from(erased).includes(Buffer.alloc(8, 65))).toBe(false);
  expect(Buffer.from(erased).includes(Buffer.alloc(8, 7))).toBe(false);
  expect(eraseTransaction(opened)).toEqual(erased);
});

test('[MOD-39] opening is total and tells a newer format from damage', () => {
  const bytes = storeTransaction(1, salt, Uint8Array.of(1));
  const broken = (change: (copy: Uint8Array) => void) => {
    const copy = bytes.slice();
    change(copy);
    return openTransaction(copy, hash);
  };
  const malformed = { _tag: 'Left', left: 'malformed' };
  expect(broken((copy) => copy.set([2], 0))).toEqual({ _tag: 'Left', left: 'newer-format' });
  expect(broken((copy) => copy.set([0], 0))).toEqual(malformed);
  expect(broken((copy) => copy.set([2], 1))).toEqual(malformed);
  expect(broken((copy) => copy.set([0, 0], 2))).toEqual(malformed);
  expect(broken((copy) => copy.set([0x03, 0xe9], 2))).toEqual(malformed);
  expect(broken((copy) => copy.set([0xff, 0xff, 0xff, 0xff], 4))).toEqual(malformed);
  expect(openTransaction(bytes.subarray(0, 23), hash)).toEqual(malformed);
  const over = storeTransaction(1, salt, new Uint8Array(transactionBytesMax - 23));
  expect(openTransaction(over, hash)).toEqual(malformed);
  expect(openTransaction(over.subarray(0, 30), hash)).toEqual(malformed);
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), mutatedBytes(stored.map((one) => one.bytes))), (some) => {
      const result = openTransaction(some, hash);
      if (result._tag === 'Left') expect(['malformed', 'newer-format']).toContain(result.left);
    }),
  );
});

test('[MOD-39] bytes that lie inside a larger buffer are opened alike', () => {
  const bytes = storeTransaction(5, salt, Uint8Array.of(1, 2));
  const inside = concatBytes([new Uint8Array(3), bytes, new Uint8Array(3)]).subarray(
    3,
    3 + bytes.length,
  );
  expect(open(inside)).toEqual(open(bytes));
});
