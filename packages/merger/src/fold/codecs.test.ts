import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFeedSegment, FeedDraft, type FeedEntry } from './feed-segment.js';
import { decodeHeads, encodeHeads } from './head-list.js';
import { decodeInputEntry, encodeInputEntry, type InputEntry } from './input-entry.js';
import { decodeLedgerSegment, LedgerDraft, type LedgerEntry } from './ledger-segment.js';
import { addRanges, rangesOf } from './parked-transaction.js';
import type { DecodedMessage } from './decoded-message.js';
import { windowLength } from './fold-window.js';

const caller = { tenant: 'acme', replica: 'a', user: 'ann' };
const entries: readonly InputEntry[] = [
  { kind: 'envelope', caller, envelope: Uint8Array.of(1, 2, 3) },
  {
    kind: 'write',
    user: 'boss',
    ops: [
      { kind: 'upsert', table: 1, id: 'x', fields: { 1: 'a', 2: null } },
      { kind: 'increment', table: 1, id: 'x', by: { 3: -2 } },
      { kind: 'delete', table: 1, id: 'x' },
    ],
  },
  {
    kind: 'foreign',
    backend: 'crm',
    rows: [{ table: 1, id: 'x', fields: { 1: 'a' }, modifiedOn: 5, rowVersion: 2, deleted: false }],
  },
  {
    kind: 'grant',
    caller,
    request: { epoch: 0, provisional: 'p', continues: { index: 0, head: '' }, origin: null },
  },
  { kind: 'customization', by: 'boss', json: { any: ['thing'] } },
  {
    kind: 'resolution',
    by: 'boss',
    id: 'r',
    resolution: { root: 'a/1/1', action: 'retry', shown: [], choices: [] },
  },
  {
    kind: 'incarnation',
    incarnation: 2,
    position: { generation: 1, seq: 9 },
    digest: 'ab',
    checkpoint: null,
    lastGood: { generation: 1, seq: 9, hash: 'cd' },
  },
  { kind: 'generation' },
  { kind: 'life', id: '0123456789abcdef'.repeat(2) },
];

describe('input entries', () => {
  it('[SRV-22] decodes every kind of entry to what was encoded', () => {
    for (const entry of entries)
      expect(decodeInputEntry(encodeInputEntry(entry))).toEqual({ _tag: 'Right', right: entry });
  });

  it('[SRV-23] decodes any bytes to an entry or a reason, never throws', () => {
    const altered = fc
      .tuple(fc.constantFrom(...entries), fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat())
      .map(([entry, at, byte, cut]) => {
        const bytes = encodeInputEntry(entry);
        bytes[at % bytes.length] = byte;
        return bytes.subarray(0, cut % (bytes.length + 1));
      });
    fc.assert(
      fc.property(fc.oneof(altered, fc.uint8Array({ maxLength: 60 })), (bytes) => {
        const decoded = decodeInputEntry(bytes);
        expect(['Left', 'Right']).toContain(decoded._tag);
      }),
    );
    expect(decodeInputEntry(Uint8Array.of(0, 2))).toEqual({ _tag: 'Left', left: 'newer-format' });
    expect(decodeInputEntry(Uint8Array.of(99, 1))).toEqual({ _tag: 'Left', left: 'newer-format' });
  });
});

/** Bytes of a segment of table 3, incarnation 2, with these entries. */
const written = <E>(
  draft: {
    readonly add: (entry: E) => void;
    readonly encode: (table: number, incarnation: number) => Uint8Array;
  },
  entries: readonly E[],
): Uint8Array => {
  for (const entry of entries) draft.add(entry);
  return draft.encode(3, 2);
};

describe('segments', () => {
  it('[SRV-24] gives back feed entries, heads and ledger entries as they were', () => {
    const feed: readonly FeedEntry[] = [
      { id: 'b', n: 7, kind: 'create', before: null },
      {
        id: 'a',
        n: 9,
        kind: 'update',
        before: {
          kind: 'fields',
          version: { incarnation: 1, n: 3 },
          modifiedOn: 10,
          modifiedBy: 'ann',
          owner: 'bob',
          fields: { 1: null, 2: 'x' },
          docs: [5],
          editedAt: { 4: 0 },
        },
      },
      { id: 'b', n: 12, kind: 'delete', before: { kind: 'row', row: Uint8Array.of(91, 93) } },
    ];
    const segment = decodeFeedSegment(written(new FeedDraft(), feed));
    expect(segment.header).toEqual({
      table: 3,
      incarnation: 2,
      first: 7,
      last: 12,
      count: 3,
    });
    expect(segment.ids()).toEqual(['a', 'b']);
    const plain = decodeFeedSegment(written(new FeedDraft(), feed));
    expect(plain.changes()).toEqual(feed.map(({ id, n, kind }) => ({ id, n, kind })));
    expect(segment.entries()).toEqual(feed);
    const newer = written(new FeedDraft(), feed);
    newer[0] = 3;
    expect(() => decodeFeedSegment(newer)).toThrow('newer format');
    const common = { user: 'ann', record: 'b', decider: 'merge', time: 5 } as const;
    const ledger: readonly LedgerEntry[] = [
      {
        ...common,
        n: 7,
        op: 'a/1/1',
        outcome: 'applied',
        fields: [
          {
            field: 1,
            base: 'x',
            theirs: 'x',
            ours: 'y',
            result: 'y',
            rule: 'unchanged',
            outcome: 'applied',
          },
        ],
      },
      {
        ...common,
        n: 8,
        op: 'a/1/2',
        user: 'bob',
        outcome: 'parked',
        fields: [
          {
            field: 2,
            base: null,
            theirs: 'x',
            ours: 'y',
            result: 'x',
            rule: 'manual',
            outcome: 'parked',
          },
        ],
      },
    ];
    const opened = decodeLedgerSegment(written(new LedgerDraft(), ledger));
    expect(opened).toMatchObject({ table: 3, incarnation: 2, first: 7, last: 8, count: 2 });
    expect(opened.entries()).toEqual(ledger);
    const heads = [
      { index: 3, head: new Uint8Array(32).fill(7) },
      { index: 2 ** 40, head: new Uint8Array(32).fill(9) },
    ];
    expect(decodeHeads(encodeHeads(heads))).toEqual(heads);
  });

  it('[SRV-24] gives back long texts of several fields and records, however they take turns', () => {
    const note = 'a note of some length, '.repeat(10);
    const textOf = (i: number, field: number, record: string): string =>
      `${note}${record} of ${field}, ${i} ${note}`;
    const feed: FeedEntry[] = [];
    const ledger: LedgerEntry[] = [];
    for (let i = 0; i < 12; i += 1) {
      const id = i % 3 === 0 ? 'a' : 'b "é" \\';
      const before: FeedEntry['before'] = {
        ...{ kind: 'fields', version: { incarnation: 1, n: 3 } },
        ...{ modifiedOn: 10, modifiedBy: 'ann', owner: 'bob', docs: [], editedAt: {} },
        fields: { 1: i === 5 ? null : textOf(i, 1, id), 2: textOf(i, 2, id), 3: 'short' },
      };
      feed.push({ id, n: 7 + i, kind: 'update', before: i === 7 ? null : before });
      const field = { field: 1 + (i % 2), rule: 'crdt', outcome: 'combined' } as const;
      const values = { base: null, theirs: textOf(i, 1, id), ours: textOf(i, 2, id), result: 7 };
      const plain = { base: textOf(i, 1, id), theirs: textOf(i, 1, id), rule: 'unchanged' };
      const changed = { ours: textOf(i, 2, id), result: textOf(i, 2, id) };
      ledger.push({
        ...{ n: 7 + i, op: `a/1/${i + 1}`, user: 'ann', record: id, decider: 'merge', time: 5 },
        outcome: 'applied',
        fields: [
          { ...field, ...values },
          { field: 1, outcome: 'applied', ...plain, ...changed },
        ],
      });
    }
    const bytes = written(new FeedDraft(), feed);
    expect(bytes[0]).toBe(2);
    expect(decodeFeedSegment(bytes).entries()).toEqual(feed);
    const opened = decodeLedgerSegment(written(new LedgerDraft(), ledger));
    expect(opened.entries()).toEqual(ledger);
    for (const id of ['a', 'b "é" \\', 'b', 'x'])
      expect(opened.entriesOf(id)).toEqual(ledger.filter(({ record }) => record === id));
  });

  it('[SRV-25] joins the ranges of dependents, but never with the root', () => {
    expect(rangesOf(1, [1, 2, 5])).toEqual([
      { epoch: 1, from: 1, to: 2 },
      { epoch: 1, from: 5, to: 5 },
    ]);
    const root = rangesOf(1, [1]);
    const one = addRanges(root, rangesOf(1, [2]));
    expect(addRanges(one, rangesOf(1, [3]))).toEqual([
      { epoch: 1, from: 1, to: 1 },
      { epoch: 1, from: 2, to: 3 },
    ]);
  });
});

describe('windows', () => {
  const message = (seq: number, entry: InputEntry, operations = 1): DecodedMessage => ({
    message: { position: { generation: 1, seq }, atMs: 0, bytes: new Uint8Array(10) },
    entry,
    envelope: undefined,
    problem: '',
    operations,
  });
  const bounds = { bytesMax: 1_000, operationsMax: 10, messagesMax: 50 };
  const [envelope, write, , grant, customization, , incarnation] = entries as readonly [
    InputEntry,
    InputEntry,
    InputEntry,
    InputEntry,
    InputEntry,
    InputEntry,
    InputEntry,
  ];

  it('[SRV-26] ends a window at its bounds, at every 1,000th message and around what changes reading', () => {
    const lengthOf = (...list: DecodedMessage[]): number => windowLength(list, bounds);
    expect(lengthOf(message(1, envelope, 6), message(2, envelope, 6))).toBe(1);
    expect(lengthOf(message(1, envelope, 99), message(2, envelope))).toBe(1);
    expect(lengthOf(message(999, write), message(1_000, write), message(1_001, write))).toBe(2);
    expect(lengthOf(message(1, write), message(2, grant))).toBe(1);
    expect(lengthOf(message(1, grant), message(2, grant), message(3, write))).toBe(2);
    expect(lengthOf(message(1, customization), message(2, write))).toBe(1);
    expect(lengthOf(message(1, write), message(2, incarnation))).toBe(1);
    expect(lengthOf(message(1, write), message(2, write))).toBe(2);
  });
});
