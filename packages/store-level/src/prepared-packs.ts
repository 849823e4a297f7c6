import type { PreparedPack, PreparedPacks } from '@tidemark/ports';
import { del, plain, put, type Database } from './database.js';
import type { GroupWriter } from './group-writer.js';
import { preparedEnd, preparedIdOfKey, preparedKey } from './server-keys.js';
import { seal, unseal } from './sealed-value.js';
import {
  guardedRead,
  type KeyRange,
  type ReadGuard,
  type ScanBounds,
  type ServerReads,
} from './server-reads.js';

const nothing = new Uint8Array(0);
/** The engine's note lies before all packs: there is no empty id. */
const noteKey = (shelf: number): Uint8Array => preparedKey(shelf, nothing);
/** Bytes that a look for a pack fetches: LevelDB gives the one that passes them, and no other. */
const lookBytes = 1_024;
/** Packs that one call reads at most. */
const packsReadMax = 10_000;

/** Packs that an engine prepares for first fills: a cache of the store's own, of which no dump knows. */
export const createPreparedPacks = (
  database: Database,
  writer: GroupWriter,
  reads: ServerReads,
  guard: ReadGuard,
): PreparedPacks => ({
  readNote: (shelf) =>
    guardedRead(guard, async () => {
      const note = await database.get(noteKey(shelf));
      return note === undefined ? undefined : plain(note);
    }),
  put: (shelf, packs, note) => {
    const operations = [put(noteKey(shelf), note)];
    for (const { last, bytes } of packs) {
      const key = preparedKey(shelf, last);
      operations.push(put(key, seal(key, false, bytes)));
    }
    return writer.write(operations, 'os');
  },
  next: async (shelf, after) => {
    const range = { gt: preparedKey(shelf, after), lt: preparedEnd(shelf) };
    const [pack] = await packsIn(reads, range, { entries: 1, bytes: lookBytes });
    return pack;
  },
  scan: (shelf, { after, before, maxBytes }) => {
    const range = { gt: preparedKey(shelf, after), lt: preparedKey(shelf, before) };
    return packsIn(reads, range, { entries: packsReadMax, bytes: maxBytes });
  },
  clear: async (shelf) => {
    // Before the first pack: without a note the others are nobody's.
    await writer.write([del(noteKey(shelf))], 'os');
    await guardedRead(guard, () => database.clear({ gt: noteKey(shelf), lt: preparedEnd(shelf) }));
  },
});

/** Packs of a range, until they are as many or long as the bounds say. */
const packsIn = async (
  reads: ServerReads,
  range: KeyRange,
  bounds: ScanBounds,
): Promise<readonly PreparedPack[]> => {
  const packs: PreparedPack[] = [];
  let left = bounds.bytes;
  await reads.scan('packs', range, bounds, (key, value) => {
    const bytes = unseal(key, false, plain(value)) ?? nothing;
    packs.push({ last: preparedIdOfKey(plain(key)), bytes });
    left -= bytes.length;
    return left > 0 && packs.length < bounds.entries;
  });
  return packs;
};
