import { TidemarkError, type Hash } from '@tidemark/model';
import type { Marker } from '@tidemark/ports';
import { decodeMarker, StoreMarker } from './store-marker.js';

/** Marker of a server's database as it was found, before the database is opened. */
export interface OpenMarker {
  /** Id of the store that was here; undefined when no readable marker tells it. */
  readonly expectedId: Uint8Array | undefined;
  /** True when there are marker bytes, readable or not: a store existed. */
  readonly existed: boolean;
  /** Ordinal that was fsynced: a store with a lower one lost its tail. */
  readonly ordinal: number;
  readonly repairWanted: boolean;
  /** Binds the marker to the store that was opened and writes it, durably. */
  readonly attach: (storeId: Uint8Array, durableOrdinal: () => number) => Promise<StoreMarker>;
}

/** Reads a marker. Rejects with `newer-format`; a damaged one is replaced when the store is there. */
export const openMarker = async (raw: Marker, hash: Hash): Promise<OpenMarker> => {
  const bytes = await raw.read();
  const content = bytes === undefined ? undefined : decodeMarker(bytes, hash);
  if (content === 'newer-format')
    throw new TidemarkError('newer-format', 'a newer version wrote the marker of this store');
  const found = content === 'damaged' ? undefined : content;
  return {
    expectedId: found?.storeId,
    existed: bytes !== undefined,
    ordinal: found?.ordinal ?? 0,
    repairWanted: found?.repairWanted ?? false,
    attach: async (storeId, durableOrdinal) => {
      const marker = new StoreMarker({
        raw,
        hash,
        content: {
          storeId,
          ordinal: found?.ordinal ?? 0,
          repairWanted: false,
          payload: found?.payload,
        },
        durableOrdinal,
      });
      // Written even if unchanged: it ends the wish for a repair and replaces a damaged marker.
      if (found === undefined || found.repairWanted) await marker.write(new Uint8Array(0));
      return marker;
    },
  };
};
