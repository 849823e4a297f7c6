import type { Durability, ReadCounters, ServerBatch, ServerStore } from '@tidemark/ports';
import { decodeFoldState, emptyFoldState, type FoldState } from '../fold/fold-state.js';
import { TurnQueue } from './turn-queue.js';

/**
 * Server store whose applied state is known exactly: the fold commits through it, answers read from it.
 */
export interface AppliedStore {
  /** Store for the fold: its commits take turns with `alone`. */
  readonly store: ServerStore;
  /** State of the newest committed window: exactly what is readable, outside of a commit in flight. */
  readonly applied: () => FoldState;
  /** True while a commit is in flight: reads may see it already. */
  readonly committing: () => boolean;
  /** Runs work while no window is applied. Keep it short: the fold waits. */
  readonly alone: <A>(work: () => Promise<A>) => Promise<A>;
  /** Replaces the content by a dump, or re-reads the state after a write past the fold. */
  readonly reload: (chunks?: AsyncIterable<Uint8Array>) => Promise<FoldState>;
  /** Changes with every reload, at its begin and at its end: what was read before it may be gone. */
  readonly reloads: () => number;
  readonly commitAlone: (batch: ServerBatch) => Promise<void>;
}

interface StoredState {
  readonly state: FoldState;
  /** As they are stored: a version that knew less would encode them differently. */
  readonly bytes: Uint8Array | null;
}

const readStored = async (store: ServerStore, tenant: string): Promise<StoredState> => {
  const bytes = (await store.readState()) ?? null;
  return { state: bytes === null ? emptyFoldState(tenant) : decodeFoldState(bytes), bytes };
};

/**
 * Wraps a store. Its commits reject with `input-mismatch` when somebody else changed the state. `onCommit` is
 * called after each commit, with the batch.
 */
export const openAppliedStore = async (
  inner: ServerStore,
  tenant: string,
  onCommit: (batch: ServerBatch) => void,
): Promise<AppliedStore> => {
  const turns = new TurnQueue();
  let stored = await readStored(inner, tenant);
  let inFlight = 0;
  let reloads = 0;
  const write = async (batch: ServerBatch, durability: Durability): Promise<void> => {
    await inner.commit({ ...batch, after: stored.bytes }, durability);
    stored = { state: decodeFoldState(batch.state), bytes: batch.state };
  };
  const store: ServerStore = {
    ...inner,
    commit: (batch, durability) =>
      turns.run(async () => {
        inFlight += 1;
        try {
          await write(batch, durability);
        } finally {
          inFlight -= 1;
        }
        onCommit(batch);
      }),
  };
  return {
    store,
    applied: () => stored.state,
    committing: () => inFlight > 0,
    alone: (work) => turns.run(work),
    reload: (chunks) =>
      turns.run(async () => {
        reloads += 1;
        if (chunks !== undefined) await inner.load(chunks);
        stored = await readStored(inner, tenant);
        reloads += 1;
        return stored.state;
      }),
    reloads: () => reloads,
    // Only within `alone`: it is the caller's turn already.
    commitAlone: (batch) => write(batch, 'os'),
  };
};

/** Reads of one answer: values that the store handed out for it, whoever else reads meanwhile. */
export interface CountedReads {
  readonly store: Pick<
    ServerStore,
    'getRecords' | 'scanRecords' | 'getEntries' | 'scanEntries' | 'scanOutlines' | 'getFeedSegments'
  >;
  readonly counters: () => ReadCounters;
  readonly total: () => number;
  /** Counts what was read for the answer by others. */
  readonly countRecords: (count: number) => void;
  readonly countPacks: (count: number) => void;
}

/** Counts the values that are read through it. */
export const countReads = (inner: ServerStore): CountedReads => {
  let records = 0;
  let segments = 0;
  let entries = 0;
  let packs = 0;
  return {
    counters: () => ({ records, segments, entries, packs }),
    total: () => records + segments + entries + packs,
    countRecords: (count) => {
      records += count;
    },
    countPacks: (count) => {
      packs += count;
    },
    store: {
      getRecords: async (table, ids) => {
        const found = await inner.getRecords(table, ids);
        for (const record of found) if (record !== undefined) records += 1;
        return found;
      },
      scanRecords: async (table, options) => {
        const page = await inner.scanRecords(table, options);
        records += page.records.length;
        return page;
      },
      getEntries: async (space, keys) => {
        const found = await inner.getEntries(space, keys);
        for (const value of found) if (value !== undefined) entries += 1;
        return found;
      },
      scanEntries: async (space, options) => {
        const found = await inner.scanEntries(space, options);
        entries += found.length;
        return found;
      },
      scanOutlines: async (options) => {
        const found = await inner.scanOutlines(options);
        entries += found.length;
        return found;
      },
      getFeedSegments: async (incarnation, places) => {
        const found = await inner.getFeedSegments(incarnation, places);
        for (const segment of found) if (segment !== undefined) segments += 1;
        return found;
      },
    },
  };
};
