import { TidemarkError } from '@tidemark/model';
import type { Segment, SegmentOutline } from '@tidemark/ports';
import { getU32, getU48, setU32, setU48 } from './keys.js';
import {
  segmentKey,
  segmentPlace,
  segmentsUpTo,
  type SegmentKind,
  type SegmentPlace,
} from './server-keys.js';
import type { KeyRange, ServerReads } from './server-reads.js';
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
const sizeBytes = 4;

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

/** Keys of the segments that may hold a version in (`after`, `upTo`]; undefined where none can. */
const rangeOf = (
  kind: SegmentKind | 'size',
  totals: SegmentTotals,
  { incarnation, upTo, from, ...scan }: SegmentScan,
): KeyRange | undefined => {
  if (incarnation < totals.cut.incarnation) return undefined;
  const after =
    incarnation === totals.cut.incarnation ? Math.max(scan.after, totals.cut.n) : scan.after;
  if (after >= upTo) return undefined;
  // Keys are by last version, so all segments from the first `last` above `after` on end late enough;
  // those that end after `upTo` may still begin before it, but none that ends after upTo + spanMax.
  const start = segmentsUpTo(kind, incarnation, after);
  const next = from === undefined ? start : segmentKey(kind, { incarnation, ...from });
  const beyond = from !== undefined && from.last > after;
  return {
    gt: beyond ? next : start,
    lte: segmentsUpTo(kind, incarnation, upTo + totals.spanMax),
  };
};

/** Segments that hold a version in (`after`, `upTo`], by last version, then table. */
export const scanSegments = async (
  reads: ServerReads,
  kind: SegmentKind,
  totals: SegmentTotals,
  scan: SegmentScan,
): Promise<readonly Segment[]> => {
  const { upTo, maxBytes } = scan;
  const segments: Segment[] = [];
  const range = rangeOf(kind, totals, scan);
  if (range === undefined) return segments;
  let bytes = 0;
  await reads.scan(
    'segments',
    range,
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

/** Outlines of the feed segments that may hold a version in (`after`, `upTo`], in the order of the segments. */
export const scanOutlines = async (
  reads: ServerReads,
  totals: SegmentTotals,
  scan: SegmentScan,
): Promise<readonly SegmentOutline[]> => {
  const outlines: SegmentOutline[] = [];
  const range = rangeOf('size', totals, scan);
  if (range === undefined) return outlines;
  let bytes = 0;
  await reads.scan(
    'entries',
    range,
    { entries: Number.POSITIVE_INFINITY, bytes: scan.maxBytes },
    (key, value) => {
      if (outlines.length > 0 && bytes + value.length > scan.maxBytes) return false;
      if (value.length < sizeBytes)
        throw new TidemarkError('storage-damaged', 'the size of a segment has another form');
      const { last, table } = segmentPlace(key);
      const outline = new Uint8Array(
        value.buffer,
        value.byteOffset + sizeBytes,
        value.length - sizeBytes,
      );
      outlines.push({ last, table, bytes: getU32(value, 0), outline });
      bytes += value.length;
      return true;
    },
  );
  return outlines;
};

/** Feed segments by their places; undefined where there is none. */
export const getFeedSegments = async (
  reads: ServerReads,
  incarnation: number,
  places: readonly { readonly last: number; readonly table: number }[],
): Promise<readonly (Segment | undefined)[]> => {
  const keys = places.map((place) => segmentKey('feed', { incarnation, ...place }));
  const values = await reads.getMany('segments', keys);
  return values.map((value, i) =>
    value === undefined ? undefined : decodeSegment(segmentPlace(keys[i] as Uint8Array), value),
  );
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

/**
 * Value of a feed segment's size: its length in bytes (4), so that a cut adds up what it removes without
 * reading the segments, then its outline.
 */
export const encodeSize = ({ bytes, outline }: Segment): Uint8Array => {
  const value = new Uint8Array(sizeBytes + (outline?.length ?? 0));
  setU32(value, 0, bytes.length);
  if (outline !== undefined) value.set(outline, sizeBytes);
  return value;
};
