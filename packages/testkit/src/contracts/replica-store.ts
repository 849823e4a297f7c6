import { createHash } from 'node:crypto';
import {
  emptyHead,
  isLeft,
  nextHead,
  openTransaction,
  storeTransaction,
  utf8Encode,
} from '@tidemark/model';
import type { IndexEntry, LogEntry, Marker, ReplicaStore } from '@tidemark/ports';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  applyStep,
  byUtf8,
  expectEqual,
  indexPut,
  LayerModel,
  layerSteps,
  put,
  row,
} from './replica-layers.js';

/** One store under test, which can be closed and opened again on the same data. */
export interface ReplicaStoreHarness {
  /** Opens the store; at most one is open at a time. */
  readonly open: () => Promise<{ readonly store: ReplicaStore; readonly marker: Marker }>;
  /** Removes what the harness made. The store is closed. */
  readonly dispose: () => Promise<void>;
}

const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

/** Builds log entries that continue a chain: `counts` gives the operations of each transaction. */
export const chainedEntries = (
  from: { readonly lastIndex: number; readonly head: Uint8Array },
  counts: readonly number[],
  payloadBytes = 100,
): readonly LogEntry[] => {
  const entries: LogEntry[] = [];
  let index = from.lastIndex + 1;
  let head = from.head;
  for (const opCount of counts) {
    const payload = utf8Encode(`${index}`.padEnd(payloadBytes, '.'));
    const bytes = storeTransaction(opCount, new Uint8Array(16).fill(index % 251), payload);
    const opened = openTransaction(bytes, sha256);
    if (isLeft(opened)) throw new Error('the test built a malformed transaction');
    head = nextHead(head, opened.right, sha256);
    entries.push({ index, opCount, head, bytes });
    index += opCount;
  }
  return entries;
};

const start = { lastIndex: 0, head: emptyHead };
const all = { gte: new Uint8Array(0), lt: new Uint8Array([255, 255, 255]) };
interface Context {
  harness: ReplicaStoreHarness;
  store: ReplicaStore;
  marker: Marker;
  reopen: () => Promise<void>;
}

const logContract = (context: Context): void => {
  it('[STO-10] keeps appended transactions in order, and their end, over a reopening', async () => {
    const entries = chainedEntries(start, [1, 3, 1, 2]);
    await context.store.write({ append: entries.slice(0, 2) }, 'os');
    await context.store.write({ append: entries.slice(2) }, 'disk');
    await context.reopen();
    expect(context.store.damage).toEqual([]);
    expect(context.store.log.end()).toEqual({ lastIndex: 7, head: entries[3]?.head });
    expect(await context.store.log.read(1, 1_000_000)).toEqual(entries);
  });

  it('[STO-11] reads from the transaction that holds an operation, bounded by bytes', async () => {
    const entries = chainedEntries(start, [1, 3, 1, 2]);
    await context.store.write({ append: entries }, 'os');
    const { log } = context.store;
    expect(await log.read(3, 1_000_000)).toEqual(entries.slice(1));
    expect(await log.read(3, 1)).toEqual(entries.slice(1, 2));
    expect(await log.read(2, 2 * (entries[1]?.bytes.length ?? 0))).toEqual(entries.slice(1, 3));
    expect(await log.read(8, 1_000_000)).toEqual([]);
  });

  it('[STO-12] trims whole transactions and still verifies the chain of the rest', async () => {
    const entries = chainedEntries(start, [1, 3, 1, 2]);
    await context.store.write({ append: entries }, 'os');
    const base = (): unknown => context.store.log.base();
    expect(base()).toEqual({ lastIndex: 0, head: new Uint8Array(32) });
    await context.store.write({ trimLogTo: 3 }, 'os');
    expect(context.store.log.firstIndex()).toBe(2);
    expect(base()).toEqual({ lastIndex: 1, head: entries[0]?.head });
    await context.store.write({ trimLogTo: 4 }, 'os');
    expect(context.store.log.firstIndex()).toBe(5);
    await context.reopen();
    expect(context.store.damage).toEqual([]);
    expect(context.store.log.firstIndex()).toBe(5);
    expect(base()).toEqual({ lastIndex: 4, head: entries[1]?.head });
    expect(await context.store.log.read(1, 1_000_000)).toEqual(entries.slice(2));
    await context.store.write({ trimLogTo: 7 }, 'os');
    await context.reopen();
    expect(context.store.log.firstIndex()).toBe(8);
    const end = context.store.log.end();
    expect(end).toEqual({ lastIndex: 7, head: entries[3]?.head });
    await context.store.write({ append: chainedEntries(end, [1]) }, 'os');
    await context.reopen();
    expect(context.store.damage).toEqual([]);
    expect(context.store.log.end().lastIndex).toBe(8);
  });

  it('[STO-13] cuts the tail and appends other transactions in one batch', async () => {
    const entries = chainedEntries(start, [1, 3, 1, 2]);
    await context.store.write({ append: entries }, 'os');
    const kept = { lastIndex: 4, head: entries[1]?.head ?? emptyHead };
    const others = chainedEntries(kept, [2, 2], 40);
    await context.store.write({ cutLogFrom: 5, append: others }, 'os');
    await context.reopen();
    expect(context.store.damage).toEqual([]);
    expect(await context.store.log.read(1, 1_000_000)).toEqual([...entries.slice(0, 2), ...others]);
    await context.store.write({ cutLogFrom: 1 }, 'os');
    expect(context.store.log.end()).toEqual(start);
  });

  it('[STO-14] refuses an append that does not continue the log, and stays as it was', async () => {
    const entries = chainedEntries(start, [1, 1, 1]);
    await expect(context.store.write({ append: entries.slice(1) }, 'os')).rejects.toThrow(
      'does not continue',
    );
    await context.store.write({ append: entries }, 'os');
    expect(context.store.log.end().lastIndex).toBe(3);
  });

  it('[STO-15] keeps the order of concurrent writers, at both durabilities', async () => {
    const entries = chainedEntries(
      start,
      Array.from({ length: 60 }, () => 1),
    );
    await Promise.all(
      entries.map((entry, at) =>
        context.store.write(
          { append: [entry], ...(at === 40 ? { trimLogTo: 10 } : {}) },
          at % 3 === 0 ? 'disk' : 'os',
        ),
      ),
    );
    await context.reopen();
    expect(context.store.damage).toEqual([]);
    expect(await context.store.log.read(1, 1_000_000)).toEqual(entries.slice(10));
  });
};

const stateContract = (context: Context): void => {
  it('[STO-16] replaces the state as a whole, together with the rest of its batch', async () => {
    const { store } = context;
    expect(await store.readState()).toBeUndefined();
    await store.write(
      {
        state: row('one'),
        puts: [put('image', 1, 1, 'a', 'A')],
        notes: [{ key: 'n', value: row('n') }],
      },
      'disk',
    );
    await context.reopen();
    expect(await context.store.readState()).toEqual(row('one'));
    expect(await context.store.getRows('image', 1, ['a'], [1])).toEqual([row('A')]);
    expect(await context.store.readNote('n')).toEqual(row('n'));
  });

  it('[STO-17] applies nothing of a batch that is refused', async () => {
    const { store } = context;
    const batch = {
      state: row('bad'),
      append: chainedEntries(start, [1]),
      puts: [put('image', 1, 1, 'a', 'A'), { ...put('view', 1, 1, 'b', 'B'), table: -1 }],
    };
    await expect(store.write(batch, 'os')).rejects.toThrow();
    expect(await store.readState()).toBeUndefined();
    expect(store.log.end().lastIndex).toBe(0);
    expect(await store.getRows('image', 1, ['a'], [1])).toEqual([undefined]);
    await store.write({ append: chainedEntries(start, [1]) }, 'os');
    expect(store.log.end().lastIndex).toBe(1);
  });

  it('[STO-18] scans notes by prefix in both directions, within the limit', async () => {
    const notes = ['run/1', 'run/2', 'run/3', 'rum', 'run', 'ruo'].map((key) => ({
      key,
      value: row(key),
    }));
    await context.store.write({ notes }, 'os');
    const keys = async (limit: number, reverse: boolean): Promise<readonly string[]> =>
      (await context.store.scanNotes('run/', limit, reverse)).map(({ key }) => key);
    expect(await keys(10, false)).toEqual(['run/1', 'run/2', 'run/3']);
    expect(await keys(2, true)).toEqual(['run/3', 'run/2']);
    await context.store.write({ notes: [{ key: 'run/2', value: null }] }, 'os');
    expect(await keys(10, false)).toEqual(['run/1', 'run/3']);
    expect(await context.store.readNote('run/2')).toBeUndefined();
  });

  it('[STO-19] clears everything, and serves as a new store', async () => {
    const entries = chainedEntries(start, [1, 1]);
    await context.store.write(
      {
        state: row('s'),
        append: entries,
        puts: [put('image', 1, 1, 'a', 'A'), indexPut(1, [1], 'a', true)],
      },
      'os',
    );
    await context.store.write({ trimLogTo: 1, notes: [{ key: 'n', value: row('n') }] }, 'os');
    await context.store.clear();
    for (const round of ['before', 'after'] as const) {
      expect(await context.store.readState(), round).toBeUndefined();
      expect(await context.store.getRows('image', 1, ['a'], [1])).toEqual([undefined]);
      expect(await context.store.scanIndex(1, 7, all, { layers: [1], limit: 9 })).toEqual([]);
      expect(await context.store.scanNotes('', 9)).toEqual([]);
      expect(context.store.log.end()).toEqual(start);
      expect(context.store.log.firstIndex()).toBe(1);
      expect(context.store.damage).toEqual([]);
      if (round === 'before') await context.reopen();
    }
    await context.store.write({ append: entries }, 'os');
    expect(context.store.log.end().lastIndex).toBe(2);
  });

  it('[STO-20] syncs what was written, and refuses calls after it was closed', async () => {
    await context.store.write({ state: row('s') }, 'os');
    await context.store.sync();
    await context.store.sync();
    await context.store.close();
    await expect(context.store.write({ state: row('t') }, 'os')).rejects.toMatchObject({
      code: 'storage-unavailable',
    });
    await expect(context.store.readState()).rejects.toMatchObject({ code: 'storage-unavailable' });
    await context.reopen();
    expect(await context.store.readState()).toEqual(row('s'));
  });

  it('[STO-21] keeps the marker of the engine over reopenings', async () => {
    expect(await context.marker.read()).toBeUndefined();
    await context.marker.write(row('published 3'));
    expect(await context.marker.read()).toEqual(row('published 3'));
    await context.store.write({ state: row('s') }, 'disk');
    await context.reopen();
    expect(await context.marker.read()).toEqual(row('published 3'));
    expect(context.store.damage).toEqual([]);
  });
};

const layerContract = (context: Context): void => {
  it('[STO-22] lets the newest layer win and a null marker hide', async () => {
    await context.store.write(
      {
        puts: [
          put('image', 1, 1, 'a', 'old a'),
          put('image', 1, 1, 'b', 'old b'),
          put('image', 1, 1, 'c', 'old c'),
          put('image', 2, 1, 'a', 'new a'),
          put('image', 2, 1, 'b', null),
          put('image', 2, 2, 'c', 'other table'),
          put('view', 2, 1, 'c', 'view c'),
        ],
      },
      'os',
    );
    const ids = ['c', 'a', 'nope', 'b', 'a'];
    expect(await context.store.getRows('image', 1, ids, [2, 1])).toEqual([
      row('old c'),
      row('new a'),
      undefined,
      undefined,
      row('new a'),
    ]);
    expect(await context.store.getRows('image', 1, ids, [])).toEqual(ids.map(() => undefined));
    const page = await context.store.scanRows('image', 1, { layers: [2, 1], limit: 9 });
    expect(page).toEqual({
      rows: [
        { id: 'a', value: row('new a') },
        { id: 'c', value: row('old c') },
      ],
      next: undefined,
    });
    expect(await context.store.scanLayer('image', 1, 2, undefined, 9)).toEqual([
      { id: 'a', value: row('new a') },
      { id: 'b', value: null },
    ]);
    expect(await context.store.scanLayer('image', 1, 2, 'a', 9)).toEqual([
      { id: 'b', value: null },
    ]);
  });

  it('[STO-23] pages through rows in the order of their UTF-8 bytes, in both directions', async () => {
    const ids = Array.from({ length: 2_500 }, (_, at) =>
      `${(at * 7_919) % 2_500}`.padStart(5, '0'),
    );
    ids.push('\u{1f600}', '\uffee', 'é', 'z'.repeat(255));
    await context.store.write({ puts: ids.map((id) => put('view', 9, 4, id, id)) }, 'os');
    const sorted = [...ids].sort(byUtf8);
    for (const reverse of [false, true]) {
      const found: string[] = [];
      let after: string | undefined;
      for (let page = 0; page < 100; page += 1) {
        const { rows, next } = await context.store.scanRows('view', 4, {
          layers: [9],
          limit: 333,
          reverse,
          ...(after === undefined ? {} : { after }),
        });
        found.push(...rows.map(({ id }) => id));
        after = next;
        if (next === undefined) break;
      }
      expect(found).toEqual(reverse ? sorted.reverse() : sorted);
    }
  });

  it('[STO-24] ends a row scan at its far bound, inclusive in the direction of the scan', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e'];
    await context.store.write({ puts: ids.map((id) => put('image', 1, 1, id, id)) }, 'os');
    const scan = async (options: { after: string; upTo: string; reverse?: boolean }) =>
      (await context.store.scanRows('image', 1, { layers: [1], limit: 9, ...options })).rows
        .map(({ id }) => id)
        .join('');
    expect(await scan({ after: 'a', upTo: 'd' })).toBe('bcd');
    expect(await scan({ after: 'd', upTo: 'b', reverse: true })).toBe('cb');
  });

  it('[STO-25] scans an index by key, ties by id, over layers', async () => {
    await context.store.write(
      {
        puts: [
          indexPut(1, [1], 'b', true),
          indexPut(1, [1], 'a', true),
          indexPut(1, [1, 0], 'a', true),
          indexPut(1, [1, 0, 255], 'a', true),
          indexPut(1, [1, 1], 'a', true),
          indexPut(1, [2], 'c', true),
          indexPut(2, [1], 'a', false),
          indexPut(2, [0], 'a', true),
        ],
      },
      'os',
    );
    const print = (entries: readonly IndexEntry[]): string =>
      entries.map(({ key, id }) => `${key.join('.')}${id}`).join(' ');
    const scan = async (layers: readonly number[], more = {}, range = all): Promise<string> =>
      print(await context.store.scanIndex(1, 7, range, { layers, limit: 9, ...more }));
    expect(await scan([1])).toBe('1a 1b 1.0a 1.0.255a 1.1a 2c');
    expect(await scan([2, 1])).toBe('0a 1b 1.0a 1.0.255a 1.1a 2c');
    expect(await scan([2, 1], { limit: 2, reverse: true })).toBe('2c 1.1a');
    const after = { key: new Uint8Array([1, 0]), id: 'a' };
    expect(await scan([2, 1], { after })).toBe('1.0.255a 1.1a 2c');
    expect(await scan([2, 1], { after, reverse: true })).toBe('1b 0a');
    const range = { gte: new Uint8Array([1, 0]), lt: new Uint8Array([1, 1]) };
    expect(await scan([2, 1], {}, range)).toBe('1.0a 1.0.255a');
  });

  it('[STO-68] a fold into the oldest layer leaves no marker of views and index entries', async () => {
    const before = [put('view', 1, 1, 'a', 'A'), indexPut(1, [1], 'a', true)];
    const hide = [put('view', 2, 1, 'a', null), indexPut(2, [1], 'a', false)];
    const row = put('image', 2, 1, 'a', null);
    await context.store.write({ puts: [...before, ...hide, row] }, 'os');
    while (!(await context.store.foldLayer(2, 1, 1, true)))
      expect(await context.store.getRows('view', 1, ['a'], [2, 1])).toEqual([undefined]);
    expect(await context.store.scanLayer('view', 1, 1, undefined, 9)).toEqual([]);
    expect(await context.store.scanIndex(1, 7, all, { layers: [1], limit: 9 })).toEqual([]);
    expect(await context.store.scanLayer('image', 1, 1, undefined, 9)).toEqual([
      { id: 'a', value: null },
    ]);
  });

  it('[STO-26] folds and clears layers in bounded steps', async () => {
    const puts = Array.from({ length: 25 }, (_, at) => put('image', 2, 1, `id-${at}`, `${at}`));
    puts.push(
      indexPut(2, [1], 'a', true),
      put('view', 2, 3, 'v', 'V'),
      put('image', 2, 2, 'x', null),
    );
    await context.store.write({ puts: [...puts, put('image', 1, 2, 'x', 'hidden')] }, 'os');
    let steps = 1;
    while (!(await context.store.foldLayer(2, 1, 10))) steps += 1;
    expect(steps).toBe(3);
    expect((await context.store.scanRows('image', 1, { layers: [2], limit: 99 })).rows).toEqual([]);
    expect(
      (await context.store.scanRows('image', 1, { layers: [1], limit: 99 })).rows,
    ).toHaveLength(25);
    expect(await context.store.getRows('image', 2, ['x'], [1])).toEqual([undefined]);
    expect(await context.store.getRows('view', 3, ['v'], [1])).toEqual([row('V')]);
    expect(await context.store.clearLayer(1, 10, 1)).toBe(false);
    while (!(await context.store.clearLayer(1, 10, 1))) steps += 1;
    expect(await context.store.scanIndex(1, 7, all, { layers: [1], limit: 9 })).toEqual([]);
    expect(await context.store.getRows('view', 3, ['v'], [1])).toEqual([row('V')]);
    expect(await context.store.clearLayer(1, 10)).toBe(true);
    expect(await context.store.getRows('view', 3, ['v'], [1])).toEqual([undefined]);
  });
};

const modelContract = (context: Context): void => {
  it('[STO-27, STO-42, STO-98] equals a model of maps under random puts, blocks, runs, markers, folds and clears', async () => {
    await fc.assert(
      fc.asyncProperty(layerSteps, async (list) => {
        await context.store.clear();
        const model = new LayerModel();
        for (const step of list) await applyStep(context.store, model, step);
        await expectEqual(context.store, model, [[3, 2, 1], [2, 1], [3, 1], [1], [3]]);
      }),
    );
  });
};

/** Registers the contract of ReplicaStore, OpLog and Marker as tests of the given implementation. */
export const registerReplicaStoreContract = (
  name: string,
  makeHarness: () => Promise<ReplicaStoreHarness>,
): void => {
  describe(`ReplicaStore: ${name}`, () => {
    const context = {} as Context;
    beforeEach(async () => {
      context.harness = await makeHarness();
      Object.assign(context, await context.harness.open());
      context.reopen = async () => {
        await context.store.close();
        Object.assign(context, await context.harness.open());
      };
    });
    afterEach(async () => {
      await context.store.close();
      await context.harness.dispose();
    });
    logContract(context);
    stateContract(context);
    layerContract(context);
    modelContract(context);
  });
};
