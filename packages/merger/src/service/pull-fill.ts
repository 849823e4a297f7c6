import type { TableId } from '@tidemark/model';
import type { CountedReads } from './applied-store.js';
import type { PageWriter } from './page-writer.js';
import { scopedBytes, type ReadScope } from './request-scope.js';

/** Records that one answer reads at most while it fills tables. */
export const pullRecordsMax = 10_000;
const scanBytesMax = 1024 * 1024;

/** Where a fill stopped: after record `filling`, or null at the end of the table. */
export interface FillStep {
  readonly filling: string | null;
  readonly scanned: number;
}

/**
 * Reads a table in id order after `filling` into the pages of an answer: until they are full, the reads
 * are used up, or the table ends. Rows are read as they are now; what changes meanwhile comes with the
 * feed afterwards.
 */
export const fillTable = async (
  reads: CountedReads,
  scope: ReadScope,
  filling: string,
  pages: PageWriter,
  recordsMax: number,
): Promise<FillStep> => {
  const table: TableId = scope.tableId;
  let after = filling;
  let scanned = 0;
  while (scanned < recordsMax) {
    const { records, next } = await reads.store.scanRecords(table, {
      ...(after === '' ? {} : { after }),
      maxBytes: Math.min(scanBytesMax, Math.max(1, pages.room())),
      maxRecords: recordsMax - scanned,
    });
    for (const record of records) {
      const row = scopedBytes(scope, record);
      if (
        row !== null &&
        !pages.add(table, 'full', { kind: 'upsert', id: record.id, version: record.version, row })
      )
        return { filling: after, scanned };
      after = record.id;
      scanned += 1;
    }
    if (next === undefined) return { filling: null, scanned };
    if (pages.room() === 0) break;
  }
  return { filling: after, scanned };
};
