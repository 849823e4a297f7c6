import type { LocalReplica } from '@tidemark/client';
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

const findsAll = async (replica: LocalReplica, count: number): Promise<void> => {
  for (const i of [0, 1, Math.floor(count / 2), count - 1]) {
    const found = await replica.query('tasks', { filter: `title = '${title(i)}'` });
    expect(found.map((one) => one.id)).toEqual([id(i)]);
  }
  for (const order of ['asc', 'desc'] as const) {
    const sorted = await replica.query('tasks', { order: [{ field: 'title', direction: order }] });
    expect(sorted).toHaveLength(count);
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
  await stage(opened.replica, count);
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
  await findsAll(opened.replica, count);
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

test('[PUL-82] indexes are built anew when the store lost a batch, which may have held their entries alone', async () => {
  const { database, all } = disk();
  const first = await openOn(all);
  await download(first.replica, pagesOf(2_000), 5, 0);
  await first.close();
  await database.open();
  const slots = await keysOf(database, ringSpace);
  const lost = [...(await keysOf(database, runSpace)), slots.at(-3) as Uint8Array];
  await database.batch(lost.map((key) => ({ type: 'del' as const, key })));
  await database.close();
  const { replica, close } = await openOn(all);
  expect(replica.damage.found).toMatchObject([{ kind: 'image', count: 1 }]);
  await findsAll(replica, 2_000);
  await close();
});
