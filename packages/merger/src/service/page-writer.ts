import { utf8Length, type Hash, type RowBlock, type TableId } from '@tidemark/model';
import {
  encodePages,
  pagePart,
  type PageEntry,
  type PageMode,
  type TailPart,
} from '@tidemark/protocol';

const entryOverheadBytes = 16;
const pageOverheadBytes = 30;

/** Collects the entries of one answer within its bytes. */
export interface PageWriter {
  /** Adds an entry unless it does not fit any more; the first entry of an answer always fits. */
  readonly add: (table: TableId, mode: PageMode, entry: PageEntry) => boolean;
  /** Adds blocks of live rows, as many as fit; the first of an answer always does. */
  readonly addBlocks: (table: TableId, blocks: readonly RowBlock[]) => number;
  readonly room: () => number;
  readonly isEmpty: () => boolean;
  /** Parts of the message's tail: one page for the entries of a table and mode. */
  readonly tail: (hash: Hash) => readonly TailPart[];
}

/** Starts the pages of an answer of at most `bytesMax` bytes. */
export const createPageWriter = (bytesMax: number): PageWriter => {
  const pages: { table: TableId; mode: PageMode; entries: PageEntry[]; blocks: RowBlock[] }[] = [];
  let bytes = 0;
  return {
    add: (table, mode, entry) => {
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
    room: () => Math.max(0, bytesMax - bytes),
    isEmpty: () => pages.length === 0,
    tail: (hash) => encodePages(pages.map((page) => pagePart(page, hash))),
  };
};
