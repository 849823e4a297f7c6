import { compareTexts } from '@tidemark/filter';
import { TidemarkError, type RecordId, type Schema, type ServerVersion } from '@tidemark/model';
import type { Caller } from '@tidemark/ports';
import {
  compareRangesMax,
  encodeCursor,
  encodeMessage,
  fingerprintOf,
  messageBytesMax,
  type CompareAnswer,
  type CompareRequest,
  type CursorDoubt,
  type CursorState,
  type FingerprintEntry,
  type RangeFingerprint,
} from '@tidemark/protocol';
import { seenNow } from './cursor-line.js';
import { countReads, type CountedReads } from './applied-store.js';
import { packTail } from './pack-tail.js';
import { createPageWriter, type PageWriter } from './page-writer.js';
import { beginPull, readCursor, rehydrateReason, startCursor } from './pull-cursor.js';
import { pullBytesMin, type PullSource } from './pull.js';
import {
  readRequestScope,
  scopedBytes,
  type ReadScope,
  type RequestScope,
} from './request-scope.js';

const scanBytesMax = 1024 * 1024;
const scanRecordsMax = 5_000;

interface ScopedRecord {
  readonly id: RecordId;
  readonly version: ServerVersion;
  readonly row: Uint8Array;
}

/** Live records of a range that are in scope, in id order, page by page. */
async function* recordsInScope(
  reads: CountedReads,
  scope: ReadScope,
  range: { readonly after: string | null; readonly upTo: string | null },
): AsyncGenerator<ScopedRecord> {
  let after = range.after ?? undefined;
  for (;;) {
    const page = await reads.store.scanRecords(scope.tableId, {
      ...(after === undefined ? {} : { after }),
      ...(range.upTo === null ? {} : { upTo: range.upTo }),
      maxBytes: scanBytesMax,
      maxRecords: scanRecordsMax,
    });
    for (const record of page.records) {
      const row = scopedBytes(scope, record);
      if (row !== null) yield { id: record.id, version: record.version, row };
    }
    if (page.next === undefined) return;
    after = page.next;
  }
}

/** A version of the server that the replica may hold with another content. */
const isInDoubt = (version: ServerVersion, doubt: CursorDoubt | undefined): boolean =>
  doubt !== undefined && version.n > doubt.after && version.incarnation <= doubt.incarnation;

/** Compares one range; stops as soon as the server has more records than the replica counted. */
const isEqualRange = async (
  reads: CountedReads,
  scope: ReadScope,
  scopeHash: string,
  range: RangeFingerprint,
  source: PullSource,
  doubt: CursorDoubt | undefined,
): Promise<boolean> => {
  const entries: FingerprintEntry[] = [];
  for await (const { id, version } of recordsInScope(reads, scope, range)) {
    entries.push({ id, version });
    if (entries.length > range.count || isInDoubt(version, doubt)) return false;
  }
  return (
    entries.length === range.count &&
    fingerprintOf(scopeHash, entries, source.crypto.sha256) === range.fingerprint
  );
};

type Held = NonNullable<CompareRequest['held']>;

/**
 * Writes what turns the held range into the server's, in id order. Resolves with the id up to which it
 * did, null when the range is through.
 */
const writeDifference = async (
  reads: CountedReads,
  scope: ReadScope,
  held: Held,
  pages: PageWriter,
  doubt: CursorDoubt | undefined,
): Promise<string | null> => {
  const rows = [...held.rows].sort(([a], [b]) => compareTexts(a, b));
  const table = scope.tableId;
  let at = 0;
  let through = held.after;
  const evictUpTo = (id: string | null): boolean => {
    for (; at < rows.length; at += 1) {
      const row = rows[at] as Held['rows'][number];
      if (id !== null && compareTexts(row[0], id) >= 0) return true;
      if (!pages.add(table, 'repair', { kind: 'evict', id: row[0] })) return false;
      through = row[0];
    }
    return true;
  };
  for await (const { id, version, row } of recordsInScope(reads, scope, held)) {
    if (!evictUpTo(id)) return through;
    const own = rows[at];
    const isHeld = own !== undefined && own[0] === id;
    const isSame =
      isHeld &&
      own[1] === version.incarnation &&
      own[2] === version.n &&
      !isInDoubt(version, doubt);
    if (!isSame && !pages.add(table, 'repair', { kind: 'upsert', id, version, row }))
      return through;
    if (isHeld) at += 1;
    through = id;
  }
  return evictUpTo(null) ? null : through;
};

const checkHeld = ({ after, upTo, rows }: Held): void => {
  const inside = rows.every(
    ([id]) =>
      (after === null || compareTexts(id, after) > 0) &&
      (upTo === null || compareTexts(id, upTo) <= 0),
  );
  if (!inside)
    throw new TidemarkError('malformed-message', 'a held record lies outside of the range');
};

/** Cursor of a repair: all tables as of the version at its start, from which the next pull catches up. */
const repairCursor = async (
  source: PullSource,
  caller: Caller,
  scope: RequestScope,
  reads: CountedReads,
): Promise<CursorState> =>
  source.applied.alone(async () => {
    const state = source.applied.applied();
    const receipt = await source.receipt(caller.replica, reads.store);
    const start = startCursor(caller, scope, state);
    const group = [...scope.tables.keys()];
    const begun = beginPull(start, group, scope, state, receipt, new Map());
    return { ...begun, tables: begun.tables.map((one) => ({ ...one, filling: null })) };
  });

/**
 * Answers a comparison of one table. Records are read as they are; changes since the repair's cursor come
 * again with the pull that follows, so nothing is missed whatever is applied meanwhile.
 */
export const answerCompare = async (
  source: PullSource,
  schema: Schema,
  caller: Caller,
  request: CompareRequest,
  doubt: CursorDoubt | undefined,
): Promise<Uint8Array> => {
  const { sha256 } = source.crypto;
  const scope = readRequestScope(
    request.scope,
    schema,
    caller.replica,
    await source.lineage(caller.replica),
    sha256,
  );
  const table = [...scope.tables.values()].find(({ tableName }) => tableName === request.table);
  if (table === undefined)
    throw new TidemarkError('invalid-scope', `table ${request.table} is not in the scope`);
  if (request.ranges.length > compareRangesMax)
    throw new TidemarkError('malformed-message', `more than ${compareRangesMax} ranges`);
  const reads = countReads(source.applied.store);
  const cursor =
    request.cursor === null
      ? {
          ...(await repairCursor(source, caller, scope, reads)),
          ...(doubt === undefined ? {} : { doubt }),
        }
      : readCursor(request.cursor, caller, source.mac);
  const reason = rehydrateReason(cursor, scope, source.applied.applied(), source.horizon());
  // The repair itself fell behind: begin it again with a cursor of null.
  if (reason !== null)
    throw new TidemarkError('invalid-cursor', 'the repair began too long ago', { reason });
  const bytes = Math.min(Math.max(request.maxBytes, pullBytesMin), messageBytesMax);
  const pages = createPageWriter(Math.max(1, bytes - 4_096 - 128 * scope.tables.size));
  const equal: boolean[] = [];
  for (const range of request.ranges)
    equal.push(await isEqualRange(reads, table, scope.hash, range, source, cursor.doubt));
  let next: string | null = null;
  if (request.held !== null) {
    checkHeld(request.held);
    next = await writeDifference(reads, table, request.held, pages, cursor.doubt);
  }
  const { applied } = source;
  const seen = await applied.alone(() => Promise.resolve(seenNow(applied.applied())));
  const tail = await packTail(source.compression, request.codecs, pages.tail(sha256));
  const answer: CompareAnswer = {
    cursor: encodeCursor({ ...cursor, seen }, source.mac),
    equal,
    next,
    reads: reads.total(),
    ...(tail.packed === undefined ? {} : { packed: tail.packed }),
  };
  return encodeMessage('CompareAnswer', answer, tail.parts);
};
