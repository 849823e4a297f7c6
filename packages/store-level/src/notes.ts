import { utf8Decode } from '@tidemark/model';
import type { ReplicaBatch } from '@tidemark/ports';
import { del, put, type Database, type DatabaseOperation } from './database.js';
import { prefixEnd, space, textKey } from './keys.js';
import { seal, unseal } from './sealed-value.js';

const chunkEntriesMax = 1_000;

/** Turns the notes of a batch into operations. */
export const noteOperations = (notes: NonNullable<ReplicaBatch['notes']>): DatabaseOperation[] =>
  notes.map((note) => {
    const key = textKey(space.note, note.key);
    return note.value === null ? del(key) : put(key, seal(key, false, note.value));
  });

/** Scans notes whose keys start with `prefix`, in key order (reversed if asked), at most `limit`. */
export const scanNotesOf = async (
  database: Database,
  prefix: string,
  limit: number,
  reverse: boolean,
): Promise<readonly { readonly key: string; readonly value: Uint8Array }[]> => {
  const notes: { key: string; value: Uint8Array }[] = [];
  const start = textKey(space.note, prefix);
  const iterator = database.iterator({ gte: start, lt: prefixEnd(start) as Uint8Array, reverse });
  try {
    while (notes.length < limit) {
      const entries = await iterator.nextv(Math.min(chunkEntriesMax, limit - notes.length));
      if (entries.length === 0) break;
      for (const [key, value] of entries)
        notes.push({
          key: utf8Decode(key.subarray(1)),
          value: unseal(key, false, value) ?? new Uint8Array(0),
        });
    }
    return notes;
  } finally {
    await iterator.close();
  }
};
