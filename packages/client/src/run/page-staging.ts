import { isLeft, TidemarkError } from '@tidemark/model';
import { decodePages, type TablePage } from '@tidemark/protocol';
import { slowPageMs } from './page-size.js';
import { countStaged, type RunContext } from './run-context.js';

/** Decodes the pages of an answer. Throws `malformed-message` or `newer-protocol`. */
export const pagesOf = (context: RunContext, tail: Uint8Array): readonly TablePage[] => {
  const pages = decodePages(tail, context.ports.crypto.sha256);
  if (!isLeft(pages)) return pages.right;
  if (pages.left === 'newer-format')
    throw new TidemarkError('newer-protocol', 'a page has a newer format');
  throw new TidemarkError('malformed-message', 'a page is malformed', { problem: pages.left });
};

/** Stages pages with the position to go on from, and counts what they did. */
export const stagePages = async (
  context: RunContext,
  pages: readonly TablePage[],
  next: { readonly cursor: string | null; readonly progress?: string },
): Promise<void> => {
  const staged = await context.ports.local.staging.put(pages, next);
  for (const { table, mode } of pages) {
    const counts = staged.get(table);
    if (counts !== undefined) countStaged(context.counters, mode, new Map([[table, counts]]));
  }
};

/** Asks for pages of the size that the link carries, and learns from what comes. Rejects as `ask` does. */
export const askForPages = async <A extends { readonly bytes: number }>(
  { pageSize, ports, signal }: RunContext,
  ask: (maxBytes: number) => Promise<A>,
): Promise<A> => {
  const begunMs = ports.clock.nowMs();
  try {
    const answer = await ask(pageSize.bytes);
    pageSize.came(answer.bytes);
    return answer;
  } catch (cause) {
    if (!(cause instanceof TidemarkError) || signal.aborted) throw cause;
    const isLate = Math.abs(ports.clock.nowMs() - begunMs) >= slowPageMs;
    if (cause.code === 'timeout' || (cause.code === 'unreachable' && isLate)) pageSize.failed();
    throw cause;
  }
};
