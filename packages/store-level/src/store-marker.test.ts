import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decodeMarker, encodeMarker } from './store-marker.js';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

describe('the marker of a store', () => {
  it('[STO-3] an ordinal behind which no batch could be numbered counts as damage', () => {
    const read = (ordinal: number) => {
      const content = { storeId: new Uint8Array(16), ordinal, repairWanted: false };
      return decodeMarker(encodeMarker({ ...content, payload: undefined }, hash), hash);
    };
    expect(read(2 ** 47)).toMatchObject({ ordinal: 2 ** 47 });
    // Found by mutated bytes with a checksum that fits: the next batch had no number.
    for (const ordinal of [2 ** 47 + 1, 2 ** 48 - 1]) expect(read(ordinal)).toBe('damaged');
  });
});
