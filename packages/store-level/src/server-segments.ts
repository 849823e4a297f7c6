import { TidemarkError } from '@tidemark/model';
import type { Segment } from '@tidemark/ports';
import { getU32, getU48, setU32, setU48 } from './keys.js';
import {
  segmentKey,
  segmentPlace,
  segmentsUpTo,
  type SegmentKind,
  type SegmentPlace,
} from './server-keys.js';
import type { ServerReads } from './server-reads.js';
import { decodeSegment } from './server-record.js';

/** Asks for the segments with a version in (`after`, `upTo`], strictly behind the place `from`, up to `maxBytes` bytes. */
export interface SegmentScan {
  readonly incarnation: number;
  readonly after: number;
  readonly upTo: number;
  readonly maxBytes: number;
  readonly from?: { readonly last: number; readonly table: number };
}

/** Version up to which the feed was cut: nothing at or before it is read any more. */
export interface FeedCut {
  readonly incarnation: number;
  readonly n: number;
}

/**
 * What is known of all segments of a kind without reading them. `spanMax` is the greatest last - first
 * ever stored: it bounds how far past `upTo` a segment that still holds it can end.
 */
export interface SegmentTotals {
  readonly segments: number;
  readonly bytes: number;
  readonly spanMax: number;
  readonly cut: FeedCut;
}

/** Totals of a kind that has no segments and was never cut. */
export const emptyTotals: SegmentTotals = {
  segments: 0,
  bytes: 0,
  spanMax: 0,
  cut: { incarnation: 0, n: 0 },
};

/** Segments removed by one commit at most: a long cut goes on with the next commits. */
export const cutSegmentsMax = 10_000;

const totalsFormat = 1;
const totalsBytes = 29;

/** Value of the totals of a kind: 29 bytes. */
export const encodeTotals = (totals: SegmentTotals): Uint8Array => {
  const value = new Uint8Array(totalsBytes);
  value[0] = totalsFormat;
  setU48(value, 1, totals.segments);
  setU48(value, 7, totals.bytes);
  setU48(value, 13, totals.spanMax);
  setU32(value, 19, totals.cut.incarnation);
  setU48(value, 23, totals.cut.n);
  return value;
};

/** Reads totals; those of no value are empty. Throws `storage-damaged` for another form. */
export const decodeTotals = (value: Uint8Array | undefined): SegmentTotals => {
  if (value === undefined) return emptyTotals;
  if (value.length !== totalsBytes || value[0] !== totalsFormat)
    throw new TidemarkError('storage-damaged', 'the totals of the segments have another form');
  return {
    segments: getU48(value, 1),
    bytes: getU48(value, 7),
    spanMax: getU48(value, 13),
    cut: { incarnation: getU32(value, 19), n: getU48(value, 23) },
  };
};

/** The later one of two cuts: a cut never moves back. */
export const laterCut = (a: FeedCut, b: FeedCut): FeedCut =>
  b.incarnation > a.incarnation || (b.incarnation === a.incarnation && b.n > a.n) ? b : a;

/** Segments that hold a version in (`after`, `upTo`], by last version, then table. */
export const scanSegments = async (
  reads: ServerReads,
  kind: SegmentKind,
  totals: SegmentTotals,
  scan: SegmentScan,
): Promise<readonly Segment[]> => {
  const { incarnation, upTo, maxBytes, from } = scan;
  const segments: Segment[] = [];
  if (incarnation < totals.cut.incarnation) return segments;
  const after =
    incarnation === totals.cut.incarnation ? Math.max(scan.after, totals.cut.n) : scan.after;
  if (after >= upTo) return segments;
  // Keys are by last version, so all segments from the first `last` above `after` on end late enough;
  // those that end after `upTo` may still begin before it, but none that ends after upTo + spanMax.
  const start = segmentsUpTo(kind, incarnation, after);
  const next = from === undefined ? start : segmentKey(kind, { incarnation, ...from });
  const beyond = from !== undefined && from.last > after;
  let bytes = 0;
  await reads.scan(
    'segments',
    { gt: beyond ? next : start, lte: segmentsUpTo(kind, incarnation, upTo + totals.spanMax) },
    { entries: Number.POSITIVE_INFINITY, bytes: maxBytes },
    (key, value) => {
      const segment = decodeSegment(segmentPlace(key), value);
      if (segment.first > upTo) return true;
      if (segments.length > 0 && bytes + segment.bytes.length > maxBytes) return false;
      segments.push(segment);
      bytes += segment.bytes.length;
      return true;
    },
  );
  return segments;
};

/** Feed segments at or before the cut, from the index of sizes, at most `cutSegmentsMax`. */
export const cutSegments = async (
  reads: ServerReads,
  cut: FeedCut,
): Promise<readonly { readonly place: SegmentPlace; readonly bytes: number }[]> => {
  const found: { readonly place: SegmentPlace; readonly bytes: number }[] = [];
  if (cut.incarnation === 0 && cut.n === 0) return found;
  await reads.scan(
    undefined,
    {
      gte: segmentKey('size', { incarnation: 0, last: 0, table: 0 }),
      lte: segmentsUpTo('size', cut.incarnation, cut.n),
    },
    { entries: cutSegmentsMax, bytes: Number.POSITIVE_INFINITY },
    (key, value) => {
      found.push({ place: segmentPlace(key), bytes: getU32(value, 0) });
      return true;
    },
  );
  return found;
};

/** Value of a feed segment's size, in bytes: a cut adds up what it removes without reading the segments. */
export const encodeSize = (bytes: number): Uint8Array => {
  const value = new Uint8Array(4);
  setU32(value, 0, bytes);
  return value;
};
