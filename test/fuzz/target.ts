import { TidemarkError } from '@tidemark/model';
import fc from 'fast-check';

/** A part of valid bytes that can be changed without its frame noticing: lengths and checksums are made anew. */
export interface Core {
  readonly bytes: Uint8Array;
  readonly dress: (core: Uint8Array) => Uint8Array;
}

/** Valid bytes with the parts that lie inside frames. */
export interface Sample {
  readonly bytes: Uint8Array;
  readonly cores: readonly Core[];
}

/** What a decoder made of bytes: what it refused with, or that it took them. */
export type Reading =
  { readonly tag: 'refused'; readonly code: string } | { readonly tag: 'taken' };

/** A decoder under test. */
export interface FuzzTarget {
  readonly name: string;
  readonly samples: (seed: number) => readonly Sample[];
  /** Throws `Broken` where a value that was taken does not come back; what else it throws is a fault. */
  readonly read: (bytes: Uint8Array) => Reading | Promise<Reading>;
  /** Each reading costs a hundred times as much as another's: fewer are enough. */
  readonly isCostly?: boolean;
}

/** A decoder took bytes and gave something that does not hold. */
export class Broken extends Error {}

const samplesPerTarget = 24;

/** Values of an arbitrary, the same for the same seed. */
export const drawn = <A>(arbitrary: fc.Arbitrary<A>, seed: number, count = samplesPerTarget): A[] =>
  fc.sample(arbitrary, { seed, numRuns: count });

export const taken: Reading = { tag: 'taken' };
export const refused = (code: string): Reading => ({ tag: 'refused', code });

/** Reads with a decoder that throws: only coded errors are refusals. */
export const coded = (read: () => void): Reading => {
  try {
    read();
    return taken;
  } catch (cause) {
    if (cause instanceof TidemarkError) return refused(cause.code);
    throw cause;
  }
};

/** The same for a reading that goes through a store. */
export const codedLater = async (read: () => Promise<void>): Promise<Reading> => {
  try {
    await read();
    return taken;
  } catch (cause) {
    if (cause instanceof TidemarkError) return refused(cause.code);
    throw cause;
  }
};

/** What is decoded from `again`, an encoding of `value`, must be `value`. */
export const expectSame = (what: string, value: unknown, again: unknown): void => {
  const [a, b] = [printed(value), printed(again)];
  if (a !== b) throw new Broken(`${what} became ${b.slice(0, 200)} and was ${a.slice(0, 200)}`);
};

export const expectBytes = (what: string, bytes: Uint8Array, again: Uint8Array): void => {
  if (Buffer.compare(bytes, again) !== 0)
    throw new Broken(`${what}: taken bytes have another encoding`);
};

const printed = (value: unknown): string =>
  JSON.stringify(value, (_key, one: unknown) =>
    one instanceof Uint8Array ? { hex: Buffer.from(one).toString('hex') } : one,
  ) ?? 'undefined';

/** Sample without a frame. */
export const plain = (bytes: Uint8Array): Sample => ({
  bytes,
  cores: [{ bytes, dress: (core) => core }],
});

/** Sample whose first bytes are a frame without a length. */
export const headed = (bytes: Uint8Array, headBytes: number): Sample => ({
  bytes,
  cores: [
    {
      bytes: bytes.slice(headBytes),
      dress: (core) => Buffer.concat([bytes.subarray(0, headBytes), core]),
    },
  ],
});

/** Bytes with a part replaced whose length stands before it. */
export const framed = (bytes: Uint8Array, lengthAt: number, lengthBytes: 2 | 4): Core => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = lengthBytes === 4 ? view.getUint32(lengthAt) : view.getUint16(lengthAt);
  const from = lengthAt + lengthBytes;
  return {
    bytes: bytes.slice(from, from + length),
    dress: (core) => {
      const out = new Uint8Array(bytes.length - length + core.length);
      out.set(bytes.subarray(0, from));
      const to = new DataView(out.buffer);
      if (lengthBytes === 4) to.setUint32(lengthAt, core.length);
      else to.setUint16(lengthAt, core.length & 0xffff);
      out.set(core, from);
      out.set(bytes.subarray(from + length), from + core.length);
      return out;
    },
  };
};
