import { illFormedText, text } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  compareBytes,
  concatBytes,
  equalBytes,
  fromBase64,
  fromHex,
  isWellFormed,
  toBase64,
  toHex,
  utf8Decode,
  utf8Encode,
  utf8Length,
} from './bytes.js';

const anyText = fc.oneof(text(), illFormedText);
const bytes = fc.uint8Array({ maxLength: 40 });

test('[MOD-6] a text is well-formed exactly if UTF-8 gives it back', () => {
  fc.assert(
    fc.property(anyText, (one) => isWellFormed(one) === (utf8Decode(utf8Encode(one)) === one)),
  );
  fc.assert(fc.property(illFormedText, (one) => !isWellFormed(one)));
});

test('[MOD-6] utf8Length is the length of the encoding', () => {
  fc.assert(fc.property(anyText, (one) => utf8Length(one) === utf8Encode(one).length));
});

test('[MOD-6] malformed UTF-8 is refused and a byte order mark is kept', () => {
  expect(() => utf8Decode(Uint8Array.of(0xc3))).toThrow(TypeError);
  expect(() => utf8Decode(Uint8Array.of(0xed, 0xa0, 0x80))).toThrow(TypeError);
  expect(utf8Decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0x41))).toBe('\ufeffA');
});

test('[MOD-7] base64 and hexadecimal are those of Node', () => {
  fc.assert(
    fc.property(bytes, (some) => {
      expect(toBase64(some)).toBe(Buffer.from(some).toString('base64'));
      expect(toHex(some)).toBe(Buffer.from(some).toString('hex'));
      expect(fromBase64(toBase64(some))).toEqual(some);
      expect(fromHex(toHex(some))).toEqual(some);
    }),
  );
});

test('[MOD-7] only what is printed is read', () => {
  const digits = fc.constantFrom('A', 'B', 'Q', 'g', 'w', '/', '+', '=', '-', '\n', 'é', 'f', '0');
  fc.assert(
    fc.property(fc.string({ unit: digits, maxLength: 9 }), (some) => {
      const base64 = fromBase64(some);
      if (base64 !== undefined) expect(toBase64(base64)).toBe(some);
      const hex = fromHex(some);
      if (hex !== undefined) expect(toHex(hex)).toBe(some);
    }),
  );
  for (const wrong of ['A', 'AA', 'AAA', '====', 'A===', 'AB==', 'AAB=', 'AA=A', 'AA\n=', '-_AA'])
    expect(fromBase64(wrong), wrong).toBeUndefined();
  for (const wrong of ['a', 'AB', 'zz', ' a', '0x']) expect(fromHex(wrong), wrong).toBeUndefined();
});

test('[MOD-8] bytes are ordered by the first difference, then by length', () => {
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(a, b));
      expect(equalBytes(a, b)).toBe(Buffer.compare(a, b) === 0);
      expect(concatBytes([a, b])).toEqual(new Uint8Array([...a, ...b]));
    }),
  );
});
