import { brotliCompressSync, constants, deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compressionNow, nodeCodecs, nodeCompression, unpackNow } from './node-compression.js';

const { pack, unpack } = nodeCompression;
const codec = fc.constantFrom(...nodeCodecs);
/** Bytes that shrink and bytes that do not. */
const bytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 2_000 }),
  fc
    .tuple(fc.string({ minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 5_000 }))
    .map(([text, times]) => new TextEncoder().encode(text.repeat(times))),
);
const bombBytes = 50_000_000;
/** Most memory of the process that a refused bomb may cost, bytes. */
const bombRoom = 16_000_000;

describe('compression of Node', () => {
  test('[SYN-77] unpacking inverts packing, and only at the length that was packed', async () => {
    await fc.assert(
      fc.asyncProperty(codec, bytes, async (name, one) => {
        const packed = await pack(name, one);
        expect(await unpack(name, packed, one.length)).toEqual(one);
        expect(await compressionNow.pack(name, one)).toEqual(packed);
        for (const length of [0, one.length - 1, one.length + 1])
          expect(await unpack(name, packed, length)).toBeUndefined();
      }),
    );
  });

  test('[SYN-77] bytes of no codec, of another one, cut or bent never become other bytes of another length', async () => {
    await fc.assert(
      fc.asyncProperty(codec, bytes, fc.nat(), fc.nat(255), async (name, one, place, to) => {
        const packed = await pack(name, one);
        const at = place % packed.length;
        expect(await unpack(name, packed.slice(0, at), one.length)).toBeUndefined();
        const bent = packed.slice();
        bent[at] = to;
        const read = await unpack(name, bent, one.length);
        expect(unpackNow(name, bent, one.length)).toEqual(read);
        if (read !== undefined) expect(read).toHaveLength(one.length);
        expect(await unpack('zip', packed, one.length)).toBeUndefined();
        expect(await unpack(name, new Uint8Array(0), one.length)).toBeUndefined();
      }),
    );
    await expect(pack('zip', new Uint8Array(1))).rejects.toThrow(RangeError);
  });

  test('[SYN-77] what unpacks to 50 MB and announces less is refused before its memory is taken', async () => {
    const zeros = new Uint8Array(bombBytes);
    const bombs = [
      { name: 'deflate-raw', bomb: new Uint8Array(deflateRawSync(zeros)) },
      {
        name: 'brotli',
        bomb: new Uint8Array(
          brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_LGWIN]: 20 } }),
        ),
      },
    ];
    for (const { name, bomb } of bombs) {
      expect(bomb.length).toBeLessThan(60_000);
      const before = process.memoryUsage.rss();
      expect(await unpack(name, bomb, 1_000_000)).toBeUndefined();
      expect(process.memoryUsage.rss() - before).toBeLessThan(bombRoom);
    }
  });

  test('[SYN-77] a Brotli stream with a larger window than a message needs is refused by its first byte', async () => {
    const one = new Uint8Array(5_000).fill(7);
    const read: [number, boolean][] = [];
    for (const bits of [10, 11, 15, 16, 17, 18, 20, 21, 22, 24]) {
      const params = { [constants.BROTLI_PARAM_LGWIN]: bits };
      const packed = new Uint8Array(brotliCompressSync(one, { params }));
      read.push([bits, (await unpack('brotli', packed, one.length)) !== undefined]);
    }
    expect(read).toEqual(
      [10, 11, 15, 16, 17, 18, 20, 21, 22, 24].map((bits) => [bits, bits <= 20]),
    );
  });
});
