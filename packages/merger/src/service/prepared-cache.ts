import { TidemarkError, utf8Decode, utf8Encode, type TableId } from '@tidemark/model';
import { compareTexts } from '@tidemark/filter';
import type { Clock, PreparedPack, RecordPage, ServerBatch } from '@tidemark/ports';
import type { AppliedStore } from './applied-store.js';
import { packBytesMinDefault } from './prepared-pack.js';
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
/** Records that one answer prepares at most. */
const stepRecords = 10_000;
const segmentsBytes = 1_024 * 1_024;
/** Bytes of the feed that are read at most to see how much of a table changed; behind more its packs are stale. */
const feedBytesMax = 16 * segmentsBytes;
/** Time for which nothing is prepared after packs could not be written, ms. */
export const preparedRetryMs = 300_000;

/**
 * How far what is prepared of a table goes: rows up to the id `upTo`, all when null, each as it was at version
 * `n` or later. `last` is the id of the last row; `bytes` are those of the rows.
 */
export interface PreparedNote {
  readonly format: 2;
  readonly incarnation: number;
  readonly n: number;
  readonly upTo: string | null;
  readonly last: string;
  readonly rows: number;
  readonly bytes: number;
  /** Field by whose values rows were grouped; absent where they were not. */
  readonly field?: number;
}

/** Version from which packs are to be, or are, read. */
type From = Pick<PreparedNote, 'incarnation' | 'n' | 'field'> & {
  /** Era of the store at that time. */
  readonly era: number;
};

/** Bytes that the feed holds of a table since a version. */
interface Changed extends From {
  bytes: number;
}

/** What a step made of a page of records. */
export interface PreparedPart {
  readonly packs: readonly PreparedPack[];
  readonly next: PreparedNote;
}

/** What is prepared of tables, and how it is read; `W` says what a fill wants, `F` is what it gets. */
export interface PreparedKind<W, F> {
  /** Number under which the store keeps what is prepared of a table. */
  readonly shelf: (table: TableId) => number;
  /** Field by whose values a fill wants the rows grouped; undefined where they are not. */
  readonly field: (wanted: W) => number | undefined;
  /** Bytes of records that a step reads. */
  readonly stepBytes: (wanted: W) => number;
  readonly make: (table: TableId, page: RecordPage, note: PreparedNote) => Promise<PreparedPart>;
  readonly read: (table: TableId, note: PreparedNote, after: string, wanted: W) => Promise<F>;
}

/** Records of a small table: nothing is prepared of it. */
export interface SmallTable {
  readonly kind: 'records';
  readonly page: RecordPage;
}

/** What is prepared of tables for first fills: by the first replica that asks, for all. */
export interface PreparedCache<W, F> {
  /** Version from which a fill of the table may begin. Call it while no window is applied. */
  readonly begin: (table: TableId, field?: number) => Promise<number>;
  /**
   * What a fill that began at version `at` gets behind the id `after`: of that version or a later one.
   * Undefined when nothing is prepared so far: then records are to be read.
   */
  readonly read: (
    table: TableId,
    at: number,
    after: string,
    wanted: W,
  ) => Promise<F | SmallTable | undefined>;
  readonly onCommit: (batch: ServerBatch) => void;
}

/** What a cache needs of the merger. */
export interface PreparedSource {
  readonly applied: AppliedStore;
  readonly horizon: () => Horizon;
  readonly clock: Clock;
  readonly limits: PreparedLimits;
  /** A table was prepared to its end: it has so many live records. */
  readonly onPrepared: (table: TableId, rows: number) => void;
  /** Nothing could be written or read; the fill goes on with records. */
  readonly onFailed: (error: TidemarkError) => void;
}

const noteFrom = ({ incarnation, n, field }: From): PreparedNote => ({
  ...{ format: 2, incarnation, n, upTo: '', last: '', rows: 0, bytes: 0 },
  ...(field === undefined ? {} : { field }),
});

/** Reads a note; undefined for one of another version of this program: all is made anew then. */
const decodeNote = (bytes: Uint8Array): PreparedNote | undefined => {
  try {
    const note = JSON.parse(utf8Decode(bytes)) as PreparedNote;
    return note.format === 2 ? note : undefined;
  } catch (cause) {
    throw new TidemarkError('storage-damaged', 'a note has another form', {}, cause);
  }
};

const encodeNote = (note: PreparedNote): Uint8Array => utf8Encode(JSON.stringify(note));

/**
 * Opens what a store has prepared of one kind.
 *
 * It is not kept up to date: it shows a table as it was at some version or later, and the feed brings
 * what changed since. So a fill from it is a first pass over an older state, and a catch-up pass follows.
 */
export const openPreparedCache = <W, F>(
  source: PreparedSource,
  kind: PreparedKind<W, F>,
): PreparedCache<W, F> => {
  const { applied, horizon, limits } = source;
  const { prepared } = applied.store;
  /** Versions that builds begin from which have no pack yet. */
  const wanted = new Map<TableId, From>();
  const changes = new Map<TableId, Changed>();
  const turns = new Map<TableId, TurnQueue>();
  let failedAtMs = Number.NEGATIVE_INFINITY;
  let removals = 0;
  /** Changes when packs may have been removed: by a load, or because they were damaged. */
  const era = (): number => applied.reloads() + removals;

  const readNote = async (table: TableId): Promise<PreparedNote | undefined> => {
    const bytes = await prepared.readNote(kind.shelf(table));
    return bytes === undefined ? undefined : decodeNote(bytes);
  };

  /** What cannot be read is removed: records are there for all of it. */
  const forget = async (table: TableId, cause: unknown): Promise<void> => {
    if (!(cause instanceof TidemarkError) || cause.code !== 'storage-damaged') throw cause;
    source.onFailed(cause);
    removals += 1;
    await prepared.clear(kind.shelf(table));
  };

  const staleBytes = (bytes: number): number =>
    Math.max(limits.staleBytesMin, bytes * preparedStaleShare);

  /** Bytes that the feed holds of a table since a version; infinite when it would take long to see. */
  const changedSince = async (
    table: TableId,
    { incarnation, n }: PreparedNote,
  ): Promise<number> => {
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
  const isCurrent = async (table: TableId, note: PreparedNote): Promise<boolean> => {
    const { incarnation, n } = applied.applied();
    if (note.incarnation !== incarnation || note.n > n) return false;
    const cut = horizon();
    // The feed must still hold what follows when the fill ends: the older half of it may be cut by then.
    if (cut.incarnation === incarnation && note.n - cut.n < (n - cut.n) / 2) return false;
    return (await changedSince(table, note)) <= staleBytes(note.bytes);
  };

  /**
   * Prepares the records behind what is prepared; gives the records where the whole table is small, and nothing
   * when the store was replaced meanwhile.
   */
  const step = async (
    table: TableId,
    note: PreparedNote,
    want: W,
  ): Promise<PreparedNote | RecordPage | undefined> => {
    const isFirst = note.upTo === '';
    const { bytesMin, stepBytes } = limits;
    const begunIn = era();
    const page = await applied.store.scanRecords(table, {
      ...(isFirst ? {} : { after: note.upTo as string }),
      maxBytes: isFirst ? Math.min(bytesMin, stepBytes) : kind.stepBytes(want),
      maxRecords: stepRecords,
    });
    const isSmall = isFirst && page.next === undefined;
    const shelf = kind.shelf(table);
    const part = isSmall ? undefined : await kind.make(table, page, note);
    const isWritten = await applied.alone(async () => {
      // Without the packs before this one, which were removed meanwhile, the note would tell of too much.
      if (era() !== begunIn) return false;
      if (isFirst && (!isSmall || (await prepared.readNote(shelf)) !== undefined))
        await prepared.clear(shelf);
      if (part !== undefined) await prepared.put(shelf, part.packs, encodeNote(part.next));
      return true;
    });
    if (!isWritten) return undefined;
    if (part === undefined) return page;
    if (part.next.upTo === null) source.onPrepared(table, part.next.rows);
    return part.next;
  };

  const readInTurn = async (
    table: TableId,
    at: number,
    after: string,
    want: W,
  ): Promise<F | SmallTable | undefined> => {
    const { incarnation, n } = applied.applied();
    const begunIn = era();
    const from = after === '' ? wanted.get(table) : undefined;
    if (from !== undefined) wanted.delete(table);
    let note = from !== undefined && from.era === begunIn ? noteFrom(from) : await readNote(table);
    if (note === undefined || note.incarnation !== incarnation) return undefined;
    if (note.field !== kind.field(want)) return undefined;
    if (note.n < at || note.n > n) return undefined;
    if (note.upTo === after) {
      const isResting = source.clock.nowMs() - failedAtMs < preparedRetryMs;
      const made = isResting ? undefined : await step(table, note, want);
      if (made === undefined) return undefined;
      if ('records' in made) return { kind: 'records', page: made };
      note = made;
    }
    if (note.upTo !== null && compareTexts(note.upTo, after) < 0) return undefined;
    const found = await kind.read(table, note, after, want);
    return era() === begunIn ? found : undefined;
  };

  return {
    begin: async (table, field) => {
      const { incarnation, n } = applied.applied();
      const want = wanted.get(table);
      const isValid = want?.era === era() && want.field === field;
      if (want !== undefined && isValid && (await isCurrent(table, noteFrom(want)))) return want.n;
      try {
        const note = await readNote(table);
        if (note?.field === field && note !== undefined && (await isCurrent(table, note)))
          return note.n;
      } catch (cause) {
        await forget(table, cause);
      }
      const from: From = {
        ...{ incarnation, n, era: era() },
        ...(field === undefined ? {} : { field }),
      };
      wanted.set(table, from);
      changes.set(table, { incarnation, n, era: from.era, bytes: 0 });
      return n;
    },
    read: async (table, at, after, want) => {
      let queue = turns.get(table);
      if (queue === undefined) turns.set(table, (queue = new TurnQueue()));
      try {
        return await queue.run(() => readInTurn(table, at, after, want));
      } catch (cause) {
        const isUnavailable =
          cause instanceof TidemarkError && cause.code === 'storage-unavailable';
        if (!isUnavailable) {
          await forget(table, cause);
          return undefined;
        }
        // A full disk has no room for them; records can be read all the same.
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
