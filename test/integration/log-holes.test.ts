// A device whose log lost operations in the middle: all else arrives, what is lost is told.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { World, type DeviceHandle } from './world.js';

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

const logSpace = 0x10;
const loseFromLog = async (
  level: { del: (key: Uint8Array) => Promise<void>; open: () => Promise<void> },
  indexes: readonly number[],
): Promise<void> => {
  await level.open();
  for (const index of indexes) await level.del(new Uint8Array([logSpace, 0, 0, 0, 0, 0, index]));
};

const syncOften = async (a: DeviceHandle): Promise<void> => {
  for (let i = 0; i < 3; i += 1) await a.replica.sync();
};

test('[PUL-20] operations lost before they were sent are sync errors; the others arrive once', async () => {
  const a = await world.device();
  const ids: string[] = [];
  for (let i = 0; i < 4; i += 1)
    ids.push(await a.replica.create('visits', { subject: 'one', count: 0 }));
  await a.replica.sync();
  for (const id of ids) await a.replica.increment('visits', id, 'count', 1);
  await a.replica.close();
  await loseFromLog(a.disk.level, [6, 7]);
  await world.reopen(a);
  expect(a.events.find(({ type }) => type === 'damage')).toMatchObject({
    newEpoch: true,
    lost: [{ from: 6, to: 7 }],
  });
  await a.replica.update('visits', ids[0] as string, { subject: 'two' });
  await a.replica.increment('visits', ids[3] as string, 'count', 10);
  await syncOften(a);
  const counts = ids.map(async (id) => (await world.rows(1)).get(id)?.fields[3] ?? 0);
  expect(await Promise.all(counts)).toEqual([1, 0, 0, 11]);
  expect((await world.rows(1)).get(ids[0] as string)?.fields[1]).toBe('two');
  expect(a.replica.status.pending.operations).toBe(0);
  expect(await a.replica.errors.list()).toMatchObject([{ kind: 'poison' }]);
});

test('[PUL-20] operations that the server has are not lost; nothing counts twice', async () => {
  const a = await world.device();
  const id = await a.replica.create('visits', { subject: 'one', count: 0 });
  for (let i = 0; i < 6; i += 1) await a.replica.increment('visits', id, 'count', 10 ** i);
  await a.replica.sync();
  await a.replica.increment('visits', id, 'count', 1_000_000);
  await a.replica.close();
  await loseFromLog(a.disk.level, [4, 5]);
  await world.reopen(a);
  await syncOften(a);
  expect((await world.rows(1)).get(id)?.fields[3]).toBe(1_111_111);
  expect(await a.replica.get('visits', id)).toMatchObject({ count: 1_111_111 });
  expect(await a.replica.errors.list()).toEqual([]);
});
