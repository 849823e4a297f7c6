import { TidemarkError } from '@tidemark/model';
import type { RunContext } from './run-context.js';

/** Most bytes of one page. */
export const pageBytesMax = 512 * 1024;
/** Bytes of a page to which a slow link brings it down. */
export const pageBytesMin = 16 * 1024;
/** Full pages in a row that come in time before larger ones are asked for again. */
export const pagesBeforeLarger = 16;
/** Time after which a link that is lost while a page is awaited counts as too slow for it, ms. */
export const slowPageMs = 4_000;

/** Bytes of the pages that a replica asks for: what its link carries in time. */
export class PageSize {
  #bytes = pageBytesMax;
  #inTime = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** A page came; small ones say nothing of the link. */
  came(bytes: number): void {
    if (this.#bytes === pageBytesMax || bytes < this.#bytes / 2) return;
    this.#inTime += 1;
    if (this.#inTime < pagesBeforeLarger) return;
    this.#inTime = 0;
    this.#bytes = Math.min(pageBytesMax, 2 * this.#bytes);
  }

  /** A page did not come in time. */
  failed(): void {
    this.#inTime = 0;
    this.#bytes = Math.max(pageBytesMin, this.#bytes / 2);
  }
}

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
