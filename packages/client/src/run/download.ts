import { TidemarkError, type TableId } from '@tidemark/model';
import { cursorName, type PullAnswer, type TablePage } from '@tidemark/protocol';
import type { Closing, ReplicaMeta } from '../local/replica-meta.js';
import { seenVersion, tableMeta } from '../local/replica-meta.js';
import { checkNotOlder, checkOfThisLog } from './agree-on-log.js';
import { ask } from './link-holder.js';
import type { AheadPage, PulledPage } from './page-ahead.js';
import { awaitPages, beginAsking, readyCodecs, stagePages } from './page-staging.js';
import { repairIsUnderWay } from './repair-progress.js';
import type { RunContext } from './run-context.js';
import { downloadTables } from './scope-tables.js';

/** What became of a page: more follow, the image is current, or it must be repaired by difference. */
export type PageOutcome = 'page' | 'downloaded' | 'rehydrate';

/** Refuses a page older than the image. */
const checkVersion = (meta: ReplicaMeta, answer: PullAnswer): void => {
  if (answer.incarnation === meta.incarnation && answer.to < meta.version)
    throw new TidemarkError('behind', 'the server is older than the image', {
      seen: meta.version,
      answered: answer.to,
    });
};

const closingOf = (answer: PullAnswer, tables: readonly TableId[]): Closing => ({
  cursor: answer.cursor,
  incarnation: answer.incarnation,
  to: answer.to,
  asOfMs: answer.asOfMs,
  tables,
  mergedTo: answer.receipt.mergedTo,
});

/** True when a closing page changes nothing but times: then no layer is needed. */
const changesNothing = (
  meta: ReplicaMeta,
  closing: Closing,
  pages: readonly TablePage[],
): boolean =>
  meta.staging === null &&
  closing.incarnation === meta.incarnation &&
  pages.every(({ entries, blocks }) => entries.length + blocks.length === 0) &&
  closing.tables.every((id) => {
    const table = tableMeta(meta, id);
    return table.state === 'current' && !table.repair && table.mergedTo === closing.mergedTo;
  });

const close = async (
  context: RunContext,
  closing: Closing,
  pages: readonly TablePage[],
): Promise<void> => {
  const { local } = context.ports;
  const meta = local.meta();
  if (changesNothing(meta, closing, pages)) {
    const tables = { ...meta.tables };
    for (const id of closing.tables)
      tables[id] = { ...tableMeta(meta, id), at: closing.to, asOfMs: closing.asOfMs };
    await local.updateMeta({ cursor: closing.cursor, version: closing.to, tables });
    return;
  }
  if (meta.staging === null) await local.staging.begin('pull', meta.cursor);
  if (pages.length > 0) await stagePages(context, pages, { cursor: closing.cursor });
  await local.staging.flip(closing);
};

const countAnswer = (context: RunContext, answer: PullAnswer, bytes: number): void => {
  const { counters } = context;
  counters.pages += 1;
  counters.passes = Math.max(counters.passes, answer.pass);
  counters.downloadedBytes += bytes;
  counters.serverReads += answer.reads;
  if (answer.progress !== null) {
    counters.table = answer.progress.table;
    counters.done = answer.progress.done;
    counters.total = answer.progress.total;
  }
  context.moved();
};

/** Asks for the page `skip` pages behind a cursor. */
const askFrom = (context: RunContext, cursor: string | null, skip: number): AheadPage => {
  const { local, scope } = context.ports;
  const seen = seenVersion(local.meta());
  const asked = beginAsking(context, (wanted) =>
    ask(
      context.links,
      'pull',
      {
        ...{ cursor, tables: null, scope, seen, blocks: true, skip },
        ...readyCodecs(context),
        ...wanted,
      },
      context.signal,
    ),
  );
  return { cursor, skip, asked };
};

/** Whether an answer is the page at a cursor: an older server does not say, and skips none. */
const isPageAt = (
  context: RunContext,
  cursor: string | null,
  page: AheadPage,
  { from }: PullAnswer,
): boolean =>
  from === undefined
    ? page.skip === 0 && page.cursor === cursor
    : from === cursorName(cursor, context.ports.crypto.sha256);

/**
 * Whether a page that was asked for ahead is asked for again by its cursor: nobody knows it, the server is busy, or
 * what cannot be read is another page perhaps.
 */
const isMissed = ({ skip }: AheadPage, cause: unknown): boolean =>
  cause instanceof TidemarkError &&
  (cause.code === 'no-page-ahead' ||
    (skip > 0 && (cause.code === 'timeout' || cause.code === 'malformed-message')));

/** The page at a cursor: the first of those under way, or asked for now where that is another one. */
const pageAt = async (context: RunContext, cursor: string | null): Promise<PulledPage> => {
  const { ahead } = context;
  const page = ahead.take();
  if (page !== undefined) {
    try {
      const answer = await awaitPages(context, page.asked);
      if (isPageAt(context, cursor, page, answer.message)) return answer;
    } catch (cause) {
      if (!isMissed(page, cause)) throw cause;
    }
    ahead.missed();
  }
  return awaitPages(context, askFrom(context, cursor, 0).asked);
};

/** Asks for pages behind the one that came, while that one is staged: as many as the link carries meanwhile. */
const askAhead = (context: RunContext, { cursor, from }: PullAnswer): void => {
  const { ahead, speed } = context;
  const count = from === undefined || ahead.isCalm ? 1 : speed.pagesUnderWay();
  while (ahead.count < count) ahead.hold(askFrom(context, cursor, ahead.count));
};

/**
 * Refuses a closing page that speaks of another log: it would take operations from the view that nobody has
 * merged. Its cursor holds the same receipt, so the download begins again.
 */
const checkClosing = async (context: RunContext, receipt: PullAnswer['receipt']): Promise<void> => {
  try {
    await checkOfThisLog(context, receipt);
  } catch (cause) {
    await context.ports.local.staging.abandon();
    throw cause;
  }
};

const pullNext = async (context: RunContext): Promise<PageOutcome> => {
  const { local, scope, emit } = context.ports;
  // The storage failed in the middle of a flip: nothing may be staged before it is over.
  await local.staging.finish();
  const meta = local.meta();
  if (repairIsUnderWay(meta)) return 'rehydrate';
  const tables = downloadTables(scope, local.schema());
  if (meta.staging === null && tables.some(({ id }) => tableMeta(meta, id).repair)) {
    emit({ type: 'repair', reason: 'damage' });
    return 'rehydrate';
  }
  const cursor = meta.staging === null ? meta.cursor : meta.staging.cursor;
  const { message, pages, bytes, release } = await pageAt(context, cursor);
  checkNotOlder(context, message.receipt);
  if (message.rehydrate !== null) {
    emit({ type: 'repair', reason: message.rehydrate });
    if (meta.staging !== null) await local.staging.abandon();
    return 'rehydrate';
  }
  checkVersion(meta, message);
  countAnswer(context, message, bytes);
  if (message.closing) {
    await checkClosing(context, message.receipt);
    await close(
      context,
      closingOf(
        message,
        tables.map(({ id }) => id),
      ),
      pages,
    );
    release();
    return 'downloaded';
  }
  askAhead(context, message);
  context.ahead.openFirst();
  if (meta.staging === null) await local.staging.begin('pull', meta.cursor);
  await stagePages(context, pages, { cursor: message.cursor });
  // What is staged is written: nothing of the page is needed any more.
  release();
  return 'page';
};

/**
 * Asks for the next page and stages it; the closing page makes the image current. A staging that was cut
 * goes on at the page where it stopped.
 */
export const pullPage = async (context: RunContext): Promise<PageOutcome> => {
  let outcome: PageOutcome | undefined;
  try {
    outcome = await pullNext(context);
    return outcome;
  } finally {
    // What is under way goes on from a page that is not staged, or nothing follows.
    if (outcome !== 'page') context.ahead.forget();
  }
};
