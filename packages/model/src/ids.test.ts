import { invalidRecordId, nastyTexts, opId, recordId, replicaId } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareHlc, tickHlc, zeroHlc } from './hlc.js';
import { equalVersion, isRecordId, isReplicaId, parseOpId, printOpId } from './ids.js';

test('[MOD-1] any well-formed text of 1 to 255 bytes without NUL is a record id', () => {
  for (const id of nastyTexts) expect(isRecordId(id), JSON.stringify(id)).toBe(true);
  fc.assert(fc.property(recordId, (id) => isRecordId(id)));
});

test('[MOD-1] other texts are no record ids', () => {
  fc.assert(fc.property(invalidRecordId, (id) => !isRecordId(id)));
});

test('[MOD-2] a replica id has 1 to 64 characters of [A-Za-z0-9_-]', () => {
  fc.assert(fc.property(replicaId, (id) => isReplicaId(id)));
  for (const id of ['', 'a'.repeat(65), 'a.b', 'a b', '*', '>', 'é', 'a\n', 'a/1', 'a:b'])
    expect(isReplicaId(id), id).toBe(false);
});

test('[MOD-3] an OpId is read back from its text', () => {
  expect(printOpId({ replica: 'r1', epoch: 2, index: 30 })).toBe('r1/2/30');
  fc.assert(
    fc.property(opId, (id) => {
      expect(parseOpId(printOpId(id))).toEqual(id);
    }),
  );
});

test('[MOD-3] a text that printOpId does not print is no OpId', () => {
  for (const text of ['', 'r', 'r/1', 'r/1/2/3', 'r/01/2', 'r/1/02', 'r/-1/2', 'r/1/1e3', 'r/1/ 2'])
    expect(parseOpId(text), text).toBeUndefined();
  expect(parseOpId(`r/1/${'9'.repeat(16)}`)).toBeUndefined();
  expect(parseOpId('backend:erp/0/5')).toEqual({ replica: 'backend:erp', epoch: 0, index: 5 });
});

test('[MOD-4] versions are equal if incarnation and n are', () => {
  const version = { incarnation: 1, n: 5 };
  expect(equalVersion(version, { incarnation: 1, n: 5 })).toBe(true);
  expect(equalVersion(version, { incarnation: 2, n: 5 })).toBe(false);
  expect(equalVersion(version, { incarnation: 1, n: 6 })).toBe(false);
});

test('[MOD-5] a clock reading is greater than the one before, whatever the wall clock does', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 5 })), (times) => {
      let last = zeroHlc;
      for (const now of times) {
        const next = tickHlc(last, now);
        expect(compareHlc(next, last)).toBeGreaterThan(0);
        expect(next.wallMs).toBe(Math.max(last.wallMs, now));
        last = next;
      }
    }),
  );
});
