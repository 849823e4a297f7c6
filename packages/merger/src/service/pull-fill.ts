import { utf8Decode, type TableId } from '@tidemark/model';
import type { StoredRecord } from '@tidemark/ports';
import { hashOfScopeKey } from '../fold/feed-outline.js';
import type { CountedReads } from './applied-store.js';
import type { PageWriter } from './page-writer.js';
import type { PreparedTables } from './prepared-tables.js';
import type { ScopePostings } from './scope-postings.js';
import { packedTail } from './prepared-pack.js';
import { scopedBytes, type ReadScope } from './request-scope.js';

/** Records that one answer reads at most while it fills tables. */
export const pullRecordsMax = 10_000;
const scanBytesMax = 1024 * 1024;
/** Records that are read by their ids at once. */
const postedRecords = 256;

/** Where a fill stopped: after record `filling`, or null at the end of the table. */
export interface FillStep {
  readonly filling: string | null;
  readonly scanned: number;
}

/** Adds the rows of records that are in scope; returns how many records went before one that does not fit. */
const addRecords = (
  scope: ReadScope,
  records: readonly StoredRecord[],
  pages: PageWriter,
): number => {
  for (const [at, record] of records.entries()) {
    const row = scopedBytes(scope, record);
    if (row === null) continue;
    const { id, version } = record;
    if (!pages.add(scope.tableId, 'full', { kind: 'upsert', id, version, row })) return at;
  }
  return records.length;
};

/**
 * Passes the prepared rows of a table on into the pages of an answer, behind the id `filling`, for a fill that
 * began at version `at`: as they lie in the store where the replica takes their codec. Undefined when the
 * table's records must be read.
 */
export const fillFromPacks = async (
  prepared: PreparedTables,
  reads: CountedReads,
  scope: ReadScope,
  at: number,
  filling: string,
  pages: PageWriter,
  codecs: readonly string[],
): Promise<FillStep | undefined> => {
  const room = { bytes: pages.room(), isWhole: pages.isEmpty(), codecs };
  const step = await prepared.read(scope.tableId, at, filling, room);
  if (step === undefined) return undefined;
  if (step.kind === 'pack') {
    const { pack } = step;
    const packed = packedTail(pack);
    reads.countPacks(1);
    pages.passOn({ parts: [pack.tail], ...(packed === undefined ? {} : { packed }) });
    return { filling: step.filling, scanned: pack.rows };
  }
  if (step.kind === 'records')
    return fillFromSmall(reads, scope, step.page.records, filling, pages);
  const { blocks } = step;
  reads.countPacks(step.packs);
  const added = pages.addBlocks(scope.tableId, blocks);
  const last = blocks[added - 1];
  let scanned = 0;
  for (let i = 0; i < added; i += 1) scanned += blocks[i]?.count ?? 0;
  if (added === blocks.length) return { filling: step.filling, scanned };
  return { filling: last === undefined ? filling : utf8Decode(last.last), scanned };
};

/**
 * Reads the records of a table that have had the value of the scope key that its scope is pinned to, behind the id
 * `filling`, into the pages of an answer, for a fill that began at version `at`. Undefined when the table must be
 * scanned.
 */
export const fillFromPostings = async (
  postings: ScopePostings,
  reads: CountedReads,
  scope: ReadScope,
  at: number,
  filling: string,
  pages: PageWriter,
): Promise<FillStep | undefined> => {
  const { tableId, key } = scope;
  if (key === null) return undefined;
  const wanted = { field: key.field, hash: hashOfScopeKey(key.value) };
  const step = await postings.read(tableId, at, filling, wanted);
  if (step === undefined) return undefined;
  if (step.kind === 'records')
    return fillFromSmall(reads, scope, step.page.records, filling, pages);
  reads.countPacks(step.postings);
  if (step.isDense) return undefined;
  let after = filling;
  let scanned = 0;
  for (let from = 0; from < step.ids.length; from += postedRecords) {
    const ids = step.ids.slice(from, from + postedRecords);
    const found = await reads.store.getRecords(tableId, ids);
    const records = found.filter((one) => one !== undefined);
    const added = addRecords(scope, records, pages);
    scanned += added;
    if (added > 0) after = (records[added - 1] as StoredRecord).id;
    if (added < records.length) return { filling: after, scanned };
  }
  return { filling: step.filling, scanned };
};

/** Adds all records of a small table, as far as they fit. */
const fillFromSmall = (
  reads: CountedReads,
  scope: ReadScope,
  records: readonly StoredRecord[],
  filling: string,
  pages: PageWriter,
): FillStep => {
  reads.countRecords(records.length);
  const added = addRecords(scope, records, pages);
  const last = records[added - 1]?.id ?? filling;
  return { filling: added === records.length ? null : last, scanned: added };
};

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
    const added = addRecords(scope, records, pages);
    scanned += added;
    if (added > 0) after = (records[added - 1] as StoredRecord).id;
    if (added < records.length) return { filling: after, scanned };
    if (next === undefined) return { filling: null, scanned };
    if (pages.room() === 0) break;
  }
  return { filling: after, scanned };
};
