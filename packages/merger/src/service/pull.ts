import type { LogPart } from '@tidemark/merge';
import { TidemarkError, type Receipt, type TableId } from '@tidemark/model';
import type { Caller, Clock, Compression, Crypto } from '@tidemark/ports';
import {
  cursorName,
  encodeCursor,
  encodeMessage,
  messageBytesMax,
  type CursorState,
  type Mac,
  type PullAnswer,
  type PullRequest,
} from '@tidemark/protocol';
import type { Schema } from '@tidemark/model';
import type { FoldState } from '../fold/fold-state.js';
import { seenNow, type CursorPlace } from './cursor-line.js';
import { countReads, type AppliedStore, type CountedReads } from './applied-store.js';
import { packTail } from './pack-tail.js';
import { createPageWriter, type PageWriter } from './page-writer.js';
import {
  beginPass,
  beginPull,
  endPass,
  endPull,
  readCursor,
  rehydrateReason,
  startCursor,
  withOwnPlace,
  type Horizon,
  type RehydrateReason,
} from './pull-cursor.js';
import type { KeyedSegments } from './keyed-segments.js';
import { readFeed, type FeedPass } from './pull-feed.js';
import {
  fillFromPacks,
  fillFromPostings,
  fillTable,
  pullRecordsMax,
  type FillStep,
} from './pull-fill.js';
import type { PreparedFills } from './prepared-fills.js';
import { readRequestScope, type ReadScope, type RequestScope } from './request-scope.js';

/** Smallest answer that a pull may ask for, in bytes. */
export const pullBytesMin = 4_096;
/** From this pass on values are shown as of its version, so that every pull ends. */
export const passAsOfFrom = 3;

/** What a pull works with. */
export interface PullSource {
  readonly applied: AppliedStore;
  readonly schema: () => Schema;
  readonly crypto: Crypto;
  readonly compression: Compression | undefined;
  readonly clock: Clock;
  readonly mac: Mac;
  readonly horizon: () => Horizon;
  /** Receipt of a replica as the store stands now. */
  readonly receipt: (replica: string, reads: CountedReads['store']) => Promise<Receipt>;
  /** The same receipt with the tenant's signature. */
  readonly signed: (replica: string, receipt: Receipt) => Receipt;
  /** Parts of its origins' logs that a clone shares: fixed when its first epoch was granted. */
  readonly lineage: (replica: string) => Promise<readonly LogPart[]>;
  readonly prepared: PreparedFills;
  /** Segments of the feed that were read lately. */
  readonly keyed: KeyedSegments;
  /** Records of a table, for progress; 0 when unknown, and counted for later if it may be. */
  readonly tableSize: (table: TableId, mayCount: boolean) => number;
}

interface PullWork {
  readonly source: PullSource;
  readonly caller: Caller;
  readonly request: PullRequest;
  readonly scope: RequestScope;
  readonly reads: CountedReads;
  readonly pages: PageWriter;
  /** Told of the cursor behind this page as soon as it is known; undefined where the download ends here. */
  readonly onNext: (next: string | undefined) => void;
}

interface PullStep {
  readonly cursor: CursorState;
  readonly closing: boolean;
}

/** Room that the JSON part of an answer needs, generously: the cursor names every table. */
const answerJsonBytes = (scope: RequestScope): number => 4_096 + 128 * scope.tables.size;

const groupOf = (request: PullRequest, scope: RequestScope): readonly TableId[] => {
  if (request.tables === null) return [...scope.tables.keys()];
  const names = new Set(request.tables);
  const group = [...scope.tables.values()]
    .filter(({ tableName }) => names.has(tableName) || tableName === 'sync_errors')
    .map(({ tableId }) => tableId);
  const known = new Set([...scope.tables.values()].map(({ tableName }) => tableName));
  const unknown = request.tables.find((name) => !known.has(name));
  if (unknown !== undefined)
    throw new TidemarkError('invalid-scope', `table ${unknown} is not in the scope`);
  return group;
};

/** A table that a replica gets whole can be passed on in blocks. */
const goesInBlocks = ({ request }: Pick<PullWork, 'request'>, scope: ReadScope): boolean =>
  request.blocks === true && scope.filter === null && scope.projection === null;

/** Codecs in which a replica takes what is packed already. */
const takenCodecs = ({ ready = [], codecs = [] }: PullRequest): readonly string[] => [
  ...ready,
  ...codecs,
];

/** Versions from which prepared tables that are about to be filled begin. */
const fillVersions = async (
  work: PullWork,
  given: CursorState,
  group: readonly TableId[],
): Promise<ReadonlyMap<TableId, number>> => {
  const versions = new Map<TableId, number>();
  for (const table of group) {
    const scope = work.scope.tables.get(table);
    const known = given.tables.find((one) => one.table === table);
    if (scope === undefined || (known !== undefined && known.filling !== '')) continue;
    const { tables, postings } = work.source.prepared;
    if (goesInBlocks(work, scope)) versions.set(table, await tables.begin(table));
    else if (scope.key !== null) versions.set(table, await postings.begin(table, scope.key.field));
  }
  return versions;
};

/** Fills a table from what is prepared of it; undefined where its records must be scanned. */
const fillPrepared = (
  { source, request, reads, pages }: PullWork,
  scope: ReadScope,
  at: number,
  filling: string,
): Promise<FillStep | undefined> => {
  const { tables, postings } = source.prepared;
  return goesInBlocks({ request }, scope)
    ? fillFromPacks(tables, reads, scope, at, filling, pages, takenCodecs(request))
    : fillFromPostings(postings, reads, scope, at, filling, pages);
};

/** Fills the tables of the pull that are not filled yet, without stopping the fold. */
const fillTables = async (work: PullWork, start: CursorState): Promise<CursorState> => {
  let cursor = start;
  let left = pullRecordsMax;
  for (const { table, at, filling } of start.tables) {
    const { pull } = cursor;
    if (filling === null || pull?.group.includes(table) !== true) continue;
    const scope = work.scope.tables.get(table);
    if (scope === undefined) continue;
    const passed = await fillPrepared(work, scope, at, filling);
    const step = passed ?? (await fillTable(work.reads, scope, filling, work.pages, left));
    left -= step.scanned;
    cursor = {
      ...cursor,
      tables: cursor.tables.map((one) =>
        one.table === table ? { ...one, filling: step.filling } : one,
      ),
      pull: { ...pull, done: step.filling === null ? 0 : pull.done + step.scanned },
    };
    if (step.filling !== null || left <= 0 || work.pages.room() === 0) return cursor;
  }
  return cursor;
};

const isFilling = ({ tables, pull }: CursorState): boolean =>
  tables.some(({ table, filling }) => filling !== null && pull?.group.includes(table) === true);

const passOf = (cursor: CursorState, state: FoldState): FeedPass => {
  const from = new Map<TableId, number>();
  for (const { table, at } of cursor.tables)
    if (cursor.pull?.group.includes(table) === true && at < cursor.to) from.set(table, at);
  return {
    incarnation: cursor.incarnation,
    from,
    to: cursor.to,
    applied: state.n,
    asOfTo: cursor.pass >= passAsOfFrom && state.n > cursor.to,
    mayHoldLater: cursor.pass > 1,
  };
};

/**
 * Reads feed passes while no window is applied. A pass that ends while its version is still the applied
 * one closes the pull; another one follows otherwise, and from `passAsOfFrom` on the values are shown as
 * of its version, so that its end closes in any case.
 */
const catchUp = async (work: PullWork, start: CursorState): Promise<PullStep> => {
  let cursor = withOwnPlace(start);
  for (;;) {
    const state = work.source.applied.applied();
    const pass = passOf(cursor, state);
    if (pass.from.size > 0) {
      const place = cursor.pull?.place ?? null;
      const { keyed } = work.source;
      const step = await readFeed(work.reads, keyed, pass, work.scope.tables, place, work.pages);
      if (!step.done) {
        const { pull } = cursor;
        const moved = pull && step.place && { pull: { ...pull, place: step.place } };
        return { closing: false, cursor: { ...cursor, ...moved } };
      }
    }
    cursor = endPass(cursor);
    if (state.n === cursor.to || cursor.pass >= passAsOfFrom) return { cursor, closing: true };
    const receipt = await work.source.receipt(work.caller.replica, work.reads.store);
    cursor = beginPass(cursor, state, receipt);
  }
};

const progressOf = (work: PullWork, cursor: CursorState): PullAnswer['progress'] => {
  const filling = cursor.tables.find(
    (one) => one.filling !== null && cursor.pull?.group.includes(one.table) === true,
  );
  const scope = filling && work.scope.tables.get(filling.table);
  if (scope === undefined) return null;
  const done = cursor.pull?.done ?? 0;
  // Nobody counts a table that is passed on in blocks: that would cost more than to prepare it.
  const mayCount = !goesInBlocks(work, scope);
  const total = Math.max(done, work.source.tableSize(scope.tableId, mayCount));
  return { table: scope.tableName, done, total };
};

const answerOf = async (
  work: PullWork,
  { cursor, closing }: PullStep,
  rehydrate: RehydrateReason | null,
  receipt: Receipt,
): Promise<Uint8Array> => {
  const { source, request, reads, pages } = work;
  // After the commit in flight, if any: nothing that was read for this answer is newer.
  const { seen, incarnation } = await source.applied.alone(() => {
    const state = source.applied.applied();
    return Promise.resolve({ seen: seenNow(state), incarnation: state.incarnation });
  });
  const text = encodeCursor({ ...(closing ? endPull(cursor) : cursor), seen }, source.mac);
  // The page behind this one is read while this one is packed and sent.
  work.onNext(closing || rehydrate !== null ? undefined : text);
  const { sha256 } = source.crypto;
  const tail = await packTail(source.compression, request.codecs, pages.tail(sha256));
  const answer: PullAnswer = {
    cursor: text,
    closing,
    rehydrate,
    incarnation,
    to: cursor.to,
    pass: cursor.pass,
    serverTimeMs: source.clock.nowMs(),
    asOfMs: cursor.clockMs,
    receipt: source.signed(work.caller.replica, receipt),
    progress: progressOf(work, cursor),
    reads: reads.total(),
    ...(request.skip === undefined ? {} : { from: cursorName(request.cursor, sha256) }),
    ...(tail.packed === undefined ? {} : { packed: tail.packed }),
  };
  return encodeMessage('PullAnswer', answer, tail.parts);
};

/**
 * Answers one page of a download. The state of a pull is in its cursor alone: any page may be asked for
 * again, after a lost answer or a restart, by this server or another one with the same input.
 */
export const answerPull = async (
  source: PullSource,
  caller: Caller,
  request: PullRequest,
  place: CursorPlace,
  onNext: PullWork['onNext'] = () => undefined,
): Promise<Uint8Array> => {
  const { applied } = source;
  const scope = readRequestScope(
    request.scope,
    source.schema(),
    caller.replica,
    await source.lineage(caller.replica),
    source.crypto.sha256,
  );
  const group = groupOf(request, scope);
  const reads = countReads(applied.store);
  const bytes = Math.min(Math.max(request.maxBytes, pullBytesMin), messageBytesMax);
  const pages = createPageWriter(Math.max(1, bytes - answerJsonBytes(scope)));
  const work: PullWork = { source, caller, request, scope, reads, pages, onNext };
  const given =
    request.cursor === null
      ? startCursor(caller, scope, applied.applied())
      : readCursor(request.cursor, caller, source.mac);

  // What a pull fixes, its version and the receipt as of it, is read while no window is applied.
  const begun = await applied.alone(async () => {
    const state = applied.applied();
    const isTooOld = place === 'unknown' && given.seen !== undefined && request.cursor !== null;
    const reason =
      rehydrateReason(given, scope, state, source.horizon()) ?? (isTooOld ? 'horizon' : null);
    if (reason === null && given.pull !== undefined) return { cursor: given, reason };
    const receipt = await source.receipt(caller.replica, reads.store);
    const versions = reason === null ? await fillVersions(work, given, group) : new Map();
    const cursor = beginPull(given, group, scope, state, receipt, versions);
    return { cursor: reason === null ? cursor : { ...cursor, tables: given.tables }, reason };
  });
  const receiptOf = (cursor: CursorState): Receipt => {
    const { pull } = cursor;
    if (pull === undefined) throw new TidemarkError('invalid-cursor', 'the cursor has no pull');
    return pull.receipt;
  };
  if (begun.reason !== null)
    return answerOf(
      work,
      { cursor: begun.cursor, closing: false },
      begun.reason,
      receiptOf(begun.cursor),
    );
  let cursor = isFilling(begun.cursor) ? await fillTables(work, begun.cursor) : begun.cursor;
  let step: PullStep = { cursor, closing: false };
  let reason: RehydrateReason | null = null;
  if (!isFilling(cursor)) {
    step = await applied.alone(() => {
      // While tables were filled the feed may have been cut behind what the pull goes on from.
      reason = rehydrateReason(cursor, scope, applied.applied(), source.horizon());
      return reason === null ? catchUp(work, cursor) : Promise.resolve(step);
    });
    cursor = step.cursor;
  }
  return answerOf(work, step, reason, receiptOf(cursor));
};
