import type { ServerStore } from '@tidemark/ports';
import type { CursorDoubt, CursorSeen, CursorState } from '@tidemark/protocol';
import { oldestLife, readLife } from '../fold/decide-life.js';
import type { FoldState } from '../fold/fold-state.js';

type Lives = Pick<ServerStore, 'getEntries' | 'scanEntries'>;

/** What a cursor that is made now notes of the server: nothing that it has shown is above. */
export const seenNow = ({ n, lives }: FoldState): CursorSeen => ({
  n,
  lives: lives.map(({ id, from }) => [id, from]),
});

/**
 * Where a cursor stands to the history of this server. `on`: the history contains what the cursor has
 * seen, or another incarnation began since, which every pull meets. `beyond`: it does not, as far as the
 * server knows now. `unknown`: the cursor cannot tell.
 */
export type CursorPlace = 'on' | 'beyond' | 'unknown';

/** Version at which a life ended on this server's line; undefined when it does not know the life. */
const lifeEnd = async (
  store: Lives,
  { n, lives }: FoldState,
  id: string,
): Promise<number | undefined> => {
  const at = lives.findIndex((one) => one.id === id);
  if (at === 0) return n;
  if (at > 0) return lives[at - 1]?.from;
  const span = await readLife(store, id);
  return span === undefined ? undefined : (span.to ?? n);
};

/** Places a cursor. State and store must be of one version: ask while no window is applied. */
export const placeCursor = async (
  store: Lives,
  state: FoldState,
  { incarnation, seen }: CursorState,
): Promise<CursorPlace> => {
  if (incarnation < state.incarnation) return 'on';
  if (incarnation > state.incarnation) return 'beyond';
  const [newest] = seen?.lives ?? [];
  if (seen === undefined || newest === undefined) return 'unknown';
  const end = await lifeEnd(store, state, newest[0]);
  if (end !== undefined) return seen.n <= end ? 'on' : 'beyond';
  const oldest = await oldestLife(store);
  // So many lives ago that it may have been forgotten: it cannot be told.
  return oldest?.forgotten === true && seen.n <= oldest.from ? 'unknown' : 'beyond';
};

/**
 * Greatest version up to which a cursor's history and this server's are certainly one: 0 when no life that
 * the cursor names is known here.
 */
const commonUpTo = async (store: Lives, state: FoldState, seen: CursorSeen): Promise<number> => {
  let endThere = seen.n;
  for (const [id, from] of seen.lives) {
    const endHere = await lifeEnd(store, state, id);
    if (endHere !== undefined) return Math.min(endHere, endThere);
    endThere = from;
  }
  return 0;
};

/**
 * Which versions of an image that was read under a cursor may mean something else here; undefined when
 * none may. After a rewind two histories used the same numbers for a while.
 */
export const doubtOf = async (
  store: Lives,
  state: FoldState,
  { incarnation, seen }: CursorState,
): Promise<CursorDoubt | undefined> => {
  if (seen === undefined) return undefined;
  const after = await commonUpTo(store, state, seen);
  return after >= seen.n ? undefined : { incarnation, after };
};
