import { describe, expect, it } from 'vitest';
import { equalBytes, utf8Encode } from './bytes.js';
import { newBytes, slabBytes, utf8EncodeBriefly } from './slab.js';

describe('bytes of a slab', () => {
  it('hold the same as the plain encoding, whatever the text', () => {
    const texts = ['', 'a', 'ž€😀', '\ud800', '\udc00x', '€'.repeat(4_096), 'x'.repeat(10_000)];
    for (const text of texts)
      expect(equalBytes(utf8EncodeBriefly(text), utf8Encode(text))).toBe(true);
  });

  it('are never given twice', () => {
    const given: { readonly text: string; readonly bytes: Uint8Array }[] = [];
    for (let length = 0; length < 3 * slabBytes; length += 997) {
      const text = `${length}€`.repeat(1 + (length % 300));
      given.push({ text, bytes: utf8EncodeBriefly(text) });
      newBytes(length % 5_000).fill(0xff);
    }
    for (const { text, bytes } of given) expect(equalBytes(bytes, utf8Encode(text))).toBe(true);
  });
});
