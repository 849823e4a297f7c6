import { compareTexts } from '@tidemark/filter';
import {
  equalBytes,
  packBlocks,
  rowsOfBlock,
  utf8Decode,
  utf8Encode,
  type RowBlock,
  type TableId,
} from '@tidemark/model';
import type { PreparedPack, PreparedPacks } from '@tidemark/ports';
import { decodePack, openPack, type PackParts, type TablePack } from './prepared-pack.js';

/** What an answer can take of a table. */
export interface PackRoom {
  /** Of what travels: a pack as it lies becomes more when it is unpacked, up to `unpackedBytesMax`. */
  readonly bytes: number;
  /** Nothing else is in the answer: a pack may be its whole tail. */
  readonly isWhole: boolean;
  /** Codecs in which the replica takes a pack as it lies. */
  readonly codecs: readonly string[];
}

/** Rows of packs, with the id behind which a fill goes on: a pack as it lies, or blocks out of `packs` packs. */
export type PackedRows =
  | { readonly kind: 'pack'; readonly pack: TablePack; readonly filling: string | null }
  | {
      readonly kind: 'blocks';
      readonly blocks: readonly RowBlock[];
      readonly packs: number;
      readonly filling: string | null;
    };

/** How far the packs of a table go. */
export interface PackExtent {
  /** Rows up to this id are packed; all when null. */
  readonly upTo: string | null;
  /** Id of the last row that is packed. */
  readonly last: string;
}

/** Reads the packs of tables. */
export interface PackReader {
  /** What lies behind an id: a pack as it is where it can be passed on so, else as many rows as fit. */
  readonly read: (
    table: TableId,
    extent: PackExtent,
    after: string,
    room: PackRoom,
  ) => Promise<PackedRows>;
}

/** Blocks of a pack behind an id: of the first one that ends there the rows that lie behind it. */
const behind = (blocks: readonly RowBlock[], after: string): readonly RowBlock[] => {
  const left = blocks.filter(({ last }) => compareTexts(utf8Decode(last), after) > 0);
  const [first, ...rest] = left;
  if (first === undefined) return [];
  const rows = rowsOfBlock(first.bytes);
  const rowsLeft = rows.filter(({ id }) => compareTexts(id, after) > 0);
  return rowsLeft.length === rows.length ? left : [...packBlocks(rowsLeft), ...rest];
};

/** Creates the reader of a store's packs. */
export const createPackReader = (prepared: PreparedPacks, parts: PackParts): PackReader => {
  /** At most 2 MB and what they were packed to, the bound of a pack. */
  let lastOpened:
    | { readonly table: TableId; readonly bytes: Uint8Array; readonly blocks: readonly RowBlock[] }
    | undefined;

  /** The blocks of a pack. Who reads in small answers opens it once, unless others read meanwhile. */
  const opened = async (
    table: TableId,
    bytes: Uint8Array,
    pack: TablePack,
  ): Promise<readonly RowBlock[]> => {
    if (lastOpened?.table === table && equalBytes(lastOpened.bytes, bytes))
      return lastOpened.blocks;
    const blocks = await openPack(parts, table, pack);
    lastOpened = { table, bytes, blocks };
    return blocks;
  };

  const read: PackReader['read'] = async (
    table,
    { upTo, last },
    after,
    { bytes, isWhole, codecs },
  ) => {
    const blocks: RowBlock[] = [];
    let filling: string | null = after;
    let [packs, taken] = [0, 0];
    // Each round goes at least one row further.
    while (filling !== null && (packs === 0 || taken < bytes)) {
      const found: PreparedPack | undefined = await prepared.next(table, utf8Encode(filling));
      if (found === undefined) return { kind: 'blocks', blocks, packs, filling: upTo };
      const pack = decodePack(found.bytes);
      const lastId = utf8Decode(found.last);
      const next = lastId === last ? upTo : lastId;
      const isTaken = pack.codec !== null && codecs.includes(pack.codec);
      if (isTaken && compareTexts(filling, utf8Decode(pack.first)) < 0) {
        if (isWhole && packs === 0 && pack.tail.length <= bytes)
          return { kind: 'pack', pack, filling: next };
        // It is worth an answer of its own.
        if (!isWhole || packs > 0) break;
      }
      for (const block of behind(await opened(table, found.bytes, pack), filling)) {
        blocks.push(block);
        taken += block.bytes.length;
      }
      packs += 1;
      filling = next;
    }
    return { kind: 'blocks', blocks, packs, filling };
  };
  return { read };
};
