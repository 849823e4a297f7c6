import {
  packBlocks,
  TidemarkError,
  utf8Decode,
  utf8Encode,
  type RowBlock,
  type TableId,
} from '@tidemark/model';
import { compareTexts } from '@tidemark/filter';
import type { Clock, PreparedPack, RecordPage, ServerBatch } from '@tidemark/ports';
import type { AppliedStore } from './applied-store.js';
import {
  createPackReader,
  type PackedRows,
  type PackExtent,
  type PackRoom,
} from './pack-reader.js';
import { blocksOfPack, makePack, packBytesMinDefault, type PackParts } from './prepared-pack.js';
import type { Horizon } from './pull-cursor.js';
import { TurnQueue } from './turn-queue.js';

/** How tables are prepared for first fills. */
export interface PreparedLimits {
  /** Bytes of rows below which a table's records are read anew for each fill. */
  readonly bytesMin: number;
  /** Bytes of rows that one answer prepares. */
  readonly stepBytes: number;
  /** Bytes that the feed may bring behind a table's packs in any case. */
  readonly staleBytesMin: number;
  /** Bytes of a pack below which it is stored as it is. */
  readonly packedBytesMin: number;
}

/** Default limits: tables from 256 KB on, in steps of 1.5 MB. */
export const preparedDefault: PreparedLimits = {
  bytesMin: 256 * 1_024,
  stepBytes: 1_536 * 1_024,
  staleBytesMin: 1_024 * 1_024,
  packedBytesMin: packBytesMinDefault,
};
/** Part of a table's bytes that the feed may bring behind its packs; with more they are prepared anew. */
export const preparedStaleShare = 0.25;
/** Part of the room of an answer that its step fills: what does not fit would make a small answer of its own. */
const stepShare = 0.9;
/** Records that one answer prepares at most. */
const stepRecords = 10_000;
const segmentsBytes = 1_024 * 1_024;
/** Bytes of the feed that are read at most to see how much of a table changed; behind more its packs are stale. */
const feedBytesMax = 16 * segmentsBytes;
/** Time for which nothing is prepared after packs could not be written, ms. */
export const preparedRetryMs = 300_000;

/**
 * How far a table's packs go: rows up to the id `upTo`, all when null, each as it was at version `n` or
 * later.
 */
interface Note extends PackExtent {
  readonly format: 2;
  readonly incarnation: number;
  readonly n: number;
  readonly rows: number;
  readonly bytes: number;
}

/** Version from which packs are to be, or are, read. */
type From = Pick<Note, 'incarnation' | 'n'> & {
  /** Era of the store at that time. */
  readonly era: number;
};

/** Bytes that the feed holds of a table since a version. */
interface Changed extends From {
  bytes: number;
}

/** What a fill gets next: rows out of packs, or the records of a small table. */
export type PreparedStep = PackedRows | { readonly kind: 'records'; readonly page: RecordPage };

/** Tables as packs for first fills: prepared by the first replica that asks, passed on as they are to all. */
export interface PreparedTables {
  /** Version from which a fill of the table may begin. Call it while no window is applied. */
  readonly begin: (table: TableId) => Promise<number>;
  /**
   * Rows of a fill that began at version `at`, behind the id `after`: of that version or a later one.
   * Undefined when no packs go so far: then records are to be read.
   */
  readonly read: (
    table: TableId,
    at: number,
    after: string,
    room: PackRoom,
  ) => Promise<PreparedStep | undefined>;
  readonly onCommit: (batch: ServerBatch) => void;
}

/** What prepared tables need of the merger. */
export interface PreparedSource {
  readonly applied: AppliedStore;
  readonly horizon: () => Horizon;
  readonly clock: Clock;
  readonly parts: PackParts;
  readonly limits: PreparedLimits;
  /** A table was prepared to its end: it has so many live records. */
  readonly onPrepared: (table: TableId, rows: number) => void;
  /** Packs could not be written or read; the fill goes on with records. */
  readonly onFailed: (error: TidemarkError) => void;
}

const noteFrom = ({ incarnation, n }: From): Note => ({
  ...{ format: 2, incarnation, n, upTo: '', last: '', rows: 0, bytes: 0 },
});

/** Reads a note; undefined for one of another version of this program, whose packs are made anew. */
const decodeNote = (bytes: Uint8Array): Note | undefined => {
  try {
    const note = JSON.parse(utf8Decode(bytes)) as Note;
    return note.format === 2 ? note : undefined;
  } catch (cause) {
    throw new TidemarkError('storage-damaged', 'a note has another form', {}, cause);
  }
};

const encodeNote = (note: Note): Uint8Array => utf8Encode(JSON.stringify(note));

/**
 * Opens the prepared tables of a store.
 *
 * Packs are not kept up to date: they show a table as it was at some version or later, and the feed brings
 * what changed since. So a fill from them is a first pass over an older state, and a catch-up pass follows.
 */
export const openPreparedTables = (source: PreparedSource): PreparedTables => {
  const { applied, horizon, limits, parts } = source;
  const { prepared } = applied.store;
  const reader = createPackReader(prepared, parts);
  /** Versions that builds begin from which have no pack yet. */
  const wanted = new Map<TableId, From>();
  const changes = new Map<TableId, Changed>();
  const turns = new Map<TableId, TurnQueue>();
  let failedAtMs = Number.NEGATIVE_INFINITY;
  let removals = 0;
  /** Changes when packs may have been removed: by a load, or because they were damaged. */
  const era = (): number => applied.reloads() + removals;

  const readNote = async (table: TableId): Promise<Note | undefined> => {
    const bytes = await prepared.readNote(table);
    return bytes === undefined ? undefined : decodeNote(bytes);
  };

  /** What cannot be read is removed: records are there for all of it. */
  const forget = async (table: TableId, cause: unknown): Promise<void> => {
    if (!(cause instanceof TidemarkError) || cause.code !== 'storage-damaged') throw cause;
    source.onFailed(cause);
    removals += 1;
    await prepared.clear(table);
  };

  const staleBytes = (bytes: number): number =>
    Math.max(limits.staleBytesMin, bytes * preparedStaleShare);

  /** Bytes that the feed holds of a table since a version; infinite when it would take long to see. */
  const changedSince = async (table: TableId, { incarnation, n }: Note): Promise<number> => {
    const begunIn = era();
    const known = changes.get(table);
    if (known?.incarnation === incarnation && known.n === n && known.era === begunIn)
      return known.bytes;
    const upTo = applied.applied().n;
    let from: { last: number; table: number } | undefined;
    let [bytes, read] = [0, 0];
    while (read <= feedBytesMax) {
      const segments = await applied.store.scanSegments('feed', {
        ...{ incarnation, after: n, upTo, maxBytes: segmentsBytes },
        ...(from === undefined ? {} : { from }),
      });
      const last = segments.at(-1);
      if (last === undefined) {
        changes.set(table, { incarnation, n, era: begunIn, bytes });
        return bytes;
      }
      for (const segment of segments) {
        read += segment.bytes.length;
        if (segment.table === table) bytes += segment.bytes.length;
      }
      from = { last: last.last, table: last.table };
    }
    return Number.POSITIVE_INFINITY;
  };

  /** Tells whether a fill may begin from a version; call it while no window is applied. */
  const isCurrent = async (table: TableId, note: Note): Promise<boolean> => {
    const { incarnation, n } = applied.applied();
    if (note.incarnation !== incarnation || note.n > n) return false;
    const cut = horizon();
    // The feed must still hold what follows when the fill ends: the older half of it may be cut by then.
    if (cut.incarnation === incarnation && note.n - cut.n < (n - cut.n) / 2) return false;
    return (await changedSince(table, note)) <= staleBytes(note.bytes);
  };

  const packOf = async (
    table: TableId,
    blocks: readonly RowBlock[],
    first: string | undefined,
  ): Promise<PreparedPack | undefined> => {
    const last = blocks.at(-1)?.last;
    if (first === undefined || last === undefined) return undefined;
    const { packedBytesMin } = limits;
    return { last, bytes: await makePack(parts, table, blocks, utf8Encode(first), packedBytesMin) };
  };

  /**
   * Packs the records behind what is prepared; gives the records where the whole table is small, and nothing
   * when the store was replaced meanwhile.
   */
  const step = async (
    table: TableId,
    note: Note,
    room: PackRoom,
  ): Promise<Note | RecordPage | undefined> => {
    const isFirst = note.upTo === '';
    const { bytesMin, stepBytes } = limits;
    // Who takes packs has room for what they are packed to.
    const isPacked = room.codecs.some((codec) => parts.compression?.codecs[0] === codec);
    const fitting = isPacked
      ? stepBytes
      : Math.min(stepBytes, Math.max(bytesMin, Math.floor(room.bytes * stepShare)));
    const begunIn = era();
    const page = await applied.store.scanRecords(table, {
      ...(isFirst ? {} : { after: note.upTo as string }),
      maxBytes: isFirst ? Math.min(bytesMin, stepBytes) : fitting,
      maxRecords: stepRecords,
    });
    const isSmall = isFirst && page.next === undefined;
    const live = isSmall ? [] : page.records.filter(({ deleted }) => !deleted);
    const all = packBlocks(live.map(({ id, row }) => ({ id, value: row })));
    const blocks = all.slice(0, blocksOfPack(all));
    const pack = isSmall ? undefined : await packOf(table, blocks, live[0]?.id);
    const last = pack === undefined ? note.last : utf8Decode(pack.last);
    const next: Note = {
      ...note,
      upTo: blocks.length < all.length ? last : (page.next ?? null),
      last,
      rows: blocks.reduce((sum, { count }) => sum + count, note.rows),
      bytes: blocks.reduce((sum, { bytes }) => sum + bytes.length, note.bytes),
    };
    const isWritten = await applied.alone(async () => {
      // Without the packs before this one, which were removed meanwhile, the note would tell of too much.
      if (era() !== begunIn) return false;
      if (isFirst && (!isSmall || (await prepared.readNote(table)) !== undefined))
        await prepared.clear(table);
      if (!isSmall) await prepared.put(table, pack, encodeNote(next));
      return true;
    });
    if (!isWritten) return undefined;
    if (isSmall) return page;
    if (next.upTo === null) source.onPrepared(table, next.rows);
    return next;
  };

  const readInTurn = async (
    table: TableId,
    at: number,
    after: string,
    room: PackRoom,
  ): Promise<PreparedStep | undefined> => {
    const { incarnation, n } = applied.applied();
    const begunIn = era();
    const want = after === '' ? wanted.get(table) : undefined;
    if (want !== undefined) wanted.delete(table);
    let note = want !== undefined && want.era === begunIn ? noteFrom(want) : await readNote(table);
    if (note === undefined || note.incarnation !== incarnation) return undefined;
    if (note.n < at || note.n > n) return undefined;
    if (note.upTo === after) {
      const isResting = source.clock.nowMs() - failedAtMs < preparedRetryMs;
      const made = isResting ? undefined : await step(table, note, room);
      if (made === undefined) return undefined;
      if ('records' in made) return { kind: 'records', page: made };
      note = made;
    }
    if (note.upTo !== null && compareTexts(note.upTo, after) < 0) return undefined;
    const found = await reader.read(table, note, after, room);
    return era() === begunIn ? found : undefined;
  };

  return {
    begin: async (table) => {
      const { incarnation, n } = applied.applied();
      const want = wanted.get(table);
      const isValid = want?.era === era();
      if (want !== undefined && isValid && (await isCurrent(table, noteFrom(want)))) return want.n;
      try {
        const note = await readNote(table);
        if (note !== undefined && (await isCurrent(table, note))) return note.n;
      } catch (cause) {
        await forget(table, cause);
      }
      const from: From = { incarnation, n, era: era() };
      wanted.set(table, from);
      changes.set(table, { ...from, bytes: 0 });
      return n;
    },
    read: async (table, at, after, room) => {
      let queue = turns.get(table);
      if (queue === undefined) turns.set(table, (queue = new TurnQueue()));
      try {
        return await queue.run(() => readInTurn(table, at, after, room));
      } catch (cause) {
        const isUnavailable =
          cause instanceof TidemarkError && cause.code === 'storage-unavailable';
        if (!isUnavailable) {
          await forget(table, cause);
          return undefined;
        }
        // A full disk has no room for packs; records can be read all the same.
        failedAtMs = source.clock.nowMs();
        changes.delete(table);
        source.onFailed(cause);
        return undefined;
      }
    },
    onCommit: ({ feed }) => {
      for (const { table, bytes } of feed) {
        const one = changes.get(table);
        if (one !== undefined) one.bytes += bytes.length;
      }
    },
  };
};
