import type { MergeRecord } from '@tidemark/merge';
import { decodeRow, encodeRow, utf8Decode, utf8Encode } from '@tidemark/model';
import type { StoredRecord } from '@tidemark/ports';

/**
 * Encodes what only the engine knows of a record (`StoredRecord.extra`): JSON `[lastOp, chainFrom]`.
 */
export const encodeExtra = (lastOp: string, chainFrom: number): Uint8Array =>
  utf8Encode(JSON.stringify([lastOp, chainFrom]));

/** Record of merge as the store keeps it. */
export const storedRecord = (id: string, record: MergeRecord): StoredRecord => ({
  id,
  version: record.row.version,
  deleted: record.deleted,
  row: encodeRow(record.row),
  extra: encodeExtra(record.lastOp, record.chainFrom),
});

/** Stored record as merge sees it. */
export const mergeRecord = (stored: StoredRecord): MergeRecord => {
  const [lastOp, chainFrom] = JSON.parse(utf8Decode(stored.extra)) as readonly [string, number];
  return { row: decodeRow(stored.row), deleted: stored.deleted, lastOp, chainFrom };
};
