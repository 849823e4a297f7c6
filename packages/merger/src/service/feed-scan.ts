import { TidemarkError } from '@tidemark/model';
import { FeedOutline } from '../fold/feed-outline.js';
import { decodeFeedSegment, type FeedSegment } from '../fold/feed-segment.js';
import type { CountedReads } from './applied-store.js';
import type { KeyedSegments, SegmentPlace } from './keyed-segments.js';

/** Bytes of outlines, and of segments, that are read at once. */
const readBytesMax = 1024 * 1024;

/** A segment that a scan came by; read where it was needed. */
export interface ScannedSegment {
  readonly place: SegmentPlace;
  /** Length of the segment. */
  readonly bytes: number;
  /** First version inside. */
  readonly first: number;
  readonly outline: FeedOutline;
  readonly feed: FeedSegment | undefined;
}

/** Part of the feed: segments that hold a version in (`after`, `upTo`]. */
export interface FeedRange {
  readonly incarnation: number;
  readonly after: number;
  readonly upTo: number;
}

interface Sized {
  readonly place: SegmentPlace;
  readonly bytes: number;
}

/** End of those from `at` on that hold about a megabyte together: the first always fits. */
const endOfChunk = (sized: readonly Sized[], at: number): number => {
  let bytes = 0;
  for (let end = at; end < sized.length; end += 1) {
    const more = (sized[end] as Sized).bytes;
    if (bytes > 0 && bytes + more > readBytesMax) return end;
    bytes += more;
  }
  return sized.length;
};

/**
 * Reads segments of the feed in the given order, about a megabyte at a time; not those that are kept. To be called while no window is
 * applied: rejects with `storage-damaged` where one is missing.
 */
export async function* readSegments(
  { store }: CountedReads,
  incarnation: number,
  wanted: readonly Sized[],
  kept?: KeyedSegments,
): AsyncGenerator<{
  readonly place: SegmentPlace;
  readonly first: number;
  readonly feed: FeedSegment;
}> {
  for (let at = 0; at < wanted.length;) {
    const chunk = wanted.slice(at, endOfChunk(wanted, at));
    const known = chunk.map(({ place }) => kept?.find(incarnation, place));
    const places = chunk.filter((_, i) => known[i] === undefined).map(({ place }) => place);
    const segments = places.length === 0 ? [] : await store.getFeedSegments(incarnation, places);
    let read = 0;
    for (const [i, { place }] of chunk.entries()) {
      const feed = known[i];
      if (feed !== undefined) {
        yield { place, first: feed.header.first, feed };
        continue;
      }
      const segment = segments[read++];
      if (segment === undefined)
        throw new TidemarkError('storage-damaged', 'a segment of the feed is missing', {
          ...place,
        });
      yield { place, first: segment.first, feed: decodeFeedSegment(segment.bytes) };
    }
    at += chunk.length;
  }
}

/**
 * Goes through a part of the feed in order. Segments that their outline tells are not needed are passed by
 * without being read. To be called while no window is applied, as `readSegments`.
 */
export async function* scanFeed(
  reads: CountedReads,
  range: FeedRange,
  isNeeded: (place: SegmentPlace, outline: FeedOutline) => boolean,
  kept?: KeyedSegments,
): AsyncGenerator<ScannedSegment> {
  const { incarnation, after, upTo } = range;
  let from: SegmentPlace | undefined;
  for (;;) {
    const stored = await reads.store.scanOutlines({
      ...{ incarnation, after, upTo, maxBytes: readBytesMax },
      ...(from === undefined ? {} : { from }),
    });
    if (stored.length === 0) return;
    const seen = stored.map(({ last, table, bytes, outline }) => ({
      ...{ place: { last, table }, bytes },
      outline: new FeedOutline(outline),
    }));
    // One without an outline is read: nothing else tells where it begins.
    const needed = new Set(
      seen.filter(({ place, outline }) => outline.first === undefined || isNeeded(place, outline)),
    );
    const segments = readSegments(reads, incarnation, [...needed], kept);
    for (const one of seen) {
      from = one.place;
      const { first = 0 } = one.outline;
      if (!needed.has(one)) {
        // What ends behind the range may begin behind it, too.
        if (first <= upTo) yield { ...one, first, feed: undefined };
        continue;
      }
      const { value: read } = await segments.next();
      if (read !== undefined && read.first <= upTo)
        yield { ...one, first: read.first, feed: read.feed };
    }
  }
}
