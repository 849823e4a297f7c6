import { createHash, createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { nodeCrypto } from './index.js';

const bytesOf = (length: number, first: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (first + i * 7) & 0xff);

test('hashes and keyed hashes are those of OpenSSL at every length around a block', () => {
  const lengths = [0, 1, 31, 32, 33, 55, 56, 63, 64, 65, 127, 128, 129, 1_000];
  for (const length of lengths) {
    const bytes = bytesOf(length, 3);
    expect(Buffer.from(nodeCrypto.sha256(bytes)).toString('hex')).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
    for (const keyLength of lengths) {
      const key = bytesOf(keyLength, 200);
      const expected = createHmac('sha256', key).update(bytes).digest('hex');
      expect(Buffer.from(nodeCrypto.hmacSha256(key, bytes)).toString('hex')).toBe(expected);
    }
  }
});

test('a keyed hash is that of RFC 4231, test case 2', () => {
  const mac = nodeCrypto.hmacSha256(
    Buffer.from('Jefe'),
    Buffer.from('what do ya want for nothing?'),
  );
  expect(Buffer.from(mac).toString('hex')).toBe(
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  );
});
