import { TidemarkError, type Hash } from '@tidemark/model';
import { cursorName } from '@tidemark/protocol';

/** Pages of pulls whose next cursor is remembered; beyond that the oldest are forgotten, and asked for by cursor. */
export const pagesKnownMax = 1_024;
/** Calls for pages behind a cursor that are answered at once, of all replicas: the others leave room for other calls. */
export const aheadCallsMax = 64;

const unknown = (): TidemarkError =>
  new TidemarkError('no-page-ahead', 'nobody knows where that page begins');

/** One call for a page: where it stands in the download of its replica. */
export interface PageTurn {
  /**
   * Cursor from which the page begins that is `skip` pages behind `cursor`: resolves when the pages before it,
   * which were asked for earlier, have told theirs. Rejects with `no-page-ahead`.
   */
  readonly begin: (cursor: string | null, skip: number) => Promise<string | null>;
  /** Tells where the page behind this one begins; undefined where there is none. */
  readonly ends: (next: string | undefined) => void;
  /** Ends the call, whatever came of it. */
  readonly leave: () => void;
}

/** Remembers where pages that replicas are getting end, so that further ones can be asked for ahead. */
export interface PagesAhead {
  /** Enters a call; those of one replica are placed in the order in which they enter. */
  readonly enter: (replica: string) => PageTurn;
}

const settling = <A>(): { readonly promise: Promise<A>; readonly settle: (value: A) => void } => {
  let settle: (value: A) => void = () => undefined;
  const promise = new Promise<A>((resolve) => {
    settle = resolve;
  });
  return { promise, settle };
};

/** Starts with no page known. It is a memory of this process: a page that it does not know is refused. */
export const createPagesAhead = (hash: Hash): PagesAhead => {
  /** Cursor behind each page, by replica and the name of its own. */
  const nexts = new Map<string, Promise<string | undefined>>();
  let aheadCalls = 0;
  /** Resolves when all calls of a replica that entered so far are placed. */
  const placed = new Map<string, Promise<void>>();

  const remember = (key: string, next: Promise<string | undefined>): void => {
    nexts.delete(key);
    nexts.set(key, next);
    const [oldest] = nexts.keys();
    if (nexts.size > pagesKnownMax && oldest !== undefined) nexts.delete(oldest);
  };

  return {
    enter: (replica) => {
      const keyOf = (cursor: string | null): string => `${replica}/${cursorName(cursor, hash)}`;
      const before = placed.get(replica);
      const own = settling<void>();
      const next = settling<string | undefined>();
      const all = before === undefined ? own.promise : before.then(() => own.promise);
      placed.set(replica, all);
      let isAhead = false;
      return {
        begin: async (cursor, skip) => {
          if (skip > 0) {
            if (aheadCalls >= aheadCallsMax) throw unknown();
            aheadCalls += 1;
            isAhead = true;
            await before;
          }
          let at = cursor;
          for (let i = 0; i < skip; i += 1) {
            const behind = await nexts.get(keyOf(at));
            if (behind === undefined) throw unknown();
            at = behind;
          }
          remember(keyOf(at), next.promise);
          own.settle();
          return at;
        },
        ends: next.settle,
        leave: () => {
          if (isAhead) aheadCalls -= 1;
          next.settle(undefined);
          own.settle();
          if (placed.get(replica) === all) placed.delete(replica);
        },
      };
    },
  };
};
