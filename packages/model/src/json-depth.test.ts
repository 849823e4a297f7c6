import fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8Encode } from './bytes.js';
import { isDeepJson, jsonDepthMax } from './json-depth.js';

const depthOf = (json: unknown): number =>
  typeof json !== 'object' || json === null
    ? 0
    : 1 + Math.max(0, ...Object.values(json).map(depthOf));

const print = (json: unknown): Uint8Array => utf8Encode(JSON.stringify(json));

test('[MOD-64] the depth of JSON is told from its bytes', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), fc.nat(8), (json, depthMax) => {
      expect(isDeepJson(print(json), depthMax)).toBe(depthOf(json) > depthMax);
    }),
  );
});

test('[MOD-64] brackets within texts do not nest', () => {
  for (const text of ['[[[[', '{"', '\\', '\\"[[', '"'])
    expect(isDeepJson(print([text, { [text]: text }]), 2)).toBe(false);
  const nested = (depth: number): Uint8Array => utf8Encode('['.repeat(depth) + ']'.repeat(depth));
  expect(isDeepJson(nested(jsonDepthMax))).toBe(false);
  expect(isDeepJson(nested(jsonDepthMax + 1))).toBe(true);
  expect(isDeepJson(nested(100_000))).toBe(true);
});
