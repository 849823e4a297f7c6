import fc from 'fast-check';
import type { Value } from '@tidemark/model';
import { expect, test } from 'vitest';
import { encodeOutline, FeedOutline, hashOfId, hashOfScopeKey } from './feed-outline.js';

const key: fc.Arbitrary<Value> = fc.oneof(
  fc.string(),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
);

test('[SRV-19] an outline never denies what its segment holds', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), fc.array(key), (ids, keys) => {
      const outline = new FeedOutline(encodeOutline(7, ids, new Set(keys)));
      expect(keys.every((one) => outline.mayConcern(hashOfScopeKey(one)))).toBe(true);
      expect(ids.every((id) => outline.mayChange([hashOfId(id)]))).toBe(true);
    }),
  );
});

test('[SRV-19] an outline tells apart what differs, but for texts of one hash', () => {
  const ids = Array.from({ length: 1_000 }, (_, i) => `held-${i}`);
  const keys = ids.map((id) => `site ${id}`);
  const outline = new FeedOutline(encodeOutline(7, ids, new Set(keys)));
  const others = Array.from({ length: 10_000 }, (_, i) => `other-${i}`);
  expect(others.filter((id) => outline.mayChange([hashOfId(id)])).length).toBeLessThan(5);
  expect(others.filter((one) => outline.mayConcern(hashOfScopeKey(one))).length).toBeLessThan(5);
});

test('[SRV-19] without a scope key an outline tells of records alone', () => {
  const outline = new FeedOutline(encodeOutline(1, ['a'], null));
  expect(outline.mayConcern(hashOfScopeKey('x'))).toBe(true);
  expect([['a'], ['b']].map((ids) => outline.mayChange(ids.map(hashOfId)))).toEqual([true, false]);
});

test('[SRV-19] bytes of another form tell nothing: their segment is read', () => {
  const whole = encodeOutline(2 ** 40 + 5, ['a', 'b'], new Set(['x']));
  const others = [
    new Uint8Array(0),
    whole.subarray(0, whole.length - 1),
    whole.subarray(0, 10),
    Uint8Array.from(whole, (byte, i) => (i === 0 ? 9 : byte)),
    Uint8Array.from(whole, (byte, i) => (i === 7 ? 9 : byte)),
  ];
  expect(new FeedOutline(whole).first).toBe(2 ** 40 + 5);
  for (const bytes of others) {
    expect(new FeedOutline(bytes).first).toBeUndefined();
    const outline = new FeedOutline(bytes);
    expect(outline.mayConcern(hashOfScopeKey('y'))).toBe(true);
    expect(outline.mayChange([hashOfId('c')])).toBe(true);
  }
});
