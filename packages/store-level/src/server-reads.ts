import type { AbstractIterator } from 'abstract-level';
import type { ReadCounters } from '@tidemark/ports';
import type { Database } from './database.js';
import { guarded, isCorruption } from './storage-error.js';

/** Entries fetched from the database in one call at most. */
const chunkEntriesMax = 1_000;
/** Bytes fetched from the database in one call, about: LevelDB stops after the entry that passes it. */
const chunkBytesMax = 1024 * 1024;
const chunkBytesMin = 16 * 1024;
/** What a later call of a scan fetches at least, as far as the mean size tells: else its end would come entry by entry. */
const laterBytesMin = 64 * 1024;
/** Bytes of a scan from which on what the iterator still holds is let go at once, and not when it is collected. */
const heldBytesMax = 128 * 1024;

/** Keys from which on two threads read them. */
const halvedKeysMin = 512;

/** Range of keys, as abstract-level takes it. */
export interface KeyRange {
  readonly gt?: Uint8Array;
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
  readonly reverse?: boolean;
}

/** What a scan needs at most; it fetches no more than the last chunk beyond. */
export interface ScanBounds {
  readonly entries: number;
  readonly bytes: number;
}

/** Counters that a store adds to while it reads. */
export type MutableCounters = { -readonly [K in keyof ReadCounters]: number };

/** Reads of a server's database: batched, in chunks, counted. */
export interface ServerReads {
  readonly counters: MutableCounters;
  /** Values of keys in one read, as the database gives them (see `plain`); found ones are counted. */
  readonly getMany: (
    counted: keyof ReadCounters,
    keys: readonly Uint8Array[],
  ) => Promise<(Uint8Array | undefined)[]>;
  /** Visits entries, as the database gives them, in key order until `visit` returns false; all fetched ones are counted. */
  readonly scan: (
    counted: keyof ReadCounters | undefined,
    range: KeyRange,
    bounds: ScanBounds,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ) => Promise<void>;
}

/** What reads need to know of the database's owner. */
export interface ReadGuard {
  /** Resolves when the database may be read: it may be opening again after a failed write. */
  readonly ready: () => Promise<void> | undefined;
  /** Called when a read found damage, before it rejects. */
  readonly onCorruption: () => Promise<void>;
}

/** Runs a read when the database is ready; its failure is a TidemarkError, damage is told to the owner. */
export const guardedRead = <A>(guard: ReadGuard, read: () => Promise<A>): Promise<A> =>
  guarded(async () => {
    await guard.ready();
    try {
      return await read();
    } catch (error) {
      // That the wish for a repair could not be noted must not hide the damage.
      if (isCorruption(error)) await guard.onCorruption().catch(() => undefined);
      throw error;
    }
  });

/** Builds the reads of a database with counters at zero. */
export const createServerReads = (database: Database, guard: ReadGuard): ServerReads => {
  const counters: MutableCounters = { records: 0, segments: 0, entries: 0, packs: 0 };
  return {
    counters,
    getMany: (counted, keys) =>
      guardedRead(guard, async () => {
        if (keys.length === 0) return [];
        const values = await getHalves(database, keys);
        for (const value of values) if (value !== undefined) counters[counted] += 1;
        return values;
      }),
    scan: (counted, range, bounds, visit) =>
      guardedRead(guard, async () => {
        const fetched = await scanKeys(database, range, bounds, visit);
        if (counted !== undefined) counters[counted] += fetched;
      }),
  };
};

/** Many keys are read by two threads: LevelDB's readers do not wait for each other. */
const getHalves = async (
  database: Database,
  keys: readonly Uint8Array[],
): Promise<(Uint8Array | undefined)[]> => {
  if (keys.length < halvedKeysMin) return database.getMany(keys as Uint8Array[]);
  const middle = keys.length >>> 1;
  const [first, second] = await Promise.all([
    database.getMany(keys.slice(0, middle)),
    database.getMany(keys.slice(middle)),
  ]);
  return [...first, ...second];
};

/** Visits entries of a range in chunks; resolves with the number of entries fetched. */
export const scanKeys = async (
  database: Database,
  range: KeyRange,
  bounds: ScanBounds,
  visit: (key: Uint8Array, value: Uint8Array) => boolean,
): Promise<number> => {
  // The option of classic-level is unknown to other databases, which ignore it.
  const options = {
    ...range,
    highWaterMarkBytes: Math.min(chunkBytesMax, Math.max(chunkBytesMin, bounds.bytes)),
  };
  const iterator = database.iterator(options);
  try {
    const { fetched, bytes, last } = await visitChunks(iterator, bounds, visit);
    if (bytes > heldBytesMax && last !== undefined) {
      // LevelDB's iterator holds a copy of its last chunk until it is collected; another one replaces it.
      iterator.seek(last);
      await iterator.nextv(1);
    }
    return fetched;
  } finally {
    await iterator.close();
  }
};

const visitChunks = async (
  iterator: AbstractIterator<Database, Uint8Array, Uint8Array>,
  bounds: ScanBounds,
  visit: (key: Uint8Array, value: Uint8Array) => boolean,
): Promise<{
  readonly fetched: number;
  readonly bytes: number;
  readonly last: Uint8Array | undefined;
}> => {
  let fetched = 0;
  let bytes = 0;
  let last: Uint8Array | undefined;
  for (;;) {
    const left = bounds.entries - fetched;
    if (left <= 0) return { fetched, bytes, last };
    // The mean size so far tells how many entries the rest of the bytes may hold.
    const wanted = Math.max(laterBytesMin, bounds.bytes - bytes);
    const fitting =
      fetched === 0 ? chunkEntriesMax : Math.ceil((wanted * fetched) / Math.max(1, bytes)) + 1;
    const chunk = await iterator.nextv(Math.min(chunkEntriesMax, left, fitting));
    if (chunk.length === 0) return { fetched, bytes, last };
    fetched += chunk.length;
    last = chunk.at(-1)?.[0];
    for (const [key, value] of chunk) {
      bytes += value.length;
      if (!visit(key, value)) return { fetched, bytes, last };
    }
  }
};
