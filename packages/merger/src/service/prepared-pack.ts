import {
  concatBytes,
  TidemarkError,
  utf8Decode,
  utf8Encode,
  type Hash,
  type RowBlock,
  type TableId,
} from '@tidemark/model';
import type { Compression } from '@tidemark/ports';
import {
  decodePages,
  encodePages,
  joinTail,
  unpackedBytesMax,
  pagePart,
  type PackedTail,
} from '@tidemark/protocol';

/*
 * Value of a pack, integers big-endian:
 *
 *   format u8, rows u32, length of the tail unpacked u32, codec length u8, first id length u8, codec, first id, tail
 *
 * Without a codec the tail lies there as it is.
 */
const packFormat = 1;
const headBytes = 11;
/** Shortest tail that is packed, in bytes, unless the limits of prepared tables say so. */
export const packBytesMinDefault = 1_024;

/** Live rows of a table in id order as an answer to a first fill carries them: its whole tail, of one page. */
export interface TablePack {
  readonly rows: number;
  /** Id of the first row in UTF-8. */
  readonly first: Uint8Array;
  /** Length of the tail unpacked, in bytes. */
  readonly bytes: number;
  readonly tail: Uint8Array;
  /** Codec by which the tail is packed; null: it is as it is. */
  readonly codec: string | null;
}

/** Bytes of a pack as they are stored. */
const encodePack = ({ rows, first, bytes, tail, codec }: TablePack): Uint8Array => {
  const name = utf8Encode(codec ?? '');
  const head = new Uint8Array(headBytes);
  const view = new DataView(head.buffer);
  head[0] = packFormat;
  view.setUint32(1, rows);
  view.setUint32(5, bytes);
  head[9] = name.length;
  head[10] = first.length;
  return concatBytes([head, name, first, tail]);
};

const damaged = (cause?: unknown): TidemarkError =>
  new TidemarkError('storage-damaged', 'a prepared pack has another form', {}, cause);

/** Reads the head of a pack; its tail is a view. Throws `storage-damaged` for another form. */
export const decodePack = (stored: Uint8Array): TablePack => {
  const [codecBytes = 0, firstBytes = 0] = [stored[9], stored[10]];
  const firstAt = headBytes + codecBytes;
  const tailAt = firstAt + firstBytes;
  if (stored[0] !== packFormat || firstBytes === 0 || tailAt > stored.length) throw damaged();
  const view = new DataView(stored.buffer, stored.byteOffset, stored.byteLength);
  // So much is made room for when it is unpacked.
  if (codecBytes > 0 && view.getUint32(5) > unpackedBytesMax) throw damaged();
  try {
    return {
      rows: view.getUint32(1),
      first: stored.subarray(firstAt, tailAt),
      bytes: view.getUint32(5),
      tail: stored.subarray(tailAt),
      codec: codecBytes === 0 ? null : utf8Decode(stored.subarray(headBytes, firstAt)),
    };
  } catch (cause) {
    throw damaged(cause);
  }
};

/** Room that the heads of a tail and of its page need, in bytes. */
const tailHeadBytes = 64;
const blockHeadBytes = 4;

/** Number of blocks, from the first on, that one pack holds: what it unpacks to keeps the bound. */
export const blocksOfPack = (blocks: readonly RowBlock[]): number => {
  let bytes = tailHeadBytes;
  let count = 0;
  for (; count < blocks.length; count += 1) {
    bytes += blockHeadBytes + (blocks[count] as RowBlock).bytes.length;
    if (count > 0 && bytes > unpackedBytesMax) break;
  }
  return count;
};

/** What packs are made with. */
export interface PackParts {
  readonly hash: Hash;
  /** Undefined: packs hold their tails as they are. */
  readonly compression: Compression | undefined;
}

/** Makes the pack of at least one block, by the best codec where that makes the tail shorter. */
export const makePack = async (
  { hash, compression }: PackParts,
  table: TableId,
  blocks: readonly RowBlock[],
  first: Uint8Array,
  packedBytesMin: number,
): Promise<Uint8Array> => {
  const page = { table, mode: 'full', entries: [], blocks } as const;
  const tail = joinTail(encodePages([pagePart(page, hash)]));
  const rows = blocks.reduce((sum, { count }) => sum + count, 0);
  const plain: TablePack = { rows, first, bytes: tail.length, tail, codec: null };
  const [codec] = compression?.codecs ?? [];
  const isWorthIt = tail.length >= packedBytesMin && tail.length <= unpackedBytesMax;
  if (compression === undefined || codec === undefined || !isWorthIt) return encodePack(plain);
  const packed = await compression.pack(codec, tail);
  return encodePack(packed.length < tail.length ? { ...plain, tail: packed, codec } : plain);
};

/** Blocks of a pack. Throws `storage-damaged` where it does not unpack to one page of the table. */
export const openPack = async (
  { hash, compression }: PackParts,
  table: TableId,
  { tail, bytes, codec }: TablePack,
): Promise<readonly RowBlock[]> => {
  const unpacked = codec === null ? tail : await compression?.unpack(codec, tail, bytes);
  const pages = unpacked && decodePages(unpacked, hash);
  const [page] = pages?._tag === 'Right' ? pages.right : [];
  if (page?.table !== table || page.blocks.length === 0) throw damaged();
  return page.blocks;
};

/** What an answer says of its tail when it is that of a pack. */
export const packedTail = ({ codec, bytes }: TablePack): PackedTail | undefined =>
  codec === null ? undefined : { codec, bytes };
