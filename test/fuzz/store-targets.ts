import {
  decodeFeedSegment,
  decodeFoldState,
  decodeHeads,
  decodeLedgerSegment,
  decodeReplicaState,
  emptyFoldState,
  encodeFoldState,
  encodeHeads,
  encodeReplicaState,
  FeedDraft,
  LedgerDraft,
  mergeRecord,
  storedRecord,
  type FeedEntry,
  type LedgerEntry,
  type ReplicaState,
} from '@tidemark/merger';
import { decodeRow, encodeRow, fieldBytesOfRow, printOpId, toHex } from '@tidemark/model';
import {
  count,
  opId,
  recordId,
  replicaId,
  row,
  serverVersion,
  text,
  value,
} from '@tidemark/testkit';
import fc from 'fast-check';
import {
  coded,
  drawn,
  expectBytes,
  framed,
  plain,
  type FuzzTarget,
  type Sample,
} from './target.js';

const rows: FuzzTarget = {
  name: 'row',
  samples: (seed) => drawn(row, seed).map((one) => plain(encodeRow(one))),
  read: (bytes) =>
    coded(() => {
      const decoded = decodeRow(bytes);
      const again = encodeRow(decoded);
      expectBytes('a row', again, encodeRow(decodeRow(again)));
      fieldBytesOfRow(again);
    }),
};

const fieldsOfRows: FuzzTarget = {
  name: 'fields-of-row',
  samples: (seed) => drawn(row, seed).map((one) => plain(encodeRow(one))),
  read: (bytes) => coded(() => void fieldBytesOfRow(bytes)),
};

/** Segments in sections: each may be changed while its length fits again. */
const written = <E>(
  draft: {
    readonly add: (entry: E) => void;
    readonly encode: (table: number, incarnation: number) => Uint8Array;
  },
  entries: readonly E[],
): Uint8Array => {
  for (const entry of entries) draft.add(entry);
  return draft.encode(3, 1);
};

const sections = (bytes: Uint8Array): Sample => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cores: Sample['cores'][number][] = [];
  for (let at = 1; at < bytes.length; at += 4 + view.getUint32(at))
    cores.push(framed(bytes, at, 4));
  return { bytes, cores };
};

const feedEntry: fc.Arbitrary<FeedEntry> = fc.record({
  id: recordId,
  n: fc.constant(5),
  kind: fc.constantFrom('create', 'update', 'delete', 'restore'),
  before: fc.oneof(
    fc.constant(null),
    fc.record({ kind: fc.constant('row' as const), row: row.map(encodeRow) }),
    fc.record({
      kind: fc.constant('fields' as const),
      ...{ version: serverVersion, modifiedOn: count, modifiedBy: text(), owner: text() },
      fields: fc.dictionary(fc.stringMatching(/^[1-9][0-9]?$/), value, {
        maxKeys: 3,
        noNullPrototype: true,
      }),
      docs: fc.array(fc.integer({ min: 1, max: 99 }), { maxLength: 2 }),
      editedAt: fc.constant({}),
    }),
  ),
});

const feedSegments: FuzzTarget = {
  name: 'feed-segment',
  samples: (seed) =>
    drawn(fc.array(feedEntry, { minLength: 1, maxLength: 4 }), seed).map((entries) =>
      sections(written(new FeedDraft(), entries)),
    ),
  read: (bytes) =>
    coded(() => {
      const segment = decodeFeedSegment(bytes);
      segment.ids();
      segment.changes();
      segment.entries();
    }),
};

const ledgerEntry: fc.Arbitrary<LedgerEntry> = fc.record({
  n: fc.constant(5),
  op: opId.map(printOpId),
  ...{ user: text(), record: recordId },
  outcome: fc.constantFrom('applied', 'same', 'parked'),
  fields: fc.array(
    fc.record({
      field: fc.integer({ min: 1, max: 99 }),
      ...{ base: value, theirs: value, ours: value, result: value, rule: text() },
      outcome: fc.constantFrom('applied' as const, 'superseded' as const),
    }),
    { maxLength: 2 },
  ),
  ...{ decider: text(), time: count },
});

const ledgerSegments: FuzzTarget = {
  name: 'ledger-segment',
  samples: (seed) =>
    drawn(fc.array(ledgerEntry, { minLength: 1, maxLength: 4 }), seed).map((entries) => {
      const bytes = written(new LedgerDraft(), entries);
      return { bytes, cores: [framed(bytes, 1, 4)] };
    }),
  read: (bytes) =>
    coded(() => {
      decodeLedgerSegment(bytes).entries();
    }),
};

const foldStates: FuzzTarget = {
  name: 'fold-state',
  samples: (seed) =>
    drawn(fc.tuple(count, count, replicaId), seed).map(([n, now, tenant]) =>
      plain(encodeFoldState({ ...emptyFoldState(tenant), n, now })),
    ),
  read: (bytes) =>
    coded(() => {
      decodeFoldState(bytes);
    }),
};

const replicaState: fc.Arbitrary<ReplicaState> = fc.record({
  format: fc.constant(1 as const),
  ...{ replica: replicaId, user: text(), epoch: count, provisional: text(), mergedTo: count },
  ...{ head: text(), version: count, receivedOn: count },
  origin: fc.option(fc.record({ replica: replicaId, epoch: count, lastIndex: count })),
  lineage: fc.constant([]),
  grants: fc.array(fc.record({ epoch: count, provisional: text(), from: count, head: text() }), {
    maxLength: 2,
  }),
  ...{ forked: fc.boolean(), chains: count, parked: count, sides: count },
});

const replicaStates: FuzzTarget = {
  name: 'replica-state',
  samples: (seed) => drawn(replicaState, seed).map((one) => plain(encodeReplicaState(one))),
  read: (bytes) =>
    coded(() => {
      decodeReplicaState(bytes);
    }),
};

const headLists: FuzzTarget = {
  name: 'heads',
  samples: (seed) =>
    drawn(
      fc.array(
        fc.record({
          index: fc.nat(),
          head: fc.uint8Array({ minLength: 32, maxLength: 32 }),
        }),
        { maxLength: 4 },
      ),
      seed,
    ).map((heads) => plain(encodeHeads(heads))),
  read: (bytes) =>
    coded(() => {
      const heads = decodeHeads(bytes);
      expectBytes('heads', bytes, encodeHeads(heads));
      for (const { head } of heads) toHex(head);
    }),
};

/** What the engine keeps beside a row: its last writer and where its chain begins. */
const storedRecords: FuzzTarget = {
  name: 'stored-record',
  samples: (seed) =>
    drawn(fc.tuple(row, opId.map(printOpId), count), seed).map(([one, lastOp, chainFrom]) =>
      plain(storedRecord('r', { row: one, deleted: false, lastOp, chainFrom }).extra),
    ),
  read: (bytes) =>
    coded(() => {
      mergeRecord({
        id: 'r',
        version: { incarnation: 1, n: 1 },
        deleted: false,
        row: someRow,
        extra: bytes,
      });
    }),
};
const someRow = encodeRow({
  version: { incarnation: 1, n: 1 },
  born: 'a/1/1',
  modifiedOn: 1,
  modifiedBy: 'a',
  createdOn: 1,
  owner: 'a',
  fields: { 1: 'x' },
  docs: {},
  editedAt: {},
});

/** Decoders of what a server's own store holds: files may be damaged. */
export const storeTargets: readonly FuzzTarget[] = [
  rows,
  fieldsOfRows,
  feedSegments,
  ledgerSegments,
  foldStates,
  replicaStates,
  headLists,
  storedRecords,
];
