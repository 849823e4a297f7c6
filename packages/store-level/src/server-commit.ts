import { compareBytes, invariant } from '@tidemark/model';
import type { Segment, ServerBatch } from '@tidemark/ports';
import { del, put, type Database, type DatabaseOperation } from './database.js';
import { getU32 } from './keys.js';
import {
  entryKey,
  recordKey,
  segmentKey,
  stateKey,
  totalsKey,
  type SegmentKind,
} from './server-keys.js';
import type { ServerReads } from './server-reads.js';
import { encodeRecord, encodeSegment } from './server-record.js';
import {
  cutSegments,
  decodeTotals,
  encodeSize,
  encodeTotals,
  laterCut,
  type SegmentTotals,
} from './server-segments.js';

/** Maximum length of the state of the fold in bytes. */
export const stateBytesMax = 64 * 1024;

/** Totals of both kinds of segments: kept in memory, written with every batch that changes them. */
export type Totals = Readonly<Record<SegmentKind, SegmentTotals>>;

/** Reads the totals back: at open and after a failed write. */
export const readTotals = async (database: Database): Promise<Totals> => {
  const [feed, ledger] = await database.getMany([totalsKey('feed'), totalsKey('ledger')]);
  return { feed: decodeTotals(feed), ledger: decodeTotals(ledger) };
};

/** Operations of a window and the totals after it. */
export interface PreparedCommit {
  readonly operations: readonly DatabaseOperation[];
  readonly totals: Totals;
}

/**
 * Turns a window into the operations of one atomic batch, its records sorted by key. `mayExist` says that
 * the window may have been stored before: its segments are then looked up, so that none counts twice.
 */
export const prepareCommit = async (
  reads: ServerReads,
  totals: Totals,
  batch: ServerBatch,
  mayExist: boolean,
): Promise<PreparedCommit> => {
  invariant(batch.state.length <= stateBytesMax, 'the state of the fold is too large');
  const operations: DatabaseOperation[] = [put(stateKey(), batch.state)];
  for (const { table, id } of batch.prune) operations.push(del(recordKey(table, id)));
  // LevelDB takes sorted keys 2.4 times as fast as random ones.
  const records = batch.records.map(({ table, record }) =>
    put(recordKey(table, record.id), encodeRecord(record)),
  );
  records.sort((a, b) => compareBytes(a.key, b.key));
  for (const operation of records) operations.push(operation);
  for (const { space, key, value } of batch.entries)
    operations.push(value === null ? del(entryKey(space, key)) : put(entryKey(space, key), value));

  const ledger = addSegments('ledger', totals.ledger, batch.ledger, operations);
  const known = mayExist ? await withoutStored(reads, totals.feed, batch.feed) : totals.feed;
  let feed = addSegments('feed', known, batch.feed, operations);
  const cut = batch.cutFeed === undefined ? feed.cut : laterCut(feed.cut, batch.cutFeed);
  for (const { incarnation, last } of batch.feed)
    invariant(
      incarnation > cut.incarnation || (incarnation === cut.incarnation && last > cut.n),
      'a window adds to the part of the feed that is cut',
    );
  const removed = await cutSegments(reads, cut);
  let removedBytes = 0;
  for (const { place, bytes } of removed) {
    operations.push(del(segmentKey('feed', place)), del(segmentKey('size', place)));
    removedBytes += bytes;
  }
  feed = {
    ...feed,
    segments: feed.segments - removed.length,
    bytes: feed.bytes - removedBytes,
    cut,
  };
  operations.push(put(totalsKey('feed'), encodeTotals(feed)));
  operations.push(put(totalsKey('ledger'), encodeTotals(ledger)));
  return { operations, totals: { feed, ledger } };
};

const addSegments = (
  kind: SegmentKind,
  totals: SegmentTotals,
  segments: readonly Segment[],
  operations: DatabaseOperation[],
): SegmentTotals => {
  let { segments: count, bytes, spanMax } = totals;
  for (const segment of segments) {
    invariant(segment.first <= segment.last, 'a segment ends before it begins');
    operations.push(put(segmentKey(kind, segment), encodeSegment(segment)));
    if (kind === 'feed') operations.push(put(segmentKey('size', segment), encodeSize(segment)));
    count += 1;
    bytes += segment.bytes.length;
    spanMax = Math.max(spanMax, segment.last - segment.first);
  }
  return { ...totals, segments: count, bytes, spanMax };
};

/** Totals without those of the given segments that are stored already. */
const withoutStored = async (
  reads: ServerReads,
  totals: SegmentTotals,
  segments: readonly Segment[],
): Promise<SegmentTotals> => {
  const sizes = await reads.getMany(
    'segments',
    segments.map((segment) => segmentKey('size', segment)),
  );
  let { segments: count, bytes } = totals;
  for (const size of sizes) {
    if (size === undefined) continue;
    count -= 1;
    bytes -= getU32(size, 0);
  }
  return { ...totals, segments: count, bytes };
};
