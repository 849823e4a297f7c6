import { packBlocks, utf8Decode, utf8Encode } from '@tidemark/model';
import { createPackReader, type PackedRows, type PackRoom } from './pack-reader.js';
import { blocksOfPack, makePack, type PackParts } from './prepared-pack.js';
import {
  openPreparedCache,
  type PreparedCache,
  type PreparedSource,
  type SmallTable,
} from './prepared-cache.js';

/** Part of the room of an answer that its step fills: what does not fit would make a small answer of its own. */
const stepShare = 0.9;

/** What a fill gets next: rows out of packs, or the records of a small table. */
export type PreparedStep = PackedRows | SmallTable;

/** Tables as packs for first fills: prepared by the first replica that asks, passed on as they are to all. */
export type PreparedTables = PreparedCache<PackRoom, PackedRows>;

/** Opens the prepared tables of a store. */
export const openPreparedTables = (
  source: PreparedSource & { readonly parts: PackParts },
): PreparedTables => {
  const { applied, limits, parts } = source;
  const { bytesMin, stepBytes, packedBytesMin } = limits;
  const reader = createPackReader(applied.store.prepared, parts);
  return openPreparedCache<PackRoom, PackedRows>(source, {
    shelf: (table) => table,
    field: () => undefined,
    stepBytes: (room) => {
      // Who takes packs has room for what they are packed to.
      const isPacked = room.codecs.some((codec) => parts.compression?.codecs[0] === codec);
      if (isPacked) return stepBytes;
      return Math.min(stepBytes, Math.max(bytesMin, Math.floor(room.bytes * stepShare)));
    },
    make: async (table, page, note) => {
      const live = page.records.filter(({ deleted }) => !deleted);
      const all = packBlocks(live.map(({ id, row }) => ({ id, value: row })));
      const blocks = all.slice(0, blocksOfPack(all));
      const [first, last] = [live[0], blocks.at(-1)?.last];
      const packs =
        first === undefined || last === undefined
          ? []
          : [
              {
                last,
                bytes: await makePack(parts, table, blocks, utf8Encode(first.id), packedBytesMin),
              },
            ];
      const lastId = last === undefined ? note.last : utf8Decode(last);
      return {
        packs,
        next: {
          ...note,
          upTo: blocks.length < all.length ? lastId : (page.next ?? null),
          last: lastId,
          rows: blocks.reduce((sum, { count }) => sum + count, note.rows),
          bytes: blocks.reduce((sum, { bytes }) => sum + bytes.length, note.bytes),
        },
      };
    },
    read: reader.read,
  });
};
