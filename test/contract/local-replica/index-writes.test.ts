// Indexes are written with every row, and read by queries: a write that is left out shows.
import type { LocalReplica } from '@tidemark/client';
import type { LayerPut, ReplicaBatch, ReplicaStore } from '@tidemark/ports';
import { openReplicaStore } from '@tidemark/store-level';
import { expect, test } from 'vitest';
import { download, newDisk, openOn, pageOf, rowOf, sha256, upsert } from './harness.js';

const ranks = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

const nameOf = (put: LayerPut): string | undefined =>
  put.space === 'index' && put.present
    ? `${put.index} ${put.id} ${[...put.key].join('.')}`
    : undefined;

/** Store that leaves out the puts of one index entry, and counts rows read. */
const watched = (store: ReplicaStore, leaveOut?: string) => {
  const counts = { entries: new Set<string>(), rows: 0, scans: 0 };
  const write = (batch: ReplicaBatch, durability: 'os' | 'disk'): Promise<void> => {
    const puts = batch.puts?.filter((put) => {
      const name = nameOf(put);
      if (name !== undefined) counts.entries.add(name);
      return name === undefined || name !== leaveOut;
    });
    return store.write(puts === undefined ? batch : { ...batch, puts }, durability);
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
  scanIndex: store.scanIndex,
  foldLayer: store.foldLayer,
  clearLayer: store.clearLayer,
  readNote: store.readNote,
  scanNotes: store.scanNotes,
  clear: store.clear,
  close: store.close,
});

const page = (n: number, ids: readonly string[], rank: (i: number) => number) =>
  pageOf(
    1,
    ids.map((id, i) => upsert(id, rowOf(n, { 1: id, 2: rank(i), 3: i % 2 === 0 }))),
  );

/** Downloads, edits, downloads under pending edits: every way by which an index is written. */
const live = async (replica: LocalReplica): Promise<void> => {
  const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
  await download(replica, [page(1, ids, (i) => i)], 1, 0);
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

const run = async (leaveOut?: string) => {
  const disk = newDisk();
  const { store, marker } = await openReplicaStore({ ...disk, hash: sha256 });
  const { counts, store: between } = watched(store, leaveOut);
  const { replica, close } = await openOn(newDisk(), { store: between, marker });
  await live(replica);
  const records = (await replica.scan('tasks')).length;
  const found = await differences(replica);
  await close();
  await store.close();
  return { found, entries: counts.entries, records };
};

test('[REP-27] a query by index agrees with a scan, and any index write left out shows', async () => {
  const { found, entries, records } = await run();
  expect(found).toBe(0);
  let shown = 0;
  for (const name of entries) if ((await run(name)).found > 0) shown += 1;
  // Each record has one entry by rank and one by title; others are of earlier ranks.
  expect(shown).toBe(2 * records);
});

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
