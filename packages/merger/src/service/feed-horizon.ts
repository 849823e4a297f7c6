import { utf8Decode } from '@tidemark/model';
import type { AppliedStore } from './applied-store.js';
import { horizonKey, markKey, putNote, readNote } from './notes.js';
import type { Horizon } from './pull-cursor.js';
import { encodeFoldState } from '../fold/fold-state.js';

/** How much of the feed is kept: it is cut where it exceeds either. */
export interface HorizonLimits {
  readonly days: number;
  readonly bytes: number;
}

/** Default limits: 30 days, 1 GB. */
export const horizonDefault: HorizonLimits = { days: 30, bytes: 1024 ** 3 };
const dayMs = 86_400_000;
/** Marks that are kept between the horizon and now, about: the feed is cut in steps of one mark. */
const marksPerHorizon = 64;
const marksPage = 256;

/** Mark of the feed: the server time (ms) at which it reached a version. */
interface Mark {
  readonly incarnation: number;
  readonly n: number;
  readonly atMs: number;
}

/** Head of the feed: what was cut, and when to cut next. */
export interface FeedHorizon {
  readonly horizon: () => Horizon;
  /** Marks and cuts as needed: call after windows. Resolves with true when something was cut. */
  readonly advance: () => Promise<boolean>;
}

/**
 * Opens the horizon of a store.
 *
 * Cutting the feed changes no merge: no decision reads it. So servers of one input may cut at different
 * versions and still agree; tombstones stay, since a merge meets them.
 */
export const openFeedHorizon = async (
  applied: AppliedStore,
  limits: HorizonLimits,
): Promise<FeedHorizon> => {
  const { store } = applied;
  let horizon = (await readNote<Horizon>(store, horizonKey)) ?? { incarnation: 0, n: 0 };
  const marks: Mark[] = [];
  for (let gt = 'mark/'; ;) {
    const page = await store.scanEntries('sync-logs', { gt, lt: 'mark0', limit: marksPage });
    for (const { value } of page) marks.push(JSON.parse(utf8Decode(value)) as Mark);
    const last = page[page.length - 1];
    if (last === undefined) break;
    gt = last.key;
  }
  let markedBytes = (await store.feedExtent()).bytes;

  const mark = async (bytes: number): Promise<void> => {
    const { incarnation, n, now } = applied.applied();
    const last = marks[marks.length - 1];
    if (last !== undefined && last.incarnation === incarnation && last.n >= n) return;
    const grown = bytes - markedBytes > limits.bytes / marksPerHorizon;
    const aged = last === undefined || now - last.atMs > (limits.days * dayMs) / marksPerHorizon;
    if (!grown && !aged) return;
    const one: Mark = { incarnation, n, atMs: now };
    await putNote(store, markKey(incarnation, n), one);
    marks.push(one);
    markedBytes = bytes;
  };

  const cutTo = async ({ incarnation, n }: Mark): Promise<void> => {
    // The note first: a cursor must never be continued over a feed that is half gone.
    horizon = { incarnation, n };
    await putNote(store, horizonKey, horizon);
    await applied.alone(() =>
      applied.commitAlone({
        state: encodeFoldState(applied.applied()),
        records: [],
        prune: [],
        feed: [],
        ledger: [],
        entries: [],
        cutFeed: { incarnation, n },
      }),
    );
  };

  return {
    horizon: () => horizon,
    advance: async () => {
      const { bytes } = await store.feedExtent();
      await mark(bytes);
      const { now } = applied.applied();
      let isCut = false;
      while (marks.length > 1) {
        const oldest = marks[0] as Mark;
        const isOld = now - oldest.atMs > limits.days * dayMs;
        const isLarge = (await store.feedExtent()).bytes > limits.bytes;
        if (!isOld && !isLarge) break;
        await cutTo(oldest);
        await putNote(store, markKey(oldest.incarnation, oldest.n), null);
        marks.shift();
        isCut = true;
      }
      if (isCut) markedBytes = Math.min(markedBytes, (await store.feedExtent()).bytes);
      return isCut;
    },
  };
};
