import { TidemarkError, userTableIdMax, utf8Length, type RecordId } from '@tidemark/model';
import {
  compareIdsMax,
  compareRangesMax,
  fingerprintOf,
  runRepairsMax,
  type CompareAnswer,
  type TablePage,
  type RangeFingerprint,
} from '@tidemark/protocol';
import type { HeldRow } from '../local/local-replica.js';
import { seenVersion } from '../local/replica-meta.js';
import { ask } from './link-holder.js';
import { awaitPages, beginAsking, stagePages } from './page-staging.js';
import { progressOf, repairIsUnderWay, type RepairProgress } from './repair-progress.js';
import type { RunContext } from './run-context.js';
import { downloadTables, type ScopeTable } from './scope-tables.js';

/** Most bytes of ids, as JSON, in one comparison: the JSON part of a message stays within its bound. */
export const compareJsonBytesMax = 160 * 1024;

const idBytes = (id: string | null): number =>
  id === null ? 4 : utf8Length(JSON.stringify(id)) + 32;

/** First rows that fit into one comparison, and the id after which the next rows begin (null: none). */
const fitting = (
  rows: readonly HeldRow[],
  full: boolean,
): { readonly rows: readonly HeldRow[]; readonly upTo: RecordId | null } => {
  let bytes = 0;
  let count = 0;
  for (const { id } of rows) {
    bytes += idBytes(id);
    if (bytes > compareJsonBytesMax) break;
    count += 1;
  }
  const kept = rows.slice(0, count);
  const all = count === rows.length && !full;
  return { rows: kept, upTo: all ? null : (kept[kept.length - 1]?.id ?? null) };
};

/** Ranges of the image after `after`, as many as one comparison holds; `next` null at the end. */
const rangesAfter = async (
  context: RunContext,
  table: ScopeTable,
  after: RecordId | null,
): Promise<{ readonly ranges: readonly RangeFingerprint[]; readonly next: RecordId | null }> => {
  const { local, crypto } = context.ports;
  const { scopeHash } = local.meta();
  const ranges: RangeFingerprint[] = [];
  let from = after;
  let bytes = 0;
  while (ranges.length < compareRangesMax && bytes < compareJsonBytesMax) {
    const held = await local.heldRows(table.id, from, null, compareIdsMax);
    const { rows, upTo } = fitting(held, held.length === compareIdsMax);
    ranges.push({
      after: from,
      upTo,
      count: rows.length,
      fingerprint: fingerprintOf(scopeHash, rows, crypto.sha256),
    });
    bytes += idBytes(from) + idBytes(upTo) + 64;
    if (upTo === null) return { ranges, next: null };
    from = upTo;
  }
  return { ranges, next: from };
};

const compare = async (
  context: RunContext,
  table: ScopeTable,
  part: {
    readonly ranges: readonly RangeFingerprint[];
    readonly held: {
      readonly after: RecordId | null;
      readonly upTo: RecordId | null;
      readonly rows: readonly HeldRow[];
    } | null;
  },
): Promise<{ readonly answer: CompareAnswer; readonly pages: readonly TablePage[] }> => {
  const { local, scope } = context.ports;
  const meta = local.meta();
  const asked = beginAsking(context, (wanted) =>
    ask(
      context.links,
      'compare',
      {
        cursor: meta.staging?.cursor ?? null,
        image: meta.cursor,
        table: table.name,
        scope,
        seen: seenVersion(meta),
        ranges: part.ranges,
        held: part.held && {
          ...part.held,
          rows: part.held.rows.map(({ id, version }) => [id, version.incarnation, version.n]),
        },
        ...wanted,
      },
      context.signal,
    ),
  );
  const { message, pages, bytes } = await awaitPages(context, asked);
  const { counters } = context;
  counters.pages += 1;
  counters.downloadedBytes += bytes;
  counters.serverReads += message.reads;
  counters.table = table.name;
  context.moved();
  return { answer: message, pages };
};

/** Moves the difference of one range: what the replica lacks comes, what it has too much goes. */
const moveDifference = async (
  context: RunContext,
  table: ScopeTable,
  range: Pick<RangeFingerprint, 'after' | 'upTo'>,
): Promise<void> => {
  const { local } = context.ports;
  let { after } = range;
  for (;;) {
    const held = await local.heldRows(table.id, after, range.upTo, compareIdsMax);
    const { rows, upTo } = fitting(held, held.length === compareIdsMax);
    const end = upTo ?? range.upTo;
    const { answer, pages } = await compare(context, table, {
      ranges: [],
      held: { after, upTo: end, rows },
    });
    await stagePages(context, pages, { cursor: answer.cursor });
    const next: RecordId | null = answer.next ?? (end === range.upTo ? null : end);
    if (next === null) return;
    if (next === after)
      throw new TidemarkError('malformed-message', 'a comparison does not move forward');
    after = next;
  }
};

const repairTable = async (
  context: RunContext,
  tables: readonly ScopeTable[],
  at: number,
  from: RecordId | null,
): Promise<void> => {
  const table = tables[at];
  if (table === undefined) return;
  let after = from;
  for (;;) {
    const { ranges, next } = await rangesAfter(context, table, after);
    const { answer } = await compare(context, table, { ranges, held: null });
    // The cursor of the first answer marks the version from which the feed continues.
    await stagePages(context, [], { cursor: answer.cursor });
    for (const [i, range] of ranges.entries())
      if (answer.equal[i] !== true) await moveDifference(context, table, range);
    const progress: RepairProgress =
      next === null
        ? { done: false, table: at + 1, after: null }
        : { done: false, table: at, after: next };
    await stagePages(context, [], { cursor: answer.cursor, progress: JSON.stringify(progress) });
    if (next === null) return;
    after = next;
  }
};

/** Evicts what the image holds of tables that left the scope. */
const dropTables = async (context: RunContext, tables: readonly ScopeTable[]): Promise<void> => {
  const { local } = context.ports;
  const kept = new Set(tables.map(({ id }) => id));
  const left = Object.keys(local.meta().tables)
    .map(Number)
    .filter((id) => id <= userTableIdMax && !kept.has(id));
  for (const table of left) {
    let after: RecordId | null = null;
    for (;;) {
      const rows: readonly HeldRow[] = await local.heldRows(table, after, null, compareIdsMax);
      const entries = rows.map(({ id }) => ({ kind: 'evict', id }) as const);
      if (entries.length > 0)
        await stagePages(context, [{ table, mode: 'repair', entries, blocks: [] }], {
          cursor: local.meta().staging?.cursor ?? null,
        });
      after = rows[rows.length - 1]?.id ?? null;
      if (rows.length < compareIdsMax) break;
    }
  }
};

const compareTables = async (context: RunContext, tables: readonly ScopeTable[]): Promise<void> => {
  const { local } = context.ports;
  const { staging } = local.meta();
  if (staging !== null && !repairIsUnderWay(local.meta())) await local.staging.abandon();
  if (local.meta().staging === null) await local.staging.begin('repair', null);
  const { table, after } = progressOf(local.meta());
  for (let at = table; at < tables.length; at += 1)
    await repairTable(context, tables, at, at === table ? after : null);
};

/**
 * Repairs the image by difference: compares ranges of every table with the server and moves what differs
 * into a staged layer. A download from the version where it began follows, and flips it.
 */
export const repair = async (context: RunContext): Promise<void> => {
  const { local, scope, emit } = context.ports;
  const tables = downloadTables(scope, local.schema());
  for (let begun = 1; ; begun += 1) {
    try {
      await compareTables(context, tables);
      break;
    } catch (cause) {
      if (!(cause instanceof TidemarkError) || cause.recovery !== 'rehydrate') throw cause;
      if (begun >= runRepairsMax) throw cause;
      // The server does not know the cursor any more: the comparison begins again.
      emit({ type: 'repair', reason: 'cursor' });
      await local.staging.abandon();
    }
  }
  await dropTables(context, tables);
  await stagePages(context, [], {
    cursor: local.meta().staging?.cursor ?? null,
    progress: JSON.stringify({ done: true, table: tables.length, after: null }),
  });
};
