import { afterEach, beforeEach, expect, test } from 'vitest';
import { World } from './world.js';

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

test('[SYN-53] damage that a read meets is told by the status, and the replica is not synced', async () => {
  await world.write(
    { kind: 'upsert', table: 1, id: 'visit', fields: { 1: 'a visit that will be damaged' } },
    { kind: 'upsert', table: 2, id: 'task', fields: { 2: 'a task' } },
  );
  const { replica, disk } = await world.device();
  await replica.sync();
  expect(replica.status).toMatchObject({ synced: true, error: null });
  const told: unknown[] = [];
  replica.onStatus(({ error }) => told.push(error?.code));
  // A bit of the stored text: what LevelDB itself does not see when it reads its tables.
  let flipped = 0;
  for await (const [key, value] of disk.level.iterator()) {
    const at = Buffer.from(value).indexOf('will be damaged');
    if (at === -1) continue;
    const altered = Uint8Array.from(value);
    altered[at] = (altered[at] ?? 0) ^ 1;
    await disk.level.put(key, altered);
    flipped += 1;
  }
  expect(flipped).toBeGreaterThan(0);
  await expect(replica.get('visits', 'visit')).rejects.toMatchObject({ code: 'storage-damaged' });
  await expect(replica.query('visits')).rejects.toMatchObject({ code: 'storage-damaged' });
  expect(replica.status).toMatchObject({
    synced: false,
    hydrated: { visits: false, tasks: true },
    error: { code: 'storage-damaged' },
  });
  expect(told).toEqual(['storage-damaged']);
  expect(await replica.get('tasks', 'task')).toMatchObject({ title: 'a task' });
  await replica.sync();
  expect(replica.status).toMatchObject({ synced: false, error: { code: 'storage-damaged' } });
  // What was damaged is gone with all the rest.
  await replica.clear({ pending: 'discard' });
  await replica.sync();
  expect(await replica.get('visits', 'visit')).toMatchObject({ status: null });
  expect(replica.status).toMatchObject({ synced: true, hydrated: { visits: true }, error: null });
});
