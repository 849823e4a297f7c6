import { illFormedText, mutatedBytes, text } from '@tidemark/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeFrame,
  encodeFrame,
  messageBytesMax,
  messageJsonBytesMax,
  inProtocol,
  protocolVersion,
} from './frame.js';
import {
  compareIdsMax,
  compareRangesMax,
  decodeMessage,
  encodeMessage,
  receiptKeysMax,
  resumePointsMax,
  type MessageName,
  type Messages,
} from './messages.js';

const count = fc.oneof(fc.nat(), fc.maxSafeNat());
const anyText = fc.oneof(text(), illFormedText);
const nullable = <A>(one: fc.Arbitrary<A>): fc.Arbitrary<A | null> => fc.option(one);
const seen = fc.record({ incarnation: count, n: count });
const receipt = fc.record({
  ...{ incarnation: count, epoch: count, mergedTo: count },
  ...{ head: text(), version: count, archivedTo: count },
});
const json = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown);
const bounds = { after: nullable(anyText), upTo: nullable(anyText) };

const arbitraries: { readonly [N in MessageName]: fc.Arbitrary<Messages[N]> } = {
  ResumeRequest: fc.record({
    ...{ epoch: count, provisional: text(), lastIndex: count, publishedTo: count },
    points: fc.array(fc.tuple(count, text()), { maxLength: resumePointsMax }),
    seen,
  }),
  ResumeAnswer: fc.record({
    status: fc.constantFrom('ok', 'unknown', 'fork', 'ended'),
    ...{ common: count, differs: count, receipt, generation: count },
    ...{ serverTimeMs: count, customizationVersion: count },
  }),
  GrantRequest: fc.record({
    ...{ epoch: count, provisional: text() },
    continues: fc.record({ index: count, head: text() }),
    origin: nullable(fc.record({ replica: text(), epoch: count })),
  }),
  GrantAnswer: fc.record({ granted: fc.boolean(), epoch: count, receipt }),
  CustomizationRequest: fc.record({ have: count }),
  CustomizationAnswer: fc.record({ version: count, json }),
  PullRequest: fc.record({
    ...{ cursor: nullable(text()), tables: nullable(fc.array(anyText)), scope: json },
    ...{ seen, maxBytes: count },
  }),
  PullAnswer: fc.record({
    ...{ cursor: text(), closing: fc.boolean() },
    rehydrate: fc.constantFrom('incarnation', 'horizon', 'scope', null),
    ...{ incarnation: count, to: count, pass: count, serverTimeMs: count, asOfMs: count, receipt },
    progress: nullable(fc.record({ table: anyText, done: count, total: count })),
    reads: count,
  }),
  CompareRequest: fc.record({
    ...{ cursor: nullable(text()), table: anyText, scope: json, seen },
    ranges: fc.array(fc.record({ ...bounds, count, fingerprint: text() })),
    held: nullable(fc.record({ ...bounds, rows: fc.array(fc.tuple(anyText, count, count)) })),
    maxBytes: count,
  }),
  CompareAnswer: fc.record({
    ...{ cursor: text(), equal: fc.array(fc.boolean()), next: nullable(anyText), reads: count },
  }),
  EnrollRequest: fc.record({
    ...{ publicKey: text(), token: nullable(anyText) },
    origin: nullable(fc.record({ replica: text(), signature: text() })),
  }),
  EnrollAnswer: fc.record({
    ...{ user: anyText, device: text() },
    receiptKeys: fc.array(text(), { maxLength: receiptKeysMax }),
  }),
  SyncLog: fc.record({
    ...{ run: text(), replica: text(), user: text() },
    mode: fc.constantFrom('foreground', 'background'),
    ...{ startedOn: count, endedOn: count },
    result: fc.constantFrom('synced', 'pending', 'blocked', 'failed', 'cancelled'),
    error: nullable(text()),
    ...{ uploadedOperations: count, uploadedBytes: count, downloadedBytes: count },
    ...{ pages: count, passes: count, serverReads: count },
    tables: fc.array(
      fc.record({
        table: anyText,
        mode: fc.constantFrom('full', 'incremental', 'repair'),
        ...{ upserts: count, touches: count, evicts: count },
      }),
    ),
    ...{ pendingOperations: count, parked: count },
    phases: fc.dictionary(fc.constantFrom('connecting', 'constructor', 'x'), count, {
      noNullPrototype: true,
    }),
  }),
};
const messageNames = Object.keys(arbitraries) as MessageName[];

test('[SYN-60] a message is version, length of the JSON, JSON, tail', () => {
  const bytes = encodeFrame({ have: 3 }, [Uint8Array.of(7, 8)]);
  expect([...bytes.subarray(0, 5)]).toEqual([protocolVersion, 0, 0, 0, 10]);
  expect(Buffer.from(bytes.subarray(5, 15)).toString()).toBe('{"have":3}');
  expect([...bytes.subarray(15)]).toEqual([7, 8]);
});

describe.each(messageNames)('%s', (name) => {
  const message: fc.Arbitrary<Messages[MessageName]> = arbitraries[name];

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
        expect(missing).toMatchObject({ left: { code: 'malformed-message' } });
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
  const [base] = fc.sample(arbitraries.CompareRequest, { numRuns: 1, seed: 1 });
  const [resume] = fc.sample(arbitraries.ResumeRequest, { numRuns: 1, seed: 1 });
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
