import { compareBytes, type OpenBlock } from '@tidemark/model';
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

/** Opens a stored block: the ends of its keys in order, with their values. */
export type BlockOpener = (key: Uint8Array, sealed: Uint8Array) => OpenBlock;

/** Place of entries: those under a prefix, or those in the blocks under it, which `open` opens. */
export interface LayerSource {
  readonly prefix: Uint8Array;
  readonly open?: BlockOpener;
}

/** Scan over the same keys in several layers. */
export interface LayerScan {
  readonly database: Database;
  /** Sources, the one that hides the others first. */
  readonly sources: readonly LayerSource[];
  readonly bounds: SuffixBounds;
  readonly reverse: boolean;
  /** Number of entries that the caller hopes to get. */
  readonly limit: number;
  /** Gets the winning entry of each key in order, null for a marker; false ends the scan. */
  readonly visit: (suffix: Uint8Array, value: Uint8Array | null) => boolean;
}

interface RangeBounds {
  readonly reverse: boolean;
  readonly highWaterMarkBytes: number;
  gt?: Uint8Array;
  gte?: Uint8Array;
  lt?: Uint8Array;
  lte?: Uint8Array;
}

type Entries = readonly (readonly [Uint8Array, Uint8Array])[];

interface Stream {
  readonly fetch: (count: number) => Promise<Entries>;
  readonly close: () => Promise<void>;
  /** Bytes of the keys before the suffix: none for entries of blocks, whose values are open, too. */
  readonly prefixLength: number;
  readonly inBlocks: boolean;
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

const openStream = (scan: LayerScan, { prefix, open }: LayerSource): Stream =>
  open === undefined ? openRowStream(scan, prefix) : openBlockStream(scan, prefix, open);

const openRowStream = (scan: LayerScan, prefix: Uint8Array): Stream => {
  const { gt, gte, lt, lte } = scan.bounds;
  const end = prefixEnd(prefix);
  // One object that is filled: each scan opens several of these.
  const range: RangeBounds = { reverse: scan.reverse, highWaterMarkBytes: chunkBytes };
  if (gt !== undefined) range.gt = joined(prefix, gt);
  else range.gte = gte === undefined ? prefix : joined(prefix, gte);
  if (lt !== undefined) range.lt = joined(prefix, lt);
  else if (lte !== undefined) range.lte = joined(prefix, lte);
  else if (end !== undefined) range.lt = end;
  const iterator = scan.database.iterator(range);
  return {
    fetch: (count) => iterator.nextv(count),
    close: () => iterator.close(),
    prefixLength: prefix.length,
    inBlocks: false,
    entries: [],
    at: 0,
    suffix: undefined,
  };
};

const isAbove = (bounds: SuffixBounds, id: Uint8Array): boolean =>
  (bounds.gt === undefined || compareBytes(id, bounds.gt) > 0) &&
  (bounds.gte === undefined || compareBytes(id, bounds.gte) >= 0);

const isBelow = (bounds: SuffixBounds, id: Uint8Array): boolean =>
  (bounds.lt === undefined || compareBytes(id, bounds.lt) < 0) &&
  (bounds.lte === undefined || compareBytes(id, bounds.lte) <= 0);

/** Blocks are read one by one: each holds about as many rows as a scan asks for at once. */
const openBlockStream = (scan: LayerScan, prefix: Uint8Array, open: BlockOpener): Stream => {
  const { database, bounds, reverse } = scan;
  const end = prefixEnd(prefix) as Uint8Array;
  const lower = bounds.gt ?? bounds.gte;
  const upper = bounds.lt ?? bounds.lte;
  // A block lies under its last id: the first block at or behind a bound may hold rows before it.
  const gte = lower === undefined ? prefix : joined(prefix, lower);
  const range = { gte, lt: end, reverse, highWaterMarkBytes: chunkBytes };
  const iterator = database.iterator(range);
  let begun = false;
  const begin = async (): Promise<void> => {
    begun = true;
    if (!reverse || upper === undefined) return;
    const above = database.keys({ gte: joined(prefix, upper), lt: end, limit: 1 });
    const first = await above.next();
    await above.close();
    if (first !== undefined) iterator.seek(first);
  };
  const fetch = async (): Promise<Entries> => {
    if (!begun) await begin();
    for (;;) {
      const stored = await iterator.next();
      if (stored === undefined) return [];
      const { ids, values } = open(stored[0], stored[1]);
      const entries: [Uint8Array, Uint8Array][] = [];
      for (let i = 0; i < ids.length; i += 1) {
        const id = ids[reverse ? ids.length - 1 - i : i] as Uint8Array;
        if (isAbove(bounds, id) && isBelow(bounds, id))
          entries.push([id, values[reverse ? ids.length - 1 - i : i] as Uint8Array]);
      }
      if (entries.length > 0) return entries;
      const isPast = reverse
        ? !isAbove(bounds, ids.at(-1) as Uint8Array)
        : !isBelow(bounds, ids[0] as Uint8Array);
      if (isPast) return [];
    }
  };
  return {
    fetch,
    close: () => iterator.close(),
    prefixLength: 0,
    inBlocks: true,
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
    for (const source of scan.sources) streams.push(openStream(scan, source));
    await Promise.all(streams.map((stream) => refill(stream, count)));
    for (;;) {
      const best = firstOf(streams, sign);
      if (best?.suffix === undefined) return true;
      const suffix = best.suffix;
      const { inBlocks } = best;
      const [key, stored] = best.entries[best.at] as Entries[number];
      for (const stream of streams) {
        if (stream === best || stream.suffix === undefined) continue;
        if (compareBytes(stream.suffix, suffix) === 0 && step(stream)) await refill(stream, count);
      }
      if (step(best)) await refill(best, count);
      const value = inBlocks ? stored : unseal(key, true, stored);
      if (!scan.visit(plain(suffix), value)) return false;
    }
  } finally {
    await Promise.all(streams.map(({ close }) => close()));
  }
};
