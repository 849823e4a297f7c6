import { checkBlock, equalBytes, TidemarkError, type RowBlock } from '@tidemark/model';
import type { PreparedBlocks } from '@tidemark/ports';
import { del, plain, put, type Database } from './database.js';
import type { GroupWriter } from './group-writer.js';
import { preparedEnd, preparedIdOfKey, preparedKey } from './server-keys.js';
import { seal, unseal } from './sealed-value.js';
import { guardedRead, type ReadGuard, type ServerReads } from './server-reads.js';

const nothing = new Uint8Array(0);
/** The engine's note lies before all blocks: there is no empty id. */
const noteKey = (table: number): Uint8Array => preparedKey(table, nothing);

/** Blocks that an engine prepares for first fills: a cache of the store's own, of which no dump knows. */
export const createPreparedBlocks = (
  database: Database,
  writer: GroupWriter,
  reads: ServerReads,
  guard: ReadGuard,
): PreparedBlocks => ({
  readNote: (table) =>
    guardedRead(guard, async () => {
      const note = await database.get(noteKey(table));
      return note === undefined ? undefined : plain(note);
    }),
  put: (table, blocks, note) =>
    writer.write(
      [
        ...blocks.map(({ last, bytes }) => {
          const key = preparedKey(table, last);
          return put(key, seal(key, false, bytes));
        }),
        put(noteKey(table), note),
      ],
      'os',
    ),
  scan: async (table, { after, maxBytes }) => {
    const blocks: RowBlock[] = [];
    let bytes = 0;
    let more = false;
    await reads.scan(
      'blocks',
      { gt: preparedKey(table, after), lt: preparedEnd(table) },
      { entries: Number.POSITIVE_INFINITY, bytes: maxBytes },
      (key, value) => {
        const packed = unseal(key, false, plain(value)) ?? nothing;
        more = blocks.length > 0 && bytes + packed.length > maxBytes;
        if (more) return false;
        const block = checkBlock(packed, blocks.at(-1)?.last ?? nothing);
        if (block === undefined || !equalBytes(block.last, preparedIdOfKey(key)))
          throw new TidemarkError('storage-damaged', 'a prepared block has another form');
        blocks.push(block);
        bytes += packed.length;
        return true;
      },
    );
    return { blocks, isEnd: !more };
  },
  clear: async (table) => {
    // Before the first block: without a note the others are nobody's.
    await writer.write([del(noteKey(table))], 'os');
    await guardedRead(guard, () => database.clear({ gt: noteKey(table), lt: preparedEnd(table) }));
  },
});
