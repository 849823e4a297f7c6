import type { RecordPage, StoredRecord } from '@tidemark/ports';
import type { ServerReads } from './server-reads.js';
import { recordIdOfKey, recordKey, recordsEnd } from './server-keys.js';
import { decodeRecord } from './server-record.js';

/** Asks for records with `after` < id <= `upTo`: at most `maxRecords`, rows up to `maxBytes` bytes, at least one if any. */
export interface RecordScan {
  readonly after?: string;
  readonly upTo?: string;
  readonly maxBytes: number;
  readonly maxRecords: number;
}

/** Records by id, all in one read; the order of the answer is that of `ids`. */
export const getRecords = async (
  reads: ServerReads,
  table: number,
  ids: readonly string[],
): Promise<readonly (StoredRecord | undefined)[]> => {
  const keys: Uint8Array[] = [];
  for (const id of ids) keys.push(recordKey(table, id));
  const values = await reads.getMany('records', keys);
  const records: (StoredRecord | undefined)[] = [];
  for (let i = 0; i < ids.length; i += 1) {
    const value = values[i];
    records.push(value === undefined ? undefined : decodeRecord(ids[i] as string, value));
  }
  return records;
};

/** Page of records in key order within the bounds; the first record always fits. */
export const scanRecords = async (
  reads: ServerReads,
  table: number,
  scan: RecordScan,
): Promise<RecordPage> => {
  const records: StoredRecord[] = [];
  if (scan.maxRecords < 1) return { records, next: scan.after ?? '' };
  let bytes = 0;
  let more = false;
  await reads.scan(
    'records',
    {
      // The empty id sorts before all ids and is none itself.
      gt: recordKey(table, scan.after ?? ''),
      ...(scan.upTo === undefined
        ? { lt: recordsEnd(table) }
        : { lte: recordKey(table, scan.upTo) }),
    },
    // One more than asked for tells whether the range goes on.
    { entries: scan.maxRecords + 1, bytes: scan.maxBytes },
    (key, value) => {
      const record = decodeRecord(recordIdOfKey(key), value);
      more =
        records.length >= scan.maxRecords ||
        (records.length > 0 && bytes + record.row.length > scan.maxBytes);
      if (more) return false;
      records.push(record);
      bytes += record.row.length;
      return true;
    },
  );
  return { records, next: more ? records.at(-1)?.id : undefined };
};
