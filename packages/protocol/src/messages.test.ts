import { messageNames, messages, mutatedBytes } from '@tidemark/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeFrame,
  encodeFrame,
  messageBytesMax,
  unpackedBytesMax,
  messageJsonBytesMax,
  inProtocol,
  protocolVersion,
} from './frame.js';
import {
  codecsMax,
  compareIdsMax,
  compareRangesMax,
  decodeMessage,
  encodeMessage,
  pagesAheadMax,
  resumePointsMax,
  type MessageName,
  type Messages,
} from './messages.js';

test('[SYN-60] a message is version, length of the JSON, JSON, tail', () => {
  const bytes = encodeFrame({ have: 3 }, [Uint8Array.of(7, 8)]);
  expect([...bytes.subarray(0, 5)]).toEqual([protocolVersion, 0, 0, 0, 10]);
  expect(Buffer.from(bytes.subarray(5, 15)).toString()).toBe('{"have":3}');
  expect([...bytes.subarray(15)]).toEqual([7, 8]);
});

/** Members that senders of an earlier version leave out. */
const ofLater = new Set(['blocks', 'codecs', 'ready', 'skip', 'from', 'packed']);

describe.each(messageNames)('%s', (name) => {
  const message: fc.Arbitrary<Messages[MessageName]> = messages[name];

  test('[SYN-61] decoding inverts encoding', () => {
    fc.assert(
      fc.property(message, fc.uint8Array(), (one, tail) => {
        expect(decodeMessage(name, encodeMessage(name, one, [tail]))).toEqual({
          _tag: 'Right',
          right: { message: one, tail },
        });
      }),
    );
  });

  test('[SYN-62] unknown members are tolerated, a missing or foreign one is not', () => {
    fc.assert(
      fc.property(message, fc.nat(), (one, pick) => {
        const later = encodeFrame({ ...one, $new: { deep: [1] } });
        expect(decodeMessage(name, later)._tag).toBe('Right');
        // Members of any shape are checked by whom they concern.
        const keys = Object.keys(one).filter((key) => key !== 'scope' && key !== 'json');
        const key = keys[pick % keys.length] as string;
        const missing = decodeMessage(name, encodeFrame({ ...one, [key]: undefined }));
        if (ofLater.has(key)) expect(missing._tag).toBe('Right');
        else expect(missing).toMatchObject({ left: { code: 'malformed-message' } });
        const foreign = decodeMessage(name, encodeFrame({ ...one, [key]: { a: 'x' } }));
        expect(foreign).toMatchObject({ left: { code: 'malformed-message' } });
      }),
    );
  });

  test('[SYN-63] decoding is total, with a coded failure that repeats no value', () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      mutatedBytes(message.map((one) => encodeMessage(name, one))),
      fc.jsonValue().map((one) => encodeFrame(one)),
    );
    fc.assert(
      fc.property(bytes, (some) => {
        const result = decodeMessage(name, some);
        if (result._tag === 'Left')
          expect(['malformed-message', 'newer-protocol']).toContain(result.left.code);
      }),
    );
    const secret = decodeMessage(name, encodeFrame({ epoch: 'secret', cursor: ['secret'] }));
    expect(secret._tag === 'Left' && secret.left.message).not.toContain('secret');
  });

  test('[SYN-64] a member __proto__ stands for no member', () => {
    fc.assert(
      fc.property(message, (one) => {
        const hidden: unknown = JSON.parse(`{"__proto__":${JSON.stringify(one)}}`);
        expect(decodeMessage(name, encodeFrame(hidden))._tag).toBe('Left');
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
    );
  });
});

describe('[SYN-65] bounds of messages', () => {
  const [base] = fc.sample(messages.CompareRequest, { numRuns: 1, seed: 1 });
  const [resume] = fc.sample(messages.ResumeRequest, { numRuns: 1, seed: 1 });
  const tagOf = (name: MessageName, message: object): string =>
    decodeMessage(name, encodeFrame(message))._tag;
  const many = <A>(length: number, one: A): A[] => Array.from({ length }, () => one);

  test('lists have a maximum', () => {
    const range = { after: null, upTo: null, count: 0, fingerprint: '' };
    const held = (rows: number) => ({ after: null, upTo: null, rows: many(rows, ['a', 1, 1]) });
    const compare = (change: object): string => tagOf('CompareRequest', { ...base, ...change });
    expect(compare({ ranges: many(compareRangesMax, range) })).toBe('Right');
    expect(compare({ ranges: many(compareRangesMax + 1, range) })).toBe('Left');
    expect(compare({ held: held(compareIdsMax) })).toBe('Right');
    expect(compare({ held: held(compareIdsMax + 1) })).toBe('Left');
    const points = (length: number) => ({ ...resume, points: many(length, [1, 'ab']) });
    expect(tagOf('ResumeRequest', points(resumePointsMax))).toBe('Right');
    expect(tagOf('ResumeRequest', points(resumePointsMax + 1))).toBe('Left');
  });

  test('[SYN-77, SYN-78] so are codecs, pages ahead, and what a tail may unpack to', () => {
    const [pull] = fc.sample(messages.PullRequest, { numRuns: 1, seed: 1 });
    const [page] = fc.sample(messages.PullAnswer, { numRuns: 1, seed: 1 });
    const [answer] = fc.sample(messages.CompareAnswer, { numRuns: 1, seed: 1 });
    for (const [name, one] of [
      ['PullRequest', pull],
      ['CompareRequest', base],
    ] as const) {
      expect(tagOf(name, { ...one, codecs: many(codecsMax, 'brotli') })).toBe('Right');
      expect(tagOf(name, { ...one, codecs: many(codecsMax + 1, 'brotli') })).toBe('Left');
    }
    expect(tagOf('PullRequest', { ...pull, ready: many(codecsMax, 'brotli') })).toBe('Right');
    expect(tagOf('PullRequest', { ...pull, ready: many(codecsMax + 1, 'brotli') })).toBe('Left');
    for (const [skip, tag] of [
      [0, 'Right'],
      [pagesAheadMax, 'Right'],
      [pagesAheadMax + 1, 'Left'],
      [-1, 'Left'],
      [0.5, 'Left'],
    ] as const)
      expect([skip, tagOf('PullRequest', { ...pull, skip })]).toEqual([skip, tag]);
    for (const [name, one] of [
      ['PullAnswer', page],
      ['CompareAnswer', answer],
    ] as const)
      for (const [bytes, tag] of [
        [unpackedBytesMax, 'Right'],
        [unpackedBytesMax + 1, 'Left'],
        [-1, 'Left'],
      ] as const)
        expect(tagOf(name, { ...one, packed: { codec: 'brotli', bytes } })).toBe(tag);
  });

  test('[SYN-67] cursors that prove something may be left out, and are text when they are there', () => {
    for (const cursor of [null, '1.a.b'])
      expect(decodeMessage('ResumeRequest', encodeFrame({ ...resume, cursor }))).toMatchObject({
        right: { message: { cursor } },
      });
    for (const [name, message] of [
      ['ResumeRequest', { ...resume, cursor: 7 }],
      ['CompareRequest', { ...base, image: {} }],
    ] as const)
      expect(tagOf(name, message)).toBe('Left');
    expect(tagOf('CompareRequest', { ...base, image: '1.a.b' })).toBe('Right');
  });

  test('a frame over a maximum is refused and never made', () => {
    const long = 'x'.repeat(messageJsonBytesMax);
    expect(() => encodeFrame(long)).toThrow('too long');
    expect(() => encodeFrame(0, [new Uint8Array(messageBytesMax)])).toThrow('too long');
    const largest = encodeFrame(0, [new Uint8Array(messageBytesMax - 6)]);
    expect(largest.length).toBe(messageBytesMax);
    expect(decodeFrame(largest)._tag).toBe('Right');
    const malformed = { _tag: 'Left', left: 'malformed-message' };
    expect(decodeFrame(new Uint8Array([...largest, 0]))).toEqual(malformed);
    const claims = encodeFrame('x');
    new DataView(claims.buffer).setUint32(1, messageJsonBytesMax + 1);
    expect(decodeFrame(claims)).toEqual(malformed);
  });
});

test('[SYN-66] a newer protocol is told apart from damage', () => {
  const bytes = encodeFrame({ have: 1 });
  bytes[0] = protocolVersion + 1;
  expect(decodeMessage('CustomizationRequest', bytes)).toMatchObject({
    left: { code: 'newer-protocol', recovery: 'upgrade' },
  });
  bytes[0] = 0;
  expect(decodeMessage('CustomizationRequest', bytes)).toMatchObject({
    left: { code: 'malformed-message', recovery: 'quarantine' },
  });
});

test('[SYN-68] a side understands its version and the one before, and can answer in either', () => {
  const later = { oldest: protocolVersion + 1, newest: protocolVersion + 2 };
  const next = { oldest: protocolVersion, newest: protocolVersion + 1 };
  const asked = encodeFrame({ have: 1 });
  expect(decodeMessage('CustomizationRequest', asked, next)._tag).toBe('Right');
  expect(decodeMessage('CustomizationRequest', asked, later)).toMatchObject({
    left: { code: 'protocol-too-old', recovery: 'upgrade' },
  });
  const answer = inProtocol(encodeFrame({ have: 1 }), protocolVersion + 1);
  expect(decodeFrame(answer)).toEqual({ _tag: 'Left', left: 'newer-protocol' });
  expect(decodeFrame(inProtocol(answer, asked[0] as number))._tag).toBe('Right');
  expect(inProtocol(new Uint8Array(0), 1)).toHaveLength(0);
});
