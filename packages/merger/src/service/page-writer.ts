import { invariant, utf8Length, type Hash, type RowBlock, type TableId } from '@tidemark/model';
import { encodePages, pagePart, type PageEntry, type PageMode } from '@tidemark/protocol';
import type { TravellingTail } from './pack-tail.js';

const entryOverheadBytes = 16;
const pageOverheadBytes = 30;

/** Collects the entries of one answer within its bytes. */
export interface PageWriter {
  /** Adds an entry unless it does not fit any more; the first entry of an answer always fits. */
  readonly add: (table: TableId, mode: PageMode, entry: PageEntry) => boolean;
  /** Adds blocks of live rows, as many as fit; the first of an answer always does. */
  readonly addBlocks: (table: TableId, blocks: readonly RowBlock[]) => number;
  /** Makes a prepared tail that of the answer, which must be empty: nothing else fits into it any more. */
  readonly passOn: (tail: TravellingTail) => void;
  readonly room: () => number;
  readonly isEmpty: () => boolean;
  /** Tail of the message: one page for the entries of a table and mode. */
  readonly tail: (hash: Hash) => TravellingTail;
}

/** Starts the pages of an answer of at most `bytesMax` bytes. */
export const createPageWriter = (bytesMax: number): PageWriter => {
  const pages: { table: TableId; mode: PageMode; entries: PageEntry[]; blocks: RowBlock[] }[] = [];
  let bytes = 0;
  let passed: TravellingTail | undefined;
  return {
    add: (table, mode, entry) => {
      if (passed !== undefined) return false;
      const page = pages.find(
        (one) => one.table === table && one.mode === mode && one.blocks.length === 0,
      );
      const size =
        entryOverheadBytes +
        utf8Length(entry.id) +
        (entry.kind === 'upsert' ? entry.row.length : 0) +
        (page === undefined ? pageOverheadBytes : 0);
      if (pages.length > 0 && bytes + size > bytesMax) return false;
      bytes += size;
      if (page === undefined) pages.push({ table, mode, entries: [entry], blocks: [] });
      else page.entries.push(entry);
      return true;
    },
    addBlocks: (table, blocks) => {
      const fitting: RowBlock[] = [];
      if (passed !== undefined) return 0;
      bytes += pageOverheadBytes;
      for (const block of blocks) {
        const size = entryOverheadBytes + block.bytes.length;
        if (pages.length + fitting.length > 0 && bytes + size > bytesMax) break;
        bytes += size;
        fitting.push(block);
      }
      if (fitting.length > 0) pages.push({ table, mode: 'full', entries: [], blocks: fitting });
      return fitting.length;
    },
    passOn: (tail) => {
      invariant(pages.length === 0, 'a prepared tail is the whole of an answer');
      passed = tail;
    },
    room: () => (passed === undefined ? Math.max(0, bytesMax - bytes) : 0),
    isEmpty: () => pages.length === 0 && passed === undefined,
    tail: (hash) => passed ?? { parts: encodePages(pages.map((page) => pagePart(page, hash))) },
  };
};
