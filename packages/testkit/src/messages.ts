import {
  codecsMax,
  unpackedBytesMax,
  pagesAheadMax,
  receiptKeysMax,
  resumePointsMax,
  type MessageName,
  type Messages,
} from '@tidemark/protocol';
import fc from 'fast-check';
import { illFormedText, text } from './arbitraries.js';

const count = fc.oneof(fc.nat(), fc.maxSafeNat());
const anyText = fc.oneof(text(), illFormedText);
const nullable = <A>(one: fc.Arbitrary<A>): fc.Arbitrary<A | null> => fc.option(one);
const seen = fc.record({ incarnation: count, n: count });
const receipt = fc.record({
  ...{ incarnation: count, epoch: count, mergedTo: count },
  ...{ head: text(), version: count, archivedTo: count },
});
const json = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown);
const codecs = fc.array(text(), { maxLength: codecsMax });
const packed = fc.record({ codec: text(), bytes: fc.nat(unpackedBytesMax) });
/** The record with none, some or all of the members that older senders do not know. */
const withNewer = <A extends object, B extends object>(
  known: fc.Arbitrary<A>,
  newer: { readonly [K in keyof B]-?: fc.Arbitrary<NonNullable<B[K]>> },
): fc.Arbitrary<A & B> =>
  fc
    .tuple(known, fc.record(newer, { requiredKeys: [] }))
    .map(([one, more]) => ({ ...one, ...more }) as A & B);
const bounds = { after: nullable(anyText), upTo: nullable(anyText) };

/** Any message by its name, as `encodeMessage` takes it. */
export const messages: { readonly [N in MessageName]: fc.Arbitrary<Messages[N]> } = {
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
  PullRequest: withNewer(
    fc.record({
      ...{ cursor: nullable(text()), tables: nullable(fc.array(anyText)), scope: json },
      ...{ seen, maxBytes: count },
    }),
    { blocks: fc.constant(true as const), codecs, ready: codecs, skip: fc.nat(pagesAheadMax) },
  ),
  PullAnswer: withNewer(
    fc.record({
      ...{ cursor: text(), closing: fc.boolean() },
      rehydrate: fc.constantFrom('incarnation', 'horizon', 'scope', null),
      ...{ incarnation: count, to: count, pass: count, serverTimeMs: count, asOfMs: count },
      ...{ receipt, progress: nullable(fc.record({ table: anyText, done: count, total: count })) },
      reads: count,
    }),
    { from: text(), packed },
  ),
  CompareRequest: withNewer(
    fc.record({
      ...{ cursor: nullable(text()), table: anyText, scope: json, seen },
      ranges: fc.array(fc.record({ ...bounds, count, fingerprint: text() })),
      held: nullable(fc.record({ ...bounds, rows: fc.array(fc.tuple(anyText, count, count)) })),
      maxBytes: count,
    }),
    { codecs },
  ),
  CompareAnswer: withNewer(
    fc.record({
      ...{ cursor: text(), equal: fc.array(fc.boolean()), next: nullable(anyText), reads: count },
    }),
    { packed },
  ),
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
/** Names of all messages. */
export const messageNames = Object.keys(messages) as readonly MessageName[];
