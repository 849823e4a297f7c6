import type { LocalReplica } from '@tidemark/client';
import { defineSchema, field } from '@tidemark/model';
import { expect, test } from 'vitest';
import {
  closingAt,
  codeOf,
  CountedDisk,
  download,
  newDisk,
  openOn,
  pageOf,
  rowOf,
  upsert,
  type Disk,
} from './harness.js';

const runSpace = 0x1e;
const blockSpace = 0x1f;
const ringSpace = 0x01;

/** Texts of an index, so long that the entries of a few thousand records take several runs. */
const title = (i: number): string =>
  `${String((i * 7_919) % 10_000).padStart(5, '0')}${'x'.repeat(800)}`;
const id = (i: number): string => `id-${String(i).padStart(5, '0')}`;

const pagesOf = (count: number) =>
  Array.from({ length: Math.ceil(count / 1_000) }, (_, page) =>
    pageOf(
      1,
      Array.from({ length: Math.min(1_000, count - 1_000 * page) }, (_, at) => {
        const i = 1_000 * page + at;
        return upsert(id(i), rowOf(1, { 1: title(i), 2: i % 10, 3: true }));
      }),
      'full',
    ),
  );

const stage = async (replica: LocalReplica, count: number): Promise<void> => {
  await replica.staging.begin('pull', null);
  for (const page of pagesOf(count)) await replica.staging.put([page], { cursor: 'c' });
};

const findsAll = async (replica: LocalReplica, count: number, total = count): Promise<void> => {
  for (const i of [0, 1, Math.floor(count / 2), count - 1]) {
    const found = await replica.query('tasks', { filter: `title = '${title(i)}'` });
    expect(found.map((one) => one.id)).toEqual([id(i)]);
  }
  for (const order of ['asc', 'desc'] as const) {
    const sorted = await replica.query('tasks', { order: [{ field: 'title', direction: order }] });
    expect(sorted).toHaveLength(total);
    const titles = sorted.map((one) => one['title'] as string);
    const wanted = [...titles].sort();
    expect(titles).toEqual(order === 'asc' ? wanted : wanted.reverse());
  }
};

const disk = () => {
  const database = new CountedDisk();
  return { database, all: { ...newDisk(), database: database as unknown as Disk['database'] } };
};

const keysOf = async (database: CountedDisk, first: number): Promise<Uint8Array[]> =>
  database.keys({ gte: new Uint8Array([first]), lt: new Uint8Array([first + 1]) }).all();

test('[PUL-81] indexes of a filled table follow its rows, also when each of their writes fails once', async () => {
  const count = 9_000;
  const { database, all } = disk();
  let opened = await openOn(all);
  // The edits of the user: before the table fills, and while it does.
  await opened.replica.create('tasks', { title: 'early', rank: 70 }, { id: 'early' });
  await stage(opened.replica, count);
  await opened.replica.update('tasks', id(7), { rank: 71 });
  await opened.replica.delete('tasks', id(8));
  await opened.replica.update('tasks', 'early', { rank: 72 });
  expect(await keysOf(database, runSpace)).toEqual([]);
  // While the table fills, queries do without the index.
  const early = await opened.replica.query('tasks', { filter: `title = '${title(5)}'` });
  expect(early.map((one) => one.id)).toEqual([id(5)]);
  let failures = 0;
  const { flip, finish } = opened.replica.staging;
  database.failing = [database.writes + 2];
  let code = await codeOf(flip(closingAt(5, 0)));
  while (code === 'storage-unavailable') {
    failures += 1;
    if (failures % 2 === 0) code = await codeOf(finish());
    else {
      await opened.close();
      // The opening finishes the flip.
      code = await codeOf(openOn(all).then((next) => (opened = next)));
    }
    database.failing = [database.writes + 2];
  }
  database.failing = [];
  expect(code).toBe('none');
  expect(failures).toBeGreaterThanOrEqual(1);
  const runs = new Set((await keysOf(database, runSpace)).map((key) => key.slice(9, 17).join()));
  expect(runs.size).toBeGreaterThan(2);
  const { replica } = opened;
  await replica.update('tasks', id(9), { rank: 73 });
  const found = async (rank: number): Promise<readonly string[]> =>
    (await replica.query('tasks', { filter: `rank = ${rank}` })).map((one) => one.id);
  expect(await found(70)).toEqual([]);
  expect(await found(71)).toEqual([id(7)]);
  expect(await found(72)).toEqual(['early']);
  expect(await found(73)).toEqual([id(9)]);
  expect(await found(7)).toHaveLength(count / 10 - 1);
  expect(await found(8)).toHaveLength(count / 10 - 1);
  expect(await found(9)).toHaveLength(count / 10 - 1);
  // One of them was deleted, and one was there before.
  await findsAll(replica, count);
  await opened.close();
});

test('[PUL-81] a damaged block of a table that is indexed ends the staging, and the next fill brings all', async () => {
  const { database, all } = disk();
  const first = await openOn(all);
  await stage(first.replica, 2_000);
  const [, key] = await keysOf(database, blockSpace);
  const value = (await database.get(key as Uint8Array)) as Uint8Array;
  const altered = value.slice();
  altered[100] = (altered[100] as number) ^ 1;
  await database.put(key as Uint8Array, altered);
  expect(await codeOf(first.replica.staging.flip(closingAt(5, 0)))).toBe('storage-damaged');
  expect(first.replica.meta()).toMatchObject({ staging: null, tables: { 1: { state: 'empty' } } });
  await download(first.replica, pagesOf(2_000), 5, 0);
  await findsAll(first.replica, 2_000);
  await first.close();
});

test('[PUL-81] an opening that meets a damaged block goes on without the download, and keeps what the user did', async () => {
  const { database, all } = disk();
  const first = await openOn(all);
  await first.replica.create('tasks', { title: 'mine' }, { id: 'mine' });
  await stage(first.replica, 2_000);
  const [key] = await keysOf(database, blockSpace);
  const value = (await database.get(key as Uint8Array)) as Uint8Array;
  // The closing page is stored, and what follows it fails.
  database.failing = [database.writes + 2];
  expect(await codeOf(first.replica.staging.flip(closingAt(5, 0)))).toBe('storage-unavailable');
  await first.close();
  await database.open();
  const altered = value.slice();
  altered[100] = (altered[100] as number) ^ 1;
  await database.put(key as Uint8Array, altered);
  await database.close();
  const { replica, close } = await openOn(all);
  expect(replica.meta()).toMatchObject({ staging: null, tables: { 1: { state: 'empty' } } });
  expect(await replica.query('tasks')).toMatchObject([{ id: 'mine', title: 'mine' }]);
  await download(replica, pagesOf(2_000), 5, 0);
  await findsAll(replica, 2_000, 2_001);
  await close();
});

test('[PUL-82] a customization that is adopted at opening ends a staging, whose rows have no entries of its indexes', async () => {
  const withoutIndexes = defineSchema({
    version: 1,
    tables: { tasks: { id: 1, fields: { title: field.string(1), rank: field.number(2) } } },
  });
  const withIndex = defineSchema({
    version: 2,
    tables: {
      tasks: {
        ...{ id: 1, indexes: { byRank: ['rank'] } },
        fields: { title: field.string(1), rank: field.number(2) },
      },
    },
  });
  const { all } = disk();
  const row = (name: string, rank: number) => upsert(name, rowOf(rank, { 1: name, 2: rank }));
  const first = await openOn(all, { customization: withoutIndexes.customization });
  await download(first.replica, [pageOf(1, [row('a', 1)], 'full')], 1, 0, [1]);
  await first.replica.staging.begin('pull', 'cursor-1');
  const more = [pageOf(1, [row('a', 7), row('b', 7)])];
  await first.replica.staging.put(more, { cursor: 'c' });
  await first.close();
  const { replica, close } = await openOn(all, { customization: withIndex.customization });
  expect(replica.meta().staging).toBeNull();
  await download(replica, more, 7, 0, [1]);
  const found = await replica.query('tasks', { filter: 'rank = 7' });
  expect(found.map((one) => one.id)).toEqual(['a', 'b']);
  await close();
});

test('[PUL-82] indexes are built anew when the store lost a batch, which may have held their entries alone', async () => {
  const { database, all } = disk();
  const first = await openOn(all);
  await download(first.replica, pagesOf(2_000), 5, 0);
  await first.close();
  await database.open();
  const slots = await keysOf(database, ringSpace);
  const runs = await keysOf(database, runSpace);
  expect(runs.length).toBeGreaterThan(0);
  const lost = [...runs, slots.at(-3) as Uint8Array];
  await database.batch(lost.map((key) => ({ type: 'del' as const, key })));
  await database.close();
  const { replica, close } = await openOn(all);
  expect(replica.damage.found).toMatchObject([{ kind: 'image', count: 1 }]);
  await findsAll(replica, 2_000);
  await close();
});
