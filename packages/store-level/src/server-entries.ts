import type { ServerSpace } from '@tidemark/ports';
import { plain } from './database.js';
import { entryKey, entryTextOfKey } from './server-keys.js';
import type { ServerReads } from './server-reads.js';

/** Asks for at most `limit` entries between two keys, both exclusive; `reverse` begins at the far end. */
export interface EntryScan {
  readonly gt: string;
  readonly lt: string;
  readonly limit: number;
  readonly reverse?: boolean;
}

/** Entry of a space. */
export interface ServerEntry {
  readonly key: string;
  readonly value: Uint8Array;
}

/** A scan without a byte bound of its own reads at most this much per step. */
const entryStepBytes = 1024 * 1024;

/** Entries by key, all in one read. */
export const getEntries = async (
  reads: ServerReads,
  space: ServerSpace,
  keys: readonly string[],
): Promise<readonly (Uint8Array | undefined)[]> => {
  const values = await reads.getMany(
    'entries',
    keys.map((key) => entryKey(space, key)),
  );
  return values.map((value) => (value === undefined ? undefined : plain(value)));
};

/** Entries between two keys, both exclusive, in key order. */
export const scanEntries = async (
  reads: ServerReads,
  space: ServerSpace,
  scan: EntryScan,
): Promise<readonly ServerEntry[]> => {
  const entries: ServerEntry[] = [];
  if (scan.limit < 1) return entries;
  await reads.scan(
    'entries',
    {
      gt: entryKey(space, scan.gt),
      lt: entryKey(space, scan.lt),
      reverse: scan.reverse === true,
    },
    { entries: scan.limit, bytes: entryStepBytes },
    (key, value) => {
      entries.push({ key: entryTextOfKey(key), value: plain(value) });
      return entries.length < scan.limit;
    },
  );
  return entries;
};
