import type { PreparedPack, PreparedPacks } from '@tidemark/ports';
import { del, plain, put, type Database } from './database.js';
import type { GroupWriter } from './group-writer.js';
import { preparedEnd, preparedIdOfKey, preparedKey } from './server-keys.js';
import { seal, unseal } from './sealed-value.js';
import { guardedRead, type ReadGuard, type ServerReads } from './server-reads.js';

const nothing = new Uint8Array(0);
/** The engine's note lies before all packs: there is no empty id. */
const noteKey = (table: number): Uint8Array => preparedKey(table, nothing);
/** Bytes that a look for a pack fetches: LevelDB gives the one that passes them, and no other. */
const lookBytes = 1_024;

/** Packs that an engine prepares for first fills: a cache of the store's own, of which no dump knows. */
export const createPreparedPacks = (
  database: Database,
  writer: GroupWriter,
  reads: ServerReads,
  guard: ReadGuard,
): PreparedPacks => ({
  readNote: (table) =>
    guardedRead(guard, async () => {
      const note = await database.get(noteKey(table));
      return note === undefined ? undefined : plain(note);
    }),
  put: (table, pack, note) => {
    const operations = [put(noteKey(table), note)];
    if (pack !== undefined) {
      const key = preparedKey(table, pack.last);
      operations.push(put(key, seal(key, false, pack.bytes)));
    }
    return writer.write(operations, 'os');
  },
  next: async (table, after) => {
    let found: PreparedPack | undefined;
    await reads.scan(
      'packs',
      { gt: preparedKey(table, after), lt: preparedEnd(table) },
      { entries: 1, bytes: lookBytes },
      (key, value) => {
        const bytes = unseal(key, false, plain(value)) ?? nothing;
        found = { last: preparedIdOfKey(plain(key)), bytes };
        return false;
      },
    );
    return found;
  },
  clear: async (table) => {
    // Before the first pack: without a note the others are nobody's.
    await writer.write([del(noteKey(table))], 'os');
    await guardedRead(guard, () => database.clear({ gt: noteKey(table), lt: preparedEnd(table) }));
  },
});
