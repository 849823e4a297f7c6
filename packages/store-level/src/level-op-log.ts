import { emptyHead, invariant, newBytes } from '@tidemark/model';
import type { LogEnd, LogEntry, OpLog, ReplicaBatch } from '@tidemark/ports';
import { del, getValues, plain, put, type Database, type DatabaseOperation } from './database.js';
import { getU48, numberedKey, setU48, space, u48Max } from './keys.js';
import { guarded } from './storage-error.js';

const entryFormat = 1;
const entryHeaderBytes = 1 + 2 + 32;
const baseKey = new Uint8Array([space.logBase]);
/** Ordered key-value pairs that one call of an iterator fetches. */
const chunkEntries = 1_000;
/** Bytes that one call of an iterator fetches at most; an option of LevelDB, ignored elsewhere. */
const chunkBytes = 1_024 * 1_024;

/** Where a log begins and ends: index of the first operation kept, the head before it, and the end. */
export interface LogExtent {
  readonly first: number;
  readonly headBefore: Uint8Array;
  readonly end: LogEnd;
}

const encodeEntry = (entry: LogEntry): Uint8Array => {
  const value = newBytes(entryHeaderBytes + entry.bytes.length);
  value[0] = entryFormat;
  value[1] = entry.opCount >>> 8;
  value[2] = entry.opCount;
  value.set(entry.head, 3);
  value.set(entry.bytes, entryHeaderBytes);
  return value;
};

const decodeEntry = (key: Uint8Array, value: Uint8Array): LogEntry => {
  const stored = plain(value);
  return {
    index: getU48(key, 1),
    opCount: ((stored[1] as number) << 8) | (stored[2] as number),
    head: stored.subarray(3, entryHeaderBytes),
    bytes: stored.subarray(entryHeaderBytes),
  };
};

const encodeBase = (first: number, headBefore: Uint8Array): Uint8Array => {
  const value = new Uint8Array(1 + 6 + 32);
  value[0] = entryFormat;
  setU48(value, 1, first);
  value.set(headBefore, 7);
  return value;
};

/** Note of 38 bytes that each batch leaves in the ring: where the log ended then. */
export const encodeLogNote = (end: LogEnd): Uint8Array => {
  const note = new Uint8Array(6 + 32);
  setU48(note, 0, end.lastIndex);
  note.set(end.head, 6);
  return note;
};

/** Reads the note of a batch; undefined when the batch left none. */
export const decodeLogNote = (note: Uint8Array): LogEnd | undefined =>
  note.length === 38 ? { lastIndex: getU48(note, 0), head: note.slice(6) } : undefined;

/** Index of the last operation of an entry. */
export const lastOf = (entry: { readonly index: number; readonly opCount: number }): number =>
  entry.index + entry.opCount - 1;

/** Newest entry at or below an index. */
const entryAtOrBelow = async (database: Database, index: number): Promise<LogEntry | undefined> => {
  if (index < 1) return undefined;
  const iterator = database.iterator({
    gte: numberedKey(space.log, 0),
    lte: numberedKey(space.log, index),
    reverse: true,
    limit: 1,
  });
  try {
    const found = await iterator.next();
    return found === undefined ? undefined : decodeEntry(...found);
  } finally {
    await iterator.close();
  }
};

/** Entry that begins at an index; undefined when none does. */
const entryAt = async (database: Database, index: number): Promise<LogEntry | undefined> => {
  const key = numberedKey(space.log, index);
  const [value] = await getValues(database, [key]);
  return value === undefined ? undefined : decodeEntry(key, value);
};

/**
 * Calls `visit` with runs of entries from an index on, until it returns false or the log ends. `bytes` is
 * about what the caller takes: no more is fetched at once.
 */
export const visitLog = async (
  database: Database,
  from: number,
  visit: (entries: readonly LogEntry[]) => boolean,
  bytes = chunkBytes,
): Promise<void> => {
  const range = {
    gte: numberedKey(space.log, from),
    lt: new Uint8Array([space.log + 1]),
    highWaterMarkBytes: Math.max(1, Math.min(chunkBytes, bytes)),
  };
  // A database that knows no bound in bytes must not fetch a thousand entries for one.
  const entriesMax = Math.max(1, Math.min(chunkEntries, Math.ceil(bytes / entryHeaderBytes)));
  const iterator = database.iterator(range);
  try {
    for (;;) {
      const run = await iterator.nextv(entriesMax);
      if (run.length === 0) return;
      if (!visit(run.map(([key, value]) => decodeEntry(key, value)))) return;
    }
  } finally {
    await iterator.close();
  }
};

/** Reads where the stored log begins and ends. */
export const readExtent = async (database: Database): Promise<LogExtent> => {
  const base = await database.get(baseKey);
  const first = base === undefined ? 1 : getU48(base, 1);
  const headBefore = base === undefined ? emptyHead : new Uint8Array(base).slice(7);
  const newest = await entryAtOrBelow(database, u48Max);
  if (newest === undefined || lastOf(newest) < first)
    return { first, headBefore, end: { lastIndex: first - 1, head: headBefore } };
  return { first, headBefore, end: { lastIndex: lastOf(newest), head: newest.head } };
};

/** What a batch does to the log: operations for the database, and the extent afterwards. */
export interface LogPlan {
  readonly operations: readonly DatabaseOperation[];
  readonly after: LogExtent;
}

/**
 * LevelOpLog is the op log of a replica: one value per transaction under the index of its first operation:
 * `[format][opCount u16][head 32][stored bytes]`. The head before the first one kept is stored beside.
 */
export class LevelOpLog implements OpLog {
  readonly #database: Database;
  readonly #read: <A>(call: () => Promise<A>) => Promise<A>;
  #applied: LogExtent;
  /** Extent after the writes that wait: what the next append must continue. */
  #planned: LogExtent;

  constructor(
    database: Database,
    extent: LogExtent,
    read: <A>(call: () => Promise<A>) => Promise<A> = guarded,
  ) {
    this.#database = database;
    this.#read = read;
    this.#applied = extent;
    this.#planned = extent;
  }

  readonly end = (): LogEnd => this.#applied.end;

  readonly firstIndex = (): number => this.#applied.first;

  readonly base = (): LogEnd => ({
    lastIndex: this.#applied.first - 1,
    head: this.#applied.headBefore,
  });

  readonly read = (from: number, maxBytes: number): Promise<readonly LogEntry[]> =>
    this.#read(async () => {
      const start = Math.max(from, this.#applied.first);
      const out: LogEntry[] = [];
      let bytes = 0;
      const take = (entry: LogEntry): boolean => {
        if (out.length > 0 && bytes + entry.bytes.length > maxBytes) return false;
        out.push(entry);
        bytes += entry.bytes.length;
        return bytes < maxBytes;
      };
      // Where `from` begins no transaction it lies inside one, in a hole, or behind the end.
      const first =
        (await entryAt(this.#database, start)) ?? (await this.#holderOf(start, this.#applied));
      if (first !== undefined && !take(first)) return out;
      const next = first === undefined ? start : lastOf(first) + 1;
      if (next > this.#applied.end.lastIndex) return out;
      const visit = (entries: readonly LogEntry[]): boolean => entries.every(take);
      await visitLog(this.#database, next, visit, maxBytes - bytes);
      return out;
    });

  /** Plans what a batch does to the log. Writes that wait must have been planned before. */
  plan(batch: ReplicaBatch): LogPlan | Promise<LogPlan> {
    if (batch.trimLogTo === undefined && batch.cutLogFrom === undefined) {
      const operations: DatabaseOperation[] = [];
      return { operations, after: this.#append(batch, this.#planned, operations) };
    }
    return this.#planWithRemovals(batch);
  }

  /** Takes a plan as the one that the next append continues. */
  planned(after: LogExtent): void {
    this.#planned = after;
  }

  /** Takes the extent of a plan that was applied. */
  applied(after: LogExtent): void {
    this.#applied = after;
  }

  /** Extent after all plans. */
  plannedExtent(): LogExtent {
    return this.#planned;
  }

  /** Forgets plans that were not applied. */
  forgetPlans(): void {
    this.#planned = this.#applied;
  }

  /** Takes the extent found in the database. */
  reset(extent: LogExtent): void {
    this.#applied = extent;
    this.#planned = extent;
  }

  /** Transaction that holds an operation without beginning with it. */
  async #holderOf(index: number, extent: LogExtent): Promise<LogEntry | undefined> {
    if (index > extent.end.lastIndex) return undefined;
    const below = await entryAtOrBelow(this.#database, index);
    return below !== undefined && lastOf(below) >= index ? below : undefined;
  }

  #append(batch: ReplicaBatch, extent: LogExtent, operations: DatabaseOperation[]): LogExtent {
    let end = extent.end;
    for (const entry of batch.append ?? []) {
      invariant(entry.index === end.lastIndex + 1, 'an append does not continue the log');
      invariant(entry.opCount >= 1 && entry.opCount < 65_536, 'an entry without operations');
      invariant(entry.head.length === 32, 'a chain head is 32 bytes');
      operations.push(put(numberedKey(space.log, entry.index), encodeEntry(entry)));
      end = { lastIndex: lastOf(entry), head: entry.head };
    }
    return { ...extent, end };
  }

  async #planWithRemovals(batch: ReplicaBatch): Promise<LogPlan> {
    const operations: DatabaseOperation[] = [];
    let extent = this.#planned;
    if (batch.trimLogTo !== undefined)
      extent = await this.#trim(batch.trimLogTo, extent, operations);
    if (batch.cutLogFrom !== undefined)
      extent = await this.#cut(batch.cutLogFrom, extent, operations);
    return { operations, after: this.#append(batch, extent, operations) };
  }

  async #trim(to: number, extent: LogExtent, operations: DatabaseOperation[]): Promise<LogExtent> {
    let last: LogEntry | undefined;
    await visitLog(this.#database, extent.first, (entries) =>
      entries.every((entry) => {
        if (lastOf(entry) > to) return false;
        operations.push(del(numberedKey(space.log, entry.index)));
        last = entry;
        return true;
      }),
    );
    if (last === undefined) return extent;
    const first = lastOf(last) + 1;
    const headBefore = last.head.slice();
    operations.push(put(baseKey, encodeBase(first, headBefore)));
    return { first, headBefore, end: extent.end };
  }

  async #cut(from: number, extent: LogExtent, operations: DatabaseOperation[]): Promise<LogExtent> {
    invariant(from >= extent.first, 'a log cannot be cut before its first entry');
    if (from > extent.end.lastIndex) return extent;
    const before = await entryAtOrBelow(this.#database, from - 1);
    const kept = before !== undefined && before.index >= extent.first ? before : undefined;
    invariant(
      kept === undefined || lastOf(kept) < from,
      'a log cannot be cut inside a transaction',
    );
    await visitLog(this.#database, from, (entries) => {
      for (const entry of entries) operations.push(del(numberedKey(space.log, entry.index)));
      return true;
    });
    const end: LogEnd =
      kept === undefined
        ? { lastIndex: extent.first - 1, head: extent.headBefore }
        : { lastIndex: lastOf(kept), head: kept.head.slice() };
    return { ...extent, end };
  }
}

/** Operations that forget where the log began: part of clearing a store. */
export const forgetLogBase = (): DatabaseOperation => del(baseKey);
