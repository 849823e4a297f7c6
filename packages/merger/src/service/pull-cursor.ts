import { TidemarkError, type Receipt, type TableId } from '@tidemark/model';
import type { Caller } from '@tidemark/ports';
import type { CursorPull, CursorState, Mac } from '@tidemark/protocol';
import type { FoldState } from '../fold/fold-state.js';
import { knownCursor } from './known-cursors.js';
import type { RequestScope } from './request-scope.js';

/** Why a cursor can only be continued by a repair. */
export type RehydrateReason = 'incarnation' | 'horizon' | 'scope';

/** Versions at or before `n` have left the feed of the incarnation. */
export interface Horizon {
  readonly incarnation: number;
  readonly n: number;
}

/** Reads a cursor; every text that this server did not make for this caller is `invalid-cursor`. */
export const readCursor = (text: string, caller: Caller, mac: Mac): CursorState => {
  const decoded = knownCursor(text, mac);
  if (
    decoded._tag === 'Left' ||
    decoded.right.replica !== caller.replica ||
    decoded.right.user !== caller.user
  )
    throw new TidemarkError('invalid-cursor', 'the cursor was not made for this replica');
  return decoded.right;
};

/** Cursor of a replica that holds nothing: every table is to be filled. */
export const startCursor = (
  caller: Caller,
  scope: RequestScope,
  state: FoldState,
): CursorState => ({
  replica: caller.replica,
  user: caller.user,
  incarnation: state.incarnation,
  tables: [...scope.tables.keys()].map((table) => ({ table, at: 0, filling: '' })),
  scopeHash: scope.hash,
  customizationVersion: state.customizationVersion,
  principalVersion: 0,
  clockMs: state.now,
  utcOffsetMinutes: 0,
  pass: 0,
  to: 0,
  feed: null,
});

/** Says why a cursor cannot be continued, or null when it can. */
export const rehydrateReason = (
  cursor: CursorState,
  scope: RequestScope,
  state: FoldState,
  horizon: Horizon,
): RehydrateReason | null => {
  if (cursor.incarnation !== state.incarnation || cursor.to > state.n) return 'incarnation';
  if (cursor.scopeHash !== scope.hash) return 'scope';
  const behind = (at: number): boolean =>
    horizon.incarnation === state.incarnation && at < horizon.n;
  const reads = cursor.tables.filter(
    ({ table, filling }) =>
      filling === null &&
      scope.tables.has(table) &&
      (cursor.pull === undefined || cursor.pull.group.includes(table)),
  );
  if (reads.some(({ at }) => behind(at))) return 'horizon';
  return cursor.pull !== undefined && cursor.pass > 0 && behind(oldestOf(cursor))
    ? 'horizon'
    : null;
};

const oldestOf = (cursor: CursorState): number => {
  let oldest = cursor.to;
  for (const { table, at } of cursor.tables)
    if (cursor.pull?.group.includes(table) === true && at < oldest) oldest = at;
  return oldest;
};

/**
 * Begins a pull: fixes its tables and, for tables to be filled, the version that the fill starts from: that of
 * `fillFrom`, else the newest. A fill from an older version counts as the first pass, and the next one brings
 * the rest: of what a fill showed it may hold some that came and went since.
 */
export const beginPull = (
  cursor: CursorState,
  group: readonly TableId[],
  scope: RequestScope,
  state: FoldState,
  receipt: Receipt,
  fillFrom: ReadonlyMap<TableId, number>,
): CursorState => {
  const known = new Set(cursor.tables.map(({ table }) => table));
  const added = [...scope.tables.keys()]
    .filter((table) => !known.has(table))
    .map((table) => ({ table, at: 0, filling: '' }));
  return {
    ...cursor,
    tables: [...cursor.tables, ...added]
      .filter(({ table }) => scope.tables.has(table))
      .sort((a, b) => a.table - b.table)
      .map((one) =>
        one.filling === '' && group.includes(one.table)
          ? { ...one, at: fillFrom.get(one.table) ?? state.n }
          : one,
      ),
    customizationVersion: state.customizationVersion,
    clockMs: state.now,
    pass: [...fillFrom.values()].some((n) => n < state.n) ? 2 : 1,
    to: state.n,
    feed: null,
    pull: { group, receipt, done: 0, after: null },
  };
};

/** Ends a pass: the tables of the pull are current to `to`. */
export const endPass = (cursor: CursorState): CursorState => ({
  ...cursor,
  tables: cursor.tables.map((one) =>
    cursor.pull?.group.includes(one.table) === true ? { ...one, at: cursor.to } : one,
  ),
  feed: null,
  ...(cursor.pull === undefined ? {} : { pull: atStart(cursor.pull) }),
});

/** A pull whose pass has read nothing. */
const atStart = ({ place: _place, ...pull }: CursorPull): CursorPull => ({ ...pull, after: null });

/**
 * A cursor whose place means the same to every server: where an earlier program noted a place of its own, the
 * pass begins again, for a replica that may hold some of it.
 */
export const withOwnPlace = (cursor: CursorState): CursorState => {
  const { pull } = cursor;
  if (pull === undefined || (cursor.feed === null && pull.after === null)) return cursor;
  return { ...cursor, feed: null, pass: Math.max(2, cursor.pass), pull: atStart(pull) };
};

/** Begins a catch-up pass to what is applied now. */
export const beginPass = (
  cursor: CursorState,
  state: FoldState,
  receipt: Receipt,
): CursorState => ({
  ...cursor,
  clockMs: state.now,
  pass: cursor.pass + 1,
  to: state.n,
  feed: null,
  ...(cursor.pull === undefined ? {} : { pull: { ...atStart(cursor.pull), receipt } }),
});

/** Ends a pull. */
export const endPull = (cursor: CursorState): CursorState => {
  const { pull: _pull, doubt: _doubt, ...rest } = cursor;
  return { ...rest, pass: 0, to: 0, feed: null };
};
