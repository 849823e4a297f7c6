import {
  checkBlock,
  equalBytes,
  left,
  right,
  utf8Decode,
  utf8Encode,
  type Hash,
  type Result,
  type RowBlock,
  type ServerVersion,
  type TableId,
} from '@tidemark/model';
import { joinTail, type TailPart, type WrittenPart } from './frame.js';

/** How rows of a page come about: first fill, difference of the feed, or repair by comparison. */
export type PageMode = 'full' | 'incremental' | 'repair';

/**
 * Entry of a page. `upsert` carries the public row bytes; `touch` only a new version, when no projected
 * field changed; `evict` removes the record, alike for deleted and out of scope.
 */
export type PageEntry =
  | {
      readonly kind: 'upsert';
      readonly id: string;
      readonly version: ServerVersion;
      readonly row: Uint8Array;
    }
  | { readonly kind: 'touch'; readonly id: string; readonly version: ServerVersion }
  | { readonly kind: 'evict'; readonly id: string };

/** Entries of one table. Full pages are in id order, and may hold blocks of rows instead of entries. */
export interface TablePage {
  readonly table: TableId;
  readonly mode: PageMode;
  readonly entries: readonly PageEntry[];
  /** Live rows, packed, in id order; empty unless the replica asked for blocks. */
  readonly blocks: readonly RowBlock[];
}

/** Newest format of pages. */
export const pageFormat = 2;
const entriesFormat = 1;
const blocksFormat = 2;
const modes: readonly PageMode[] = ['full', 'incremental', 'repair'];
const kinds: readonly PageEntry['kind'][] = ['upsert', 'touch', 'evict'];
const headerBytes = 26;
const entryBytes = 16;
const checksumBytes = 8;
const blockLengthBytes = 4;
const noId = new Uint8Array(0);

/**
 * Encodes a page of one table, integers big-endian: format, mode, table (4), count (4), directory length
 * (4), rows length (4), checksum (8, of directory and rows); then the directory: per entry kind, id
 * length, incarnation (4), n (6), row length (4), id; then the rows. Of blocks (format 2) the directory
 * holds the length of each (4), and the blocks follow. Rows are forwarded undecoded.
 */
export const encodePage = (page: TablePage, hash: Hash): Uint8Array =>
  page.blocks.length > 0 ? joinTail([blocksPart(page, hash)]) : encodeEntries(page, hash);

/** Part of a tail that is such a page: blocks go to their place in the message at once. */
export const pagePart = (page: TablePage, hash: Hash): TailPart =>
  page.blocks.length > 0 ? blocksPart(page, hash) : encodeEntries(page, hash);

const blocksPart = (page: TablePage, hash: Hash): WrittenPart => {
  const rowsLength = page.blocks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  return {
    length: headerBytes + blockLengthBytes * page.blocks.length + rowsLength,
    write: (out) => writeBlocks(out, page, rowsLength, hash),
  };
};

const writeBlocks = (
  out: Uint8Array,
  { table, mode, blocks }: TablePage,
  rowsLength: number,
  hash: Hash,
): void => {
  const directoryLength = blockLengthBytes * blocks.length;
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  out[0] = blocksFormat;
  out[1] = modes.indexOf(mode);
  view.setUint32(2, table);
  view.setUint32(6, blocks.length);
  view.setUint32(10, directoryLength);
  view.setUint32(14, rowsLength);
  let at = headerBytes;
  let blockAt = headerBytes + directoryLength;
  for (const { bytes } of blocks) {
    view.setUint32(at, bytes.length);
    out.set(bytes, blockAt);
    at += blockLengthBytes;
    blockAt += bytes.length;
  }
  sealed(out, hash);
};

/** Writes the checksum of what follows the header into it. */
const sealed = (out: Uint8Array, hash: Hash): Uint8Array => {
  out.set(hash(out.subarray(headerBytes)).subarray(0, checksumBytes), headerBytes - checksumBytes);
  return out;
};

const encodeEntries = (page: TablePage, hash: Hash): Uint8Array => {
  const ids = page.entries.map((entry) => utf8Encode(entry.id));
  let directoryLength = 0;
  let rowsLength = 0;
  page.entries.forEach((entry, i) => {
    directoryLength += entryBytes + (ids[i] as Uint8Array).length;
    if (entry.kind === 'upsert') rowsLength += entry.row.length;
  });
  const out = new Uint8Array(headerBytes + directoryLength + rowsLength);
  const view = new DataView(out.buffer);
  out[0] = entriesFormat;
  out[1] = modes.indexOf(page.mode);
  view.setUint32(2, page.table);
  view.setUint32(6, page.entries.length);
  view.setUint32(10, directoryLength);
  view.setUint32(14, rowsLength);
  let at = headerBytes;
  let rowAt = headerBytes + directoryLength;
  page.entries.forEach((entry, i) => {
    const id = ids[i] as Uint8Array;
    const { incarnation, n } = entry.kind === 'evict' ? { incarnation: 0, n: 0 } : entry.version;
    out[at] = kinds.indexOf(entry.kind);
    out[at + 1] = id.length;
    view.setUint32(at + 2, incarnation);
    view.setUint16(at + 6, Math.floor(n / 2 ** 32));
    view.setUint32(at + 8, n % 2 ** 32);
    view.setUint32(at + 12, entry.kind === 'upsert' ? entry.row.length : 0);
    out.set(id, at + entryBytes);
    at += entryBytes + id.length;
    if (entry.kind === 'upsert') {
      out.set(entry.row, rowAt);
      rowAt += entry.row.length;
    }
  });
  return sealed(out, hash);
};

/** Reason why bytes are not a page. */
export type PageProblem = 'newer-format' | 'malformed' | 'checksum';

const decodeId = (bytes: Uint8Array): string | undefined => {
  try {
    const id = utf8Decode(bytes);
    return id.includes('\0') ? undefined : id;
  } catch {
    return undefined;
  }
};

const decodeEntries = (
  bytes: Uint8Array,
  count: number,
  directoryEnd: number,
): PageEntry[] | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: PageEntry[] = [];
  let at = headerBytes;
  let rowAt = directoryEnd;
  for (let i = 0; i < count; i += 1) {
    if (at + entryBytes > directoryEnd) return undefined;
    const kind = kinds[bytes[at] as number];
    const idLength = bytes[at + 1] as number;
    const version = {
      incarnation: view.getUint32(at + 2),
      n: view.getUint16(at + 6) * 2 ** 32 + view.getUint32(at + 8),
    };
    const rowLength = view.getUint32(at + 12);
    if (kind === undefined || idLength === 0 || at + entryBytes + idLength > directoryEnd)
      return undefined;
    if (rowAt + rowLength > bytes.length || (kind !== 'upsert' && rowLength !== 0))
      return undefined;
    const id = decodeId(bytes.subarray(at + entryBytes, at + entryBytes + idLength));
    if (id === undefined) return undefined;
    if (kind === 'upsert')
      entries.push({ kind, id, version, row: bytes.subarray(rowAt, rowAt + rowLength) });
    else if (kind === 'touch') entries.push({ kind, id, version });
    else entries.push({ kind, id });
    rowAt += rowLength;
    at += entryBytes + idLength;
  }
  return at === directoryEnd && rowAt === bytes.length ? entries : undefined;
};

const decodeBlocks = (
  bytes: Uint8Array,
  count: number,
  directoryEnd: number,
): RowBlock[] | undefined => {
  if (directoryEnd !== headerBytes + blockLengthBytes * count || count === 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks: RowBlock[] = [];
  let at = directoryEnd;
  for (let i = 0; i < count; i += 1) {
    const end = at + view.getUint32(headerBytes + blockLengthBytes * i);
    if (end > bytes.length) return undefined;
    const block = checkBlock(bytes.subarray(at, end), blocks.at(-1)?.last ?? noId);
    if (block === undefined) return undefined;
    blocks.push(block);
    at = end;
  }
  return at === bytes.length ? blocks : undefined;
};

/** Decodes one page. Total: any other bytes are a problem, never an exception. Rows and blocks are views into `bytes`. */
export const decodePage = (bytes: Uint8Array, hash: Hash): Result<PageProblem, TablePage> => {
  if (bytes.length < headerBytes) return left('malformed');
  if ((bytes[0] as number) > pageFormat) return left('newer-format');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const mode = modes[bytes[1] as number];
  const directoryEnd = headerBytes + view.getUint32(10);
  const inBlocks = bytes[0] === blocksFormat;
  if ((!inBlocks && bytes[0] !== entriesFormat) || mode === undefined) return left('malformed');
  if (inBlocks && mode !== 'full') return left('malformed');
  if (directoryEnd + view.getUint32(14) !== bytes.length) return left('malformed');
  const checksum = hash(bytes.subarray(headerBytes)).subarray(0, checksumBytes);
  if (!equalBytes(checksum, bytes.subarray(headerBytes - checksumBytes, headerBytes)))
    return left('checksum');
  const count = view.getUint32(6);
  const table = view.getUint32(2);
  if (inBlocks) {
    const blocks = decodeBlocks(bytes, count, directoryEnd);
    return blocks === undefined ? left('malformed') : right({ table, mode, entries: [], blocks });
  }
  const entries = decodeEntries(bytes, count, directoryEnd);
  return entries === undefined ? left('malformed') : right({ table, mode, entries, blocks: [] });
};

/** Parts of the tail of a message that holds pages: each preceded by its length (4 bytes, big-endian). */
export const encodePages = (pages: readonly TailPart[]): readonly TailPart[] => {
  const parts: TailPart[] = [];
  for (const page of pages) {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, page.length);
    parts.push(length, page);
  }
  return parts;
};

/** Splits the tail of a message into pages and decodes them. */
export const decodePages = (
  tail: Uint8Array,
  hash: Hash,
): Result<PageProblem, readonly TablePage[]> => {
  const pages: TablePage[] = [];
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  let at = 0;
  while (at < tail.length) {
    if (at + 4 > tail.length) return left('malformed');
    const length = view.getUint32(at);
    if (at + 4 + length > tail.length) return left('malformed');
    const page = decodePage(tail.subarray(at + 4, at + 4 + length), hash);
    if (page._tag === 'Left') return page;
    pages.push(page.right);
    at += 4 + length;
  }
  return right(pages);
};
