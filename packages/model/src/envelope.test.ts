import { envelope, mutatedBytes } from '@tidemark/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, utf8Encode } from './bytes.js';
import { decodeEnvelope, encodeEnvelope, envelopeBytesMax, type Envelope } from './envelope.js';
import { transactionBytesMax } from './operation.js';

const head = new Uint8Array(32).fill(255);
const one: Envelope = {
  ...{ replica: 'r1', epoch: 1, user: 'user-1', from: 1, to: 2, offsetMs: -5 },
  ...{ headBefore: head, headAfter: head, signature: '' },
  transactions: [Uint8Array.of(1), Uint8Array.of(2, 3)],
};

const withHeader = (header: unknown): Uint8Array => {
  const text = utf8Encode(JSON.stringify(header));
  const prefix = new Uint8Array(5);
  prefix[0] = 1;
  new DataView(prefix.buffer).setUint32(1, text.length);
  return concatBytes([prefix, text, Uint8Array.of(0, 0, 0, 1, 9)]);
};
const hex = '0'.repeat(64);
const header = ['r1', 1, 'user-1', 1, 2, 0, hex, hex, ''];
const malformed = { _tag: 'Left', left: 'malformed' };

test('[MOD-40] an envelope is format, header length, header, transactions with their lengths', () => {
  const bytes = encodeEnvelope(one);
  const headerLength = new DataView(bytes.buffer).getUint32(1);
  expect(bytes[0]).toBe(1);
  expect(JSON.parse(Buffer.from(bytes.subarray(5, 5 + headerLength)).toString())).toEqual([
    ...['r1', 1, 'user-1', 1, 2, -5],
    ...['ff'.repeat(32), 'ff'.repeat(32), ''],
  ]);
  expect([...bytes.subarray(5 + headerLength)]).toEqual([0, 0, 0, 1, 1, 0, 0, 0, 2, 2, 3]);
});

test('[MOD-41] decoding inverts encoding', () => {
  fc.assert(
    fc.property(envelope, (some) => {
      expect(decodeEnvelope(encodeEnvelope(some))).toEqual({ _tag: 'Right', right: some });
    }),
  );
});

test('[MOD-42] decoding is total and tells a newer format from damage', () => {
  const bytes = encodeEnvelope(one);
  bytes[0] = 2;
  expect(decodeEnvelope(bytes)).toEqual({ _tag: 'Left', left: 'newer-format' });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        mutatedBytes(envelope.map(encodeEnvelope)),
        fc.jsonValue().map(withHeader),
      ),
      (some) => {
        const result = decodeEnvelope(some);
        if (result._tag === 'Left') expect(['malformed', 'newer-format']).toContain(result.left);
      },
    ),
  );
});

test('[MOD-43] unknown trailing elements of the header are ignored', () => {
  expect(decodeEnvelope(withHeader(header))._tag).toBe('Right');
  expect(decodeEnvelope(withHeader([...header, { new: 1 }]))).toEqual(
    decodeEnvelope(withHeader(header)),
  );
});

describe('[MOD-42] what is refused', () => {
  const changed: Readonly<Record<string, readonly [index: number, value: unknown]>> = {
    'a replica id with a dot': [0, 'a.b'],
    'a negative epoch': [1, -1],
    'a user that is no text': [2, 1],
    'a user of 256 characters': [2, 'x'.repeat(256)],
    'index 0': [3, 0],
    'an end before the beginning': [4, 0],
    'a fraction as offset': [5, 0.5],
    'a short head': [6, '00'],
    'a head in capitals': [7, 'A'.repeat(64)],
    'a signature that is no text': [8, null],
  };

  test.each(Object.keys(changed))('%s', (name) => {
    const [index, value] = changed[name] as readonly [number, unknown];
    expect(decodeEnvelope(withHeader(header.map((old, i) => (i === index ? value : old))))).toEqual(
      malformed,
    );
  });

  test('no transaction, cut lengths, a header over 4,096 bytes', () => {
    expect(decodeEnvelope(withHeader(header).subarray(0, -5))).toEqual(malformed);
    expect(decodeEnvelope(withHeader(header).subarray(0, -1))).toEqual(malformed);
    expect(decodeEnvelope(withHeader(header).subarray(0, -2))).toEqual(malformed);
    expect(decodeEnvelope(withHeader([...header, 'x'.repeat(4_096)]))).toEqual(malformed);
  });

  test('more than the maximum', () => {
    const full = {
      ...one,
      transactions: Array.from({ length: 3 }, () => new Uint8Array(transactionBytesMax)),
    };
    expect(decodeEnvelope(encodeEnvelope(full))._tag).toBe('Right');
    const over = { ...one, transactions: [new Uint8Array(envelopeBytesMax)] };
    expect(decodeEnvelope(encodeEnvelope(over))).toEqual(malformed);
  });
});
