import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openServer } from '@tidemark/server';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PullingDevice } from './pulling-device.js';
import { place, schema } from './server-fixture.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-server-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const open = (name = 'server') =>
  openServer({
    folder: join(folder, name),
    tenant: 'acme',
    schema,
    checkpoints: { folder: join(folder, 'checkpoints'), keep: 2 },
  });

test('[SRV-56] a folder is opened by one server, and its key and store outlive a restart', async () => {
  const first = await open();
  await expect(open()).rejects.toMatchObject({ code: 'folder-in-use' });
  await first.write(
    Array.from({ length: 50 }, (_, i) => place(i)),
    { user: 'root' },
  );
  const caller = { tenant: 'acme', replica: 'r1', user: 'user-1' };
  const device = new PullingDevice(await first.transport.open(caller), { tables: 'all' });
  await device.pull();
  const { digest } = first.status().state;
  await first.close();
  expect((await stat(join(folder, 'server', 'cursor.key'))).mode & 0o077).toBe(0);
  const second = await open();
  expect(second.status().state.digest).toBe(digest);
  const again = new PullingDevice(await second.transport.open(caller), { tables: 'all' });
  again.cursor = device.cursor;
  expect((await again.pull()).closing).toBe(true);
  await second.close();
  await expect(
    openServer({ folder: join(folder, 'server'), tenant: 'other', schema }),
  ).rejects.toMatchObject({ code: 'wrong-tenant' });
});

test('[SRV-57] a lost store is rebuilt from the newest checkpoint, of which the wanted number is kept', async () => {
  const first = await open();
  for (let i = 0; i < 4; i += 1) {
    await first.write([place(i)], { user: 'root' });
    await first.checkpoint();
  }
  await first.write([place(9)], { user: 'root' });
  const { digest } = first.status().state;
  const print = await first.fingerprint('places');
  await first.close();
  expect(await readdir(join(folder, 'checkpoints'))).toHaveLength(2);
  await rm(join(folder, 'server', 'store'), { recursive: true });
  const second = await open();
  expect(second.status().state.digest).toBe(digest);
  expect(await second.fingerprint('places')).toBe(print);
  await second.close();
});
