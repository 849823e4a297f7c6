// Indexes are written with every row, and read by queries: a write that is left out shows.
import type { LocalReplica } from '@tidemark/client';
import type { IndexRun, LayerPut, ReplicaBatch, ReplicaStore } from '@tidemark/ports';
import { concatBytes, utf8Decode } from '@tidemark/model';
import type { PageMode } from '@tidemark/protocol';
import { openReplicaStore } from '@tidemark/store-level';
import { expect, test } from 'vitest';
import { download, newDisk, openOn, pageOf, rowOf, sha256, upsert } from './harness.js';

const ranks = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

const printed = (index: number, id: string, key: Uint8Array): string =>
  `${index} ${id} ${[...key].join('.')}`;

const nameOf = (put: LayerPut): string | undefined =>
  put.space === 'index' && put.present ? printed(put.index, put.id, put.key) : undefined;

/** Entries of a run by name, and the run without the one that is left out. */
const takenApart = (run: IndexRun, leaveOut?: string): { names: string[]; rest: IndexRun } => {
  const names: string[] = [];
  const [parts, ends]: [Uint8Array[], number[]] = [[], []];
  let [from, to] = [0, 0];
  for (let at = 0; at < run.ends.length; at += 2) {
    const [keyEnd, end] = [run.ends[at] as number, run.ends[at + 1] as number];
    const name = printed(
      run.index,
      utf8Decode(run.bytes.subarray(keyEnd, end)),
      run.bytes.subarray(from, keyEnd),
    );
    names.push(name);
    if (name !== leaveOut) {
      parts.push(run.bytes.subarray(from, end));
      ends.push(to + keyEnd - from, (to += end - from));
    }
    from = end;
  }
  return { names, rest: { ...run, bytes: concatBytes(parts), ends: Uint32Array.from(ends) } };
};

/** Store that leaves out the puts of one index entry, and counts rows read. */
const watched = (store: ReplicaStore, leaveOut?: string) => {
  const counts = { entries: new Set<string>(), rows: 0, runs: 0, scans: 0 };
  const write = (batch: ReplicaBatch, durability: 'os' | 'disk'): Promise<void> => {
    const puts = batch.puts?.filter((put) => {
      const name = nameOf(put);
      if (name !== undefined) counts.entries.add(name);
      return name === undefined || name !== leaveOut;
    });
    const runs = batch.runs?.map((run) => {
      const { names, rest } = takenApart(run, leaveOut);
      for (const name of names) counts.entries.add(name);
      counts.runs += 1;
      return rest;
    });
    const kept = {
      ...(puts === undefined ? {} : { puts }),
      ...(runs === undefined ? {} : { runs }),
    };
    return store.write({ ...batch, ...kept }, durability);
  };
  const getRows: ReplicaStore['getRows'] = (space, table, ids, layers) => {
    counts.rows += ids.length;
    return store.getRows(space, table, ids, layers);
  };
  const scanRows: ReplicaStore['scanRows'] = (space, table, options) => {
    if (table === 1) counts.scans += 1;
    return store.scanRows(space, table, options);
  };
  return { counts, store: { ...storeParts(store), write, getRows, scanRows } };
};

const storeParts = (store: ReplicaStore): ReplicaStore => ({
  damage: store.damage,
  log: store.log,
  readState: store.readState,
  write: store.write,
  sync: store.sync,
  getRows: store.getRows,
  scanRows: store.scanRows,
  scanLayer: store.scanLayer,
  readBlocks: store.readBlocks,
  scanIndex: store.scanIndex,
  foldLayer: store.foldLayer,
  clearLayer: store.clearLayer,
  readNote: store.readNote,
  scanNotes: store.scanNotes,
  clear: store.clear,
  close: store.close,
});

const page = (n: number, ids: readonly string[], rank: (i: number) => number, mode?: PageMode) =>
  pageOf(
    1,
    ids.map((id, i) => upsert(id, rowOf(n, { 1: id, 2: rank(i), 3: i % 2 === 0 }))),
    mode,
  );

/** Downloads, edits, downloads under pending edits: every way by which an index is written. */
const live = async (replica: LocalReplica, mode: PageMode): Promise<void> => {
  const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
  await download(replica, [page(1, ids, (i) => i, mode)], 1, 0);
  await replica.update('tasks', 'a', { rank: 6 });
  await replica.create('tasks', { title: 'g', rank: 7 }, { id: 'g' });
  await replica.delete('tasks', 'b');
  await replica.transaction(async (edit) => {
    await edit.update('tasks', 'c', { rank: 8 });
    await edit.update('tasks', 'c', { rank: 9 });
  });
  await download(replica, [page(2, ['c', 'd'], (i) => i + 1)], 2, 0);
  await replica.update('tasks', 'd', { rank: 0 });
};

/** Indexed queries that differ from what a scan of all records gives. */
const differences = async (replica: LocalReplica): Promise<number> => {
  const all = await replica.scan('tasks');
  let count = 0;
  for (const rank of ranks) {
    const found = await replica.query('tasks', { filter: `rank = ${rank}` });
    const wanted = all.filter((row) => row['rank'] === rank);
    if (found.map(({ id }) => id).join() !== wanted.map(({ id }) => id).join()) count += 1;
  }
  for (const { id } of all) {
    const title = await replica.query('tasks', { filter: `title = '${id}'` });
    if (title.length !== 1) count += 1;
  }
  return count;
};

const run = async (mode: PageMode, leaveOut?: string) => {
  const disk = newDisk();
  const { store, marker } = await openReplicaStore({ ...disk, hash: sha256 });
  const { counts, store: between } = watched(store, leaveOut);
  const { replica, close } = await openOn(newDisk(), { store: between, marker });
  await live(replica, mode);
  const records = (await replica.scan('tasks')).length;
  const found = await differences(replica);
  await close();
  await store.close();
  return { found, entries: counts.entries, runs: counts.runs, records };
};

const modes = [
  ['rows of their own', 'incremental'],
  ['blocks and runs', 'full'],
] as const;

test.for(modes)(
  '[REP-27] a query by index agrees with a scan, and any index write left out shows: %s',
  async ([, mode]) => {
    const { found, entries, records, runs } = await run(mode);
    expect(runs > 0).toBe(mode === 'full');
    expect(found).toBe(0);
    let shown = 0;
    for (const name of entries) if ((await run(mode, name)).found > 0) shown += 1;
    // Each record has one entry by rank and one by title; others are of earlier ranks.
    expect(shown).toBe(2 * records);
  },
);

test('[REP-27] a query by index reads the records it gives, not the table', async () => {
  const disk = newDisk();
  const { store, marker } = await openReplicaStore({ ...disk, hash: sha256 });
  const { counts, store: between } = watched(store);
  const { replica, close } = await openOn(newDisk(), { store: between, marker });
  const ids = Array.from({ length: 500 }, (_, i) => `id-${String(i).padStart(3, '0')}`);
  await download(replica, [page(1, ids, (i) => i)], 1, 0);
  const before = { ...counts };
  expect(await replica.query('tasks', { filter: 'rank = 77' })).toHaveLength(1);
  const order = [{ field: 'rank', direction: 'desc' as const }];
  expect(await replica.query('tasks', { order, limit: 3 })).toHaveLength(3);
  expect(counts.scans).toBe(before.scans);
  expect(counts.rows - before.rows).toBeLessThanOrEqual(2 * (1 + 16));
  await close();
  await store.close();
});
