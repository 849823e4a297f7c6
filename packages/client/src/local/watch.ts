import type { SchemaTable } from '@tidemark/model';
import type { AbortSignalLike } from '@tidemark/ports';
import type { LocalChange, Query, RecordView } from './local-replica.js';
import { planQuery, type QueryPlan } from './query-plan.js';
import { recordView } from './record-view.js';
import type { ReplicaCore } from './replica-core.js';
import { consistentRead, visibleRows, type VisibleRow } from './row-reader.js';
import { runQuery } from './run-query.js';

/** Records that are mended in a result one by one; beyond that the query runs again. */
const patchesMax = 32;

/**
 * Puts changed records into a result where that is exact: `undefined` when the query must run again,
 * because a record beyond the limit may have to come in.
 */
export const patchResult = (
  plan: QueryPlan,
  result: readonly VisibleRow[],
  changed: readonly { readonly id: string; readonly row: VisibleRow['row'] | undefined }[],
): readonly VisibleRow[] | undefined => {
  if (plan.offset > 0) return undefined;
  const { limit, compare } = plan;
  const full = limit !== undefined && result.length >= limit;
  const last = result.at(-1);
  const ids = new Set(changed.map(({ id }) => id));
  const rest = result.filter(({ id }) => !ids.has(id));
  for (const { id, row } of changed) {
    const next = row === undefined ? undefined : { id, row };
    if (next !== undefined && plan.matches(next)) rest.push(next);
  }
  rest.sort(compare);
  if (!full) return limit === undefined ? rest : rest.slice(0, limit);
  // Beyond the last row of a full result nothing is known.
  const known = rest.filter((row) => last !== undefined && compare(row, last) <= 0);
  return known.length >= limit ? known.slice(0, limit) : undefined;
};

/** One watched query: the newest result, and what has changed since. */
class WatchedQuery {
  readonly #core: ReplicaCore;
  readonly #table: SchemaTable;
  readonly #query: Query;
  readonly #stopListening: () => void;
  readonly #forget: () => void;
  #rows: readonly VisibleRow[] | undefined;
  /** Ids that changed since the newest result; `all` when anything may have. */
  #dirty: Set<string> | 'all' | null = 'all';
  /** Counts changes of the table. */
  #changes = 0;
  #wake: (() => void) | undefined;
  #stopped = false;

  constructor(core: ReplicaCore, table: SchemaTable, query: Query) {
    this.#core = core;
    this.#table = table;
    this.#query = query;
    this.#plan();
    this.#stopListening = core.listen((change) => this.#hear(change));
    this.#forget = core.onClose(() => this.stop());
  }

  #plan(): QueryPlan {
    const table = this.#core.schema.tablesById.get(this.#table.id) ?? this.#table;
    return planQuery(table, this.#core.indexesOf(table), this.#query);
  }

  #hear({ tables, kind }: LocalChange): void {
    const ids = tables.get(this.#table.id);
    if (ids === undefined) return;
    this.#changes += 1;
    if (ids === null || kind !== 'edit' || this.#dirty === 'all') this.#dirty = 'all';
    else {
      const dirty = this.#dirty ?? new Set<string>();
      for (const id of ids) dirty.add(id);
      this.#dirty = dirty.size > patchesMax ? 'all' : dirty;
    }
    this.#wake?.();
  }

  /** Resolves with the next result that differs in time, `undefined` when stopped. */
  async next(): Promise<readonly RecordView[] | undefined> {
    while (this.#dirty === null && !this.#stopped)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    if (this.#stopped) return undefined;
    const plan = this.#plan();
    const rows = (await this.#patched(plan)) ?? (await this.#run());
    this.#rows = rows;
    if (this.#isStopped()) return undefined;
    return rows.map(({ id, row }) => recordView(this.#table, id, row.fields));
  }

  #isStopped(): boolean {
    return this.#stopped;
  }

  async #run(): Promise<readonly VisibleRow[]> {
    return consistentRead(this.#core, this.#table.id, async () => {
      // What changes from here on is either in the result or makes the read start again.
      this.#dirty = null;
      try {
        return await runQuery(this.#core, this.#table, this.#plan());
      } catch (cause) {
        this.#dirty = 'all';
        throw cause;
      }
    });
  }

  async #patched(plan: QueryPlan): Promise<readonly VisibleRow[] | undefined> {
    const dirty = this.#dirty;
    const result = this.#rows;
    if (dirty === null || dirty === 'all' || result === undefined) return undefined;
    const ids = [...dirty];
    const changes = this.#changes;
    const rows = await consistentRead(this.#core, this.#table.id, () => {
      this.#dirty = null;
      return visibleRows(this.#core, this.#table.id, ids);
    });
    // A flip or an edit in between: its records may not be among the rows just read.
    if (this.#changes !== changes) {
      this.#dirty = 'all';
      return undefined;
    }
    return patchResult(
      plan,
      result,
      ids.map((id, i) => ({ id, row: rows[i] })),
    );
  }

  stop(): void {
    this.#stopped = true;
    this.#stopListening();
    this.#forget();
    this.#wake?.();
  }
}

/** Watches a query as an async iterable; each iteration is a watch of its own. */
export const watchIterable = (
  core: ReplicaCore,
  table: SchemaTable,
  query: Query,
  signal: AbortSignalLike | undefined,
): AsyncIterable<readonly RecordView[]> => ({
  [Symbol.asyncIterator]: () => {
    const watched = new WatchedQuery(core, table, query);
    const stop = (): void => {
      watched.stop();
      signal?.removeEventListener('abort', stop);
    };
    signal?.addEventListener('abort', stop);
    if (signal?.aborted === true) stop();
    return {
      next: async () => {
        const value = await watched.next();
        return value === undefined ? { done: true, value: undefined } : { done: false, value };
      },
      return: () => {
        stop();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  },
});

/** Watches a query with a callback; returns the way to stop. */
export const watchCallback = (
  core: ReplicaCore,
  table: SchemaTable,
  query: Query,
  onResult: (result: readonly RecordView[]) => void | Promise<void>,
  onError: ((error: unknown) => void) | undefined,
): (() => void) => {
  const watched = new WatchedQuery(core, table, query);
  const loop = async (): Promise<void> => {
    for (;;) {
      const result = await watched.next();
      if (result === undefined) return;
      // One that works on a result may fail later: without a listener that would end the process.
      await onResult(result);
    }
  };
  loop().catch((error: unknown) => {
    watched.stop();
    onError?.(error);
  });
  return () => watched.stop();
};
