import { compareBytes } from '@tidemark/model';
import { plain, type Database } from './database.js';
import { prefixEnd } from './keys.js';
import { unseal } from './sealed-value.js';

/** Entries that one call of an iterator fetches: at least and at most. */
const chunkEntriesMin = 32;
const chunkEntriesMax = 1_000;
/** Bytes that one call of an iterator fetches at most; an option of LevelDB, ignored elsewhere. */
const chunkBytes = 256 * 1_024;

/** Bounds of a scan, as the part of the keys behind the prefix. */
export interface SuffixBounds {
  readonly gt?: Uint8Array;
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
}

/** Scan over the same keys in several layers. */
export interface LayerScan {
  readonly database: Database;
  /** Prefix of each visible layer, newest first; all of one length. */
  readonly prefixes: readonly Uint8Array[];
  readonly bounds: SuffixBounds;
  readonly reverse: boolean;
  /** Number of entries that the caller hopes to get. */
  readonly limit: number;
  /** Gets the winning entry of each key in order, null for a marker; false ends the scan. */
  readonly visit: (suffix: Uint8Array, value: Uint8Array | null) => boolean;
}

type Entries = readonly (readonly [Uint8Array, Uint8Array])[];

interface Stream {
  readonly fetch: (count: number) => Promise<Entries>;
  readonly close: () => Promise<void>;
  readonly prefixLength: number;
  entries: Entries;
  at: number;
  /** Key behind the prefix of the entry at `at`; undefined at the end. */
  suffix: Uint8Array | undefined;
}

const joined = (prefix: Uint8Array, suffix: Uint8Array): Uint8Array => {
  const key = new Uint8Array(prefix.length + suffix.length);
  key.set(prefix);
  key.set(suffix, prefix.length);
  return key;
};

const openStream = (scan: LayerScan, prefix: Uint8Array): Stream => {
  const { gt, gte, lt, lte } = scan.bounds;
  const end = prefixEnd(prefix);
  const lower =
    gt !== undefined ? { gt: joined(prefix, gt) } : { gte: gte ? joined(prefix, gte) : prefix };
  const upper =
    lt !== undefined
      ? { lt: joined(prefix, lt) }
      : lte !== undefined
        ? { lte: joined(prefix, lte) }
        : end === undefined
          ? {}
          : { lt: end };
  const range = { ...lower, ...upper, reverse: scan.reverse, highWaterMarkBytes: chunkBytes };
  const iterator = scan.database.iterator(range);
  return {
    fetch: (count) => iterator.nextv(count),
    close: () => iterator.close(),
    prefixLength: prefix.length,
    entries: [],
    at: 0,
    suffix: undefined,
  };
};

const refill = async (stream: Stream, count: number): Promise<void> => {
  stream.entries = await stream.fetch(count);
  stream.at = 0;
  stream.suffix = stream.entries[0]?.[0].subarray(stream.prefixLength);
};

/** Steps to the next entry; true when the stream must be refilled first. */
const step = (stream: Stream): boolean => {
  stream.at += 1;
  const next = stream.entries[stream.at];
  if (next === undefined) return true;
  stream.suffix = next[0].subarray(stream.prefixLength);
  return false;
};

/** Stream with the first key in the order of the scan; of equal keys the newest layer's. */
const firstOf = (streams: readonly Stream[], sign: number): Stream | undefined => {
  let best: Stream | undefined;
  for (const stream of streams) {
    if (stream.suffix === undefined) continue;
    if (best?.suffix === undefined || compareBytes(stream.suffix, best.suffix) * sign < 0)
      best = stream;
  }
  return best;
};

/**
 * Merges the keys of several layers: the newest layer that has a key wins and hides the lower ones.
 * Iterators are opened newest first, so that an entry on its way into an older layer is seen at least
 * once, and are closed in every case. Returns true when all layers were read to their ends.
 */
export const mergeLayers = async (scan: LayerScan): Promise<boolean> => {
  const sign = scan.reverse ? -1 : 1;
  const count = Math.min(chunkEntriesMax, Math.max(chunkEntriesMin, scan.limit + 1));
  const streams: Stream[] = [];
  try {
    for (const prefix of scan.prefixes) streams.push(openStream(scan, prefix));
    await Promise.all(streams.map((stream) => refill(stream, count)));
    for (;;) {
      const best = firstOf(streams, sign);
      if (best?.suffix === undefined) return true;
      const suffix = best.suffix;
      const [key, sealed] = best.entries[best.at] as Entries[number];
      for (const stream of streams) {
        if (stream === best || stream.suffix === undefined) continue;
        if (compareBytes(stream.suffix, suffix) === 0 && step(stream)) await refill(stream, count);
      }
      if (step(best)) await refill(best, count);
      if (!scan.visit(plain(suffix), unseal(key, true, sealed))) return false;
    }
  } finally {
    await Promise.all(streams.map(({ close }) => close()));
  }
};
