import type { MergeRecord } from '@tidemark/merge';
import { decodeRow, encodeRow, utf8Decode, utf8EncodeBriefly } from '@tidemark/model';
import type { StoredRecord } from '@tidemark/ports';
import { storedForm } from './stored-form.js';

/**
 * Encodes what only the engine knows of a record (`StoredRecord.extra`): JSON `[lastOp, chainFrom]`.
 */
export const encodeExtra = (lastOp: string, chainFrom: number): Uint8Array =>
  utf8EncodeBriefly(JSON.stringify([lastOp, chainFrom]));

/** Record of merge as the store keeps it. */
export const storedRecord = (id: string, record: MergeRecord): StoredRecord => ({
  id,
  version: record.row.version,
  deleted: record.deleted,
  row: encodeRow(record.row),
  extra: encodeExtra(record.lastOp, record.chainFrom),
});

const extraOf = (bytes: Uint8Array): readonly [lastOp: string, chainFrom: number] => {
  const [lastOp, chainFrom] = JSON.parse(utf8Decode(bytes)) as readonly [string, number];
  return [lastOp, chainFrom];
};

/** Stored record as merge sees it. Throws TidemarkError `storage-damaged` on other bytes. */
export const mergeRecord = (stored: StoredRecord): MergeRecord => {
  const [lastOp, chainFrom] = storedForm('a stored record', () => extraOf(stored.extra));
  return { row: decodeRow(stored.row), deleted: stored.deleted, lastOp, chainFrom };
};
