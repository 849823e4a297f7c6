import { describe, expect, test } from 'vitest';
import { ed25519 } from './ed25519.js';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

describe('Ed25519 of Node', () => {
  test('[IDN-1] keys and signatures are those of RFC 8032', () => {
    const secret = hex('c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7');
    const key = hex('fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025');
    const message = hex('af82');
    const signature = hex(
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac' +
        '18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
    );
    expect(ed25519.publicKey(secret)).toEqual(key);
    expect(ed25519.sign(secret, message)).toEqual(signature);
    expect(ed25519.verify(key, message, signature)).toBe(true);
    expect(ed25519.verify(key, hex('af83'), signature)).toBe(false);
    expect(
      ed25519.verify(
        key,
        message,
        signature.map((byte, i) => (i === 0 ? byte ^ 1 : byte)),
      ),
    ).toBe(false);
  });

  test('[IDN-1] what is no key and no signature verifies nothing', () => {
    const secret = new Uint8Array(32).fill(7);
    const key = ed25519.publicKey(secret);
    const signature = ed25519.sign(secret, new Uint8Array(3));
    for (const [badKey, badSignature] of [
      [key.subarray(1), signature],
      [new Uint8Array(0), signature],
      [key, signature.subarray(1)],
      [key, new Uint8Array(0)],
    ] as const)
      expect(ed25519.verify(badKey, new Uint8Array(3), badSignature)).toBe(false);
    expect(() => ed25519.sign(new Uint8Array(31), new Uint8Array(3))).toThrow(RangeError);
  });
});
