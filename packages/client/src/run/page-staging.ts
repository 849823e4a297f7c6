import { isLeft, TidemarkError } from '@tidemark/model';
import { decodePages, type PackedTail, type TablePage } from '@tidemark/protocol';
import type { AskedPages } from './asked-pages.js';
import { slowPageMs } from './page-size.js';
import { countStaged, type RunContext } from './run-context.js';

/** Longest name of a codec that an error repeats, in characters. */
const codecTextMax = 32;

/** Decodes the pages of an answer. Throws `malformed-message` or `newer-protocol`. */
const pagesOf = ({ ports }: RunContext, tail: Uint8Array): readonly TablePage[] => {
  const pages = decodePages(tail, ports.crypto.sha256);
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

/** Answer whose tail may be packed. */
interface TailedAnswer {
  readonly message: { readonly packed?: PackedTail };
  readonly tail: Uint8Array;
  /** Bytes that travelled. */
  readonly bytes: number;
}

/** The same answer with the pages of its tail, and its length in bytes with the tail unpacked. */
type Opened<A> = A & { readonly pages: readonly TablePage[]; readonly rawBytes: number };

/** What a request for pages says of their form: their most bytes, and how they may be packed. */
export interface PagesWanted {
  readonly maxBytes: number;
  readonly codecs?: readonly string[];
}

const wanted = ({ pageSize, speed, ports }: RunContext): PagesWanted => {
  const { compression, compress = 'auto' } = ports;
  const isWorthIt = compress === 'always' || (compress === 'auto' && speed.isWorthPacking());
  const maxBytes = pageSize.bytes;
  return compression === undefined || !isWorthIt
    ? { maxBytes }
    : { maxBytes, codecs: compression.codecs };
};

/** Codecs in which pages are taken that a server has packed already: that saves both sides more than unpacking costs. */
export const readyCodecs = ({ ports }: RunContext): { readonly ready?: readonly string[] } =>
  ports.compression === undefined || ports.compress === 'never'
    ? {}
    : { ready: ports.compression.codecs };

const open = async <A extends TailedAnswer>(context: RunContext, answer: A): Promise<Opened<A>> => {
  const { ports } = context;
  const { packed } = answer.message;
  if (packed === undefined)
    return { ...answer, pages: pagesOf(context, answer.tail), rawBytes: answer.bytes };
  const tail = await ports.compression?.unpack(packed.codec, answer.tail, packed.bytes);
  if (tail === undefined)
    throw new TidemarkError('malformed-message', 'a page does not unpack as announced', {
      codec: packed.codec.slice(0, codecTextMax),
      announced: packed.bytes,
    });
  const rawBytes = answer.bytes - answer.tail.length + tail.length;
  return { ...answer, pages: pagesOf(context, tail), rawBytes };
};

/**
 * Begins to ask for pages of the size and form that the link carries. The answer rejects as the call does; opening it
 * rejects `malformed-message` or `newer-protocol`, too.
 */
export const beginAsking = <A extends TailedAnswer>(
  context: RunContext,
  ask: (wanted: PagesWanted) => Promise<A>,
): AskedPages<Opened<A>> => {
  const { clock } = context.ports;
  const begunMs = clock.nowMs();
  const form = wanted(context);
  const came = ask(form).then((answer) => {
    const { packed } = answer.message;
    const rawBytes =
      packed === undefined ? answer.bytes : answer.bytes - answer.tail.length + packed.bytes;
    const share = rawBytes / form.maxBytes;
    context.speed.pageCame(answer.bytes, begunMs, clock.nowMs(), packed !== undefined, share);
    return answer;
  });
  let opened: Promise<Opened<A>> | undefined;
  return {
    begunMs,
    maxBytes: form.maxBytes,
    came,
    open: () => (opened ??= came.then((answer) => open(context, answer))),
  };
};

/** Waits for pages that were asked for, and learns from what comes. Rejects as the answer does. */
export const awaitPages = async <A extends { readonly rawBytes: number }>(
  { pageSize, ports, signal }: RunContext,
  { begunMs, maxBytes, open: opened }: AskedPages<A>,
): Promise<A> => {
  try {
    const answer = await opened();
    pageSize.came(answer.rawBytes, maxBytes);
    return answer;
  } catch (cause) {
    if (!(cause instanceof TidemarkError) || signal.aborted) throw cause;
    const isLate = Math.abs(ports.clock.nowMs() - begunMs) >= slowPageMs;
    if (cause.code === 'timeout' || (cause.code === 'unreachable' && isLate)) pageSize.failed();
    throw cause;
  }
};
