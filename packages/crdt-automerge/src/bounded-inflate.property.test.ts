import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { deflateSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import {
  blocksFree,
  bytesPerBlockMin,
  inflateBounded,
  inflatedBytesFree,
  inflatedTimesMax,
} from './bounded-inflate.js';

const outputMax = 1_000_000;
const megabyte = 1024 * 1024;

/** What zlib makes of raw deflate bytes; null when it refuses them, or when bytes are left behind them. */
const byZlib = (bytes: Uint8Array): Uint8Array | null => {
  try {
    // The typings do not know of `info`.
    const { buffer, engine } = inflateRawSync(bytes, { info: true } as object) as unknown as {
      readonly buffer: Uint8Array;
      readonly engine: { readonly bytesWritten: number };
    };
    return engine.bytesWritten === bytes.length ? new Uint8Array(buffer) : null;
  } catch {
    return null;
  }
};

const own = (bytes: Uint8Array): Uint8Array | null => {
  try {
    return inflateBounded(bytes, outputMax).slice();
  } catch {
    return null;
  }
};

const repeated = fc
  .tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 400 }))
  .map(([bytes, times]) =>
    Uint8Array.from({ length: bytes.length * times }, (_, i) => bytes[i % bytes.length] as number),
  );
const content = fc
  .array(fc.oneof(fc.uint8Array({ maxLength: 600 }), repeated), { maxLength: 5 })
  .map((parts) => new Uint8Array(Buffer.concat(parts)));
const deflated = fc
  .tuple(
    content,
    fc.constantFrom(0, 1, 6, 9),
    fc.constantFrom(
      constants.Z_DEFAULT_STRATEGY,
      constants.Z_FIXED,
      constants.Z_HUFFMAN_ONLY,
      constants.Z_RLE,
    ),
    fc.boolean(),
  )
  .map(([bytes, level, strategy, isOurs]) => ({
    bytes,
    packed: new Uint8Array(
      isOurs ? deflateSync(bytes) : deflateRawSync(bytes, { level, strategy }),
    ),
  }));
const mutation = fc.record({
  at: fc.nat(),
  value: fc.nat(255),
  kind: fc.constantFrom('change', 'flip', 'remove', 'insert', 'cut', 'append'),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer M> ? M : never;

const mutate = (bytes: Uint8Array, { at, value, kind }: Mutation): Uint8Array => {
  const out = [...bytes];
  // Most of what may be wrong is in the head of a block.
  const place = (value % 2 === 0 ? at % 48 : at) % Math.max(1, out.length);
  if (kind === 'change') out[place] = value;
  else if (kind === 'flip') out[place] = (out[place] ?? 0) ^ (1 << (value % 8));
  else if (kind === 'remove') out.splice(place, 1);
  else if (kind === 'insert') out.splice(place, 0, value);
  else if (kind === 'cut') out.splice(place);
  else out.push(value);
  return Uint8Array.from(out);
};

describe('inflating', () => {
  it('[CRD-11] gives what was deflated, by whomever', () => {
    fc.assert(
      fc.property(deflated, ({ bytes, packed }) => {
        expect(own(packed)).toEqual(bytes);
      }),
    );
  });

  it('[CRD-11] takes of damaged bytes what zlib takes, and refuses the others', () => {
    let refused = 0;
    let taken = 0;
    fc.assert(
      fc.property(
        deflated,
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        ({ packed }, all) => {
          const damaged = all.reduce(mutate, packed);
          const expected = byZlib(damaged);
          expect(own(damaged)).toEqual(expected);
          if (expected === null) refused += 1;
          else taken += 1;
        },
      ),
      { numRuns: 1_000 },
    );
    expect(refused).toBeGreaterThan(0);
    expect(taken).toBeGreaterThan(0);
  });

  it('[CRD-11] takes of any bytes what zlib takes', () => {
    const dynamic = fc.uint8Array({ minLength: 2, maxLength: 80 }).map((bytes) => {
      // A last block that brings its own code: bytes at random seldom begin one.
      bytes[0] = ((bytes[0] ?? 0) & ~7) | 5;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), dynamic), (bytes) => {
        expect(own(bytes)).toEqual(byZlib(bytes));
      }),
      { numRuns: 1_000 },
    );
  });

  it('[CRD-11] takes as many blocks as so many bytes may have, and not one more', () => {
    // A stored block of no bytes takes five; the last one says that it is.
    const blocks = (count: number): Uint8Array =>
      Uint8Array.from({ length: 5 * count }, (_, i) =>
        i === 5 * (count - 1) ? 1 : i % 5 < 3 ? 0 : 0xff,
      );
    const most = blocksFree + Math.floor((5 * 65) / bytesPerBlockMin);
    expect(inflateRawSync(blocks(most + 1)).length).toBe(0);
    expect(inflateBounded(blocks(most), megabyte).length).toBe(0);
    expect(() => inflateBounded(blocks(most + 1), megabyte)).toThrow('too many blocks');
  });

  it('[CRD-11] takes what anybody deflates of a long text', () => {
    const random = Uint8Array.from({ length: megabyte }, (_, i) => (i * i * 31 + (i >> 7)) % 251);
    const zeros = new Uint8Array(megabyte);
    for (const bytes of [random, zeros, Uint8Array.from([...random, ...zeros])])
      for (const packed of [
        deflateSync(bytes),
        ...[1, 6, 9].map((level) => deflateRawSync(bytes, { level })),
      ])
        expect(inflateBounded(packed, 4 * megabyte).length).toBe(bytes.length);
  });

  it('[CRD-11] gives as much as the bound allows, and not a byte more', () => {
    const packed = (bytes: number): Uint8Array =>
      deflateRawSync(new Uint8Array(bytes), { level: 9 });
    const few = packed(inflatedBytesFree);
    expect(few.length * inflatedTimesMax).toBeLessThan(inflatedBytesFree);
    expect(inflateBounded(few, 16 * megabyte).length).toBe(inflatedBytesFree);
    const more = packed(inflatedBytesFree + 1);
    expect(() => inflateBounded(more, 16 * megabyte)).toThrow('over the bound');
    expect(() => inflateBounded(packed(1_001), 1_000)).toThrow('over the bound');
    expect(inflateBounded(packed(1_000), 1_000).length).toBe(1_000);
  });
});
