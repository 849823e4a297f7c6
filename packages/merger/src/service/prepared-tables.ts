import {
  packBlocks,
  rowsOfBlock,
  TidemarkError,
  utf8Decode,
  utf8Encode,
  type RowBlock,
  type TableId,
} from '@tidemark/model';
import { compareTexts } from '@tidemark/filter';
import type { RecordPage, ServerBatch } from '@tidemark/ports';
import type { AppliedStore } from './applied-store.js';
import type { Horizon } from './pull-cursor.js';
import { TurnQueue } from './turn-queue.js';

/** How tables are prepared for first fills. */
export interface PreparedLimits {
  /** Bytes of rows below which a table's records are read anew for each fill. */
  readonly bytesMin: number;
  /** Bytes of rows that one answer prepares. */
  readonly stepBytes: number;
  /** Bytes that the feed may bring behind a table's blocks in any case. */
  readonly staleBytesMin: number;
}

/** Default limits: tables from 256 KB on, in steps of 512 KB. */
export const preparedDefault: PreparedLimits = {
  bytesMin: 256 * 1_024,
  stepBytes: 512 * 1_024,
  staleBytesMin: 1_024 * 1_024,
};
/** Part of a table's bytes that the feed may bring behind its blocks; with more they are prepared anew. */
export const preparedStaleShare = 0.25;
/** Records that one answer prepares at most. */
const stepRecords = 10_000;
const segmentsBytes = 1_024 * 1_024;

/**
 * How far a table's blocks go: rows up to the id `upTo`, all when null, each as it was at version `n` or
 * later.
 */
interface Note {
  readonly format: 1;
  readonly incarnation: number;
  readonly n: number;
  readonly upTo: string | null;
  readonly rows: number;
  readonly bytes: number;
}

/** Bytes that the feed holds of a table since a version. */
interface Changed {
  readonly incarnation: number;
  readonly n: number;
  bytes: number;
}

/** What a fill gets next: blocks and the id behind which it goes on, or the records of a small table. */
export type PreparedStep =
  | {
      readonly kind: 'blocks';
      readonly blocks: readonly RowBlock[];
      readonly filling: string | null;
    }
  | { readonly kind: 'records'; readonly page: RecordPage };

/** Tables as blocks for first fills: prepared by the first replica that asks, passed on as they are to all. */
export interface PreparedTables {
  /** Version from which a fill of the table may begin. Call it while no window is applied. */
  readonly begin: (table: TableId) => Promise<number>;
  /**
   * Rows of a fill that began at version `at`, behind the id `after`: of that version or a later one.
   * Undefined when no blocks go so far: then records are to be read.
   */
  readonly read: (
    table: TableId,
    at: number,
    after: string,
    maxBytes: number,
  ) => Promise<PreparedStep | undefined>;
  readonly onCommit: (batch: ServerBatch) => void;
}

/** What prepared tables need of the merger. */
export interface PreparedSource {
  readonly applied: AppliedStore;
  readonly horizon: () => Horizon;
  readonly limits: PreparedLimits;
  /** A table was prepared to its end: it has so many live records. */
  readonly onPrepared: (table: TableId, rows: number) => void;
  /** Blocks could not be written; the fill goes on with records. */
  readonly onFailed: (error: TidemarkError) => void;
}

const encodeNote = (note: Note): Uint8Array => utf8Encode(JSON.stringify(note));

/** Rows of the block behind an id; the block itself when that are all. */
const behind = (block: RowBlock, after: string): readonly RowBlock[] => {
  const rows = rowsOfBlock(block.bytes);
  const left = rows.filter(({ id }) => compareTexts(id, after) > 0);
  return left.length === rows.length ? [block] : packBlocks(left);
};

/**
 * Opens the prepared tables of a store.
 *
 * Blocks are not kept up to date: they show a table as it was at some version or later, and the feed brings
 * what changed since. So a fill from them is a first pass over an older state, and a catch-up pass follows.
 */
export const openPreparedTables = (source: PreparedSource): PreparedTables => {
  const { applied, horizon, limits } = source;
  const { prepared } = applied.store;
  /** Versions that builds begin from which have no block yet. */
  const wanted = new Map<TableId, { readonly incarnation: number; readonly n: number }>();
  const changes = new Map<TableId, Changed>();
  const turns = new Map<TableId, TurnQueue>();

  const readNote = async (table: TableId): Promise<Note | undefined> => {
    const bytes = await prepared.readNote(table);
    if (bytes === undefined) return undefined;
    const note = JSON.parse(utf8Decode(bytes)) as Note;
    return note.format === 1 ? note : undefined;
  };

  const staleBytes = ({ bytes }: Note): number =>
    Math.max(limits.staleBytesMin, bytes * preparedStaleShare);

  /** Bytes of the feed since a note; no more is read than tells that the blocks are stale. */
  const changedSince = async (table: TableId, note: Note): Promise<number> => {
    const known = changes.get(table);
    if (known?.incarnation === note.incarnation && known.n === note.n) return known.bytes;
    const one: Changed = { incarnation: note.incarnation, n: note.n, bytes: 0 };
    const { n } = applied.applied();
    changes.set(table, one);
    let from: { last: number; table: number } | undefined;
    let read = 0;
    while (read <= staleBytes(note)) {
      const segments = await applied.store.scanSegments('feed', {
        incarnation: note.incarnation,
        after: note.n,
        upTo: n,
        maxBytes: segmentsBytes,
        ...(from === undefined ? {} : { from }),
      });
      const last = segments.at(-1);
      if (last === undefined) break;
      for (const segment of segments) read += segment.bytes.length;
      from = { last: last.last, table: last.table };
    }
    one.bytes += read;
    return one.bytes;
  };

  const isCurrent = async (table: TableId, note: Note): Promise<boolean> => {
    const { incarnation } = applied.applied();
    if (note.incarnation !== incarnation) return false;
    const cut = horizon();
    if (cut.incarnation === incarnation && note.n < cut.n) return false;
    return (await changedSince(table, note)) <= staleBytes(note);
  };

  /** Packs the records behind what is prepared; gives the records where the whole table is small. */
  const step = async (table: TableId, note: Note): Promise<Note | RecordPage> => {
    const isFirst = note.upTo === '';
    const page = await applied.store.scanRecords(table, {
      ...(isFirst ? {} : { after: note.upTo as string }),
      maxBytes: isFirst ? Math.min(limits.bytesMin, limits.stepBytes) : limits.stepBytes,
      maxRecords: stepRecords,
    });
    if (isFirst && page.next === undefined) return page;
    const live = page.records.filter(({ deleted }) => !deleted);
    const blocks = packBlocks(live.map(({ id, row }) => ({ id, value: row })));
    const next: Note = {
      ...note,
      upTo: page.next ?? null,
      rows: note.rows + live.length,
      bytes: blocks.reduce((sum, { bytes }) => sum + bytes.length, note.bytes),
    };
    if (isFirst) await prepared.clear(table);
    await prepared.put(table, blocks, encodeNote(next));
    if (next.upTo === null) source.onPrepared(table, next.rows);
    return next;
  };

  const readInTurn = async (
    table: TableId,
    at: number,
    after: string,
    maxBytes: number,
  ): Promise<PreparedStep | undefined> => {
    const { incarnation } = applied.applied();
    const want = after === '' ? wanted.get(table) : undefined;
    let note = await readNote(table);
    if (want !== undefined) {
      wanted.delete(table);
      note = { format: 1, ...want, upTo: '', rows: 0, bytes: 0 };
    }
    if (note === undefined || note.incarnation !== incarnation || note.n < at) return undefined;
    if (note.upTo === after) {
      const made = await step(table, note);
      if ('records' in made) return { kind: 'records', page: made };
      note = made;
    }
    const { upTo }: Note = note;
    if (upTo !== null && compareTexts(upTo, after) < 0) return undefined;
    const { blocks, isEnd } = await prepared.scan(table, { after: utf8Encode(after), maxBytes });
    const [first, ...rest] = blocks;
    const last = blocks.at(-1);
    return {
      kind: 'blocks',
      blocks: first === undefined ? [] : [...behind(first, after), ...rest],
      filling: isEnd ? upTo : last === undefined ? upTo : utf8Decode(last.last),
    };
  };

  return {
    begin: async (table) => {
      const { incarnation, n } = applied.applied();
      const want = wanted.get(table);
      if (want?.incarnation === incarnation) return want.n;
      const note = await readNote(table);
      if (note !== undefined && (await isCurrent(table, note))) return note.n;
      wanted.set(table, { incarnation, n });
      changes.set(table, { incarnation, n, bytes: 0 });
      return n;
    },
    read: async (table, at, after, maxBytes) => {
      let queue = turns.get(table);
      if (queue === undefined) turns.set(table, (queue = new TurnQueue()));
      try {
        return await queue.run(() => readInTurn(table, at, after, maxBytes));
      } catch (cause) {
        if (!(cause instanceof TidemarkError) || cause.code !== 'storage-unavailable') throw cause;
        // A full disk has no room for blocks; records can be read all the same.
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
