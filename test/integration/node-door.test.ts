import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openReplica, type Replica, type ReplicaEvent } from '@tidemark/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { schema, World } from './world.js';

let world: World;
let base: string;
let opened: Replica<typeof schema>[] = [];

beforeEach(async () => {
  world = await World.open();
  base = await mkdtemp(join(tmpdir(), 'tidemark-node-'));
});
afterEach(async () => {
  for (const replica of opened) await replica.close();
  opened = [];
  await world.close();
  await rm(base, { recursive: true, force: true });
});

const open = async (
  name: string,
  options: { readonly user?: string; readonly tenant?: string } = {},
): Promise<Replica<typeof schema>> => {
  const replica = await openReplica({
    folder: join(base, name),
    tenant: options.tenant ?? 'acme',
    user: options.user ?? 'user-1',
    schema,
    transport: world.transport,
  });
  opened.push(replica);
  return replica;
};

describe('the door in Node', () => {
  test('[REP-90] a folder keeps its replica from one opening to the next', async () => {
    const first = await open('a');
    const id = await first.create('visits', { subject: 'kept', count: 2 });
    await first.editText('visits', id, 'note', 'some text');
    expect(await first.sync()).toMatchObject({ result: 'synced' });
    await first.update('visits', id, { subject: 'offline' });
    await first.close();
    const second = await open('a');
    expect(await second.get('visits', id)).toEqual({
      id,
      subject: 'offline',
      status: null,
      count: 2,
      note: 'some text',
      rank: null,
    });
    expect(second.status).toMatchObject({ pending: { operations: 1 }, hydrated: { visits: true } });
    expect(second.status.lastRun).toMatchObject({ result: 'synced' });
    expect(await second.sync()).toMatchObject({ result: 'synced' });
    expect(await second.fingerprint('visits')).toBe(await world.fingerprint(1));
  });

  test('[REP-91] another user, another tenant and a second opening are refused', async () => {
    const first = await open('a');
    await first.create('visits', { subject: 's' });
    await expect(open('a')).rejects.toMatchObject({ code: 'folder-in-use' });
    await first.close();
    await expect(open('a', { user: 'user-2' })).rejects.toMatchObject({ code: 'folder-in-use' });
    await expect(open('a', { tenant: 'other' })).rejects.toMatchObject({ code: 'folder-in-use' });
    const again = await open('a');
    expect(await again.count('visits')).toBe(1);
    const script = `
      const { ClassicLevel } = require('classic-level');
      const level = new ClassicLevel(process.argv[1]);
      level.open().then(() => process.exit(0), () => process.exit(7));
    `;
    const other = spawnSync(process.execPath, ['-e', script, join(base, 'a', 'store')], {
      cwd: new URL('..', import.meta.url),
    });
    expect(other.status).toBe(7);
    await expect(open('b', { user: '' })).rejects.toMatchObject({ code: 'invalid-option' });
  });

  test('[REP-92] a copied folder and its original both go on', async () => {
    const first = await open('a');
    const id = await first.create('visits', { subject: 's', count: 0 });
    await first.sync();
    await first.close();
    await cp(join(base, 'a'), join(base, 'b'), { recursive: true });
    const [one, two] = [await open('a'), await open('b')];
    await one.increment('visits', id, 'count', 1);
    await two.increment('visits', id, 'count', 10);
    for (const replica of [one, two, one, two, one])
      expect(await replica.sync()).toMatchObject({ result: 'synced' });
    expect((await one.get('visits', id))?.count).toBe(11);
    expect(await one.fingerprint('visits')).toBe(await two.fingerprint('visits'));
    expect(one.status.replica).not.toBe(two.status.replica);
  });

  test('[REP-93] damage at open is told to onEvent before anything else', async () => {
    const first = await open('a');
    await first.create('visits', { subject: 's' });
    await first.sync();
    await first.close();
    await rm(join(base, 'a', 'marker'));
    const events: string[] = [];
    const replica = await openReplica({
      folder: join(base, 'a'),
      tenant: 'acme',
      user: 'user-1',
      schema,
      transport: world.transport,
      onEvent: ({ type }) => events.push(type),
    });
    opened.push(replica);
    expect(events).toEqual(['damage']);
    expect(await replica.sync()).toMatchObject({ result: 'synced' });
    expect(replica.status).toMatchObject({ synced: true, epoch: 2 });
  });

  test('[REP-94] an image with a hole in the middle is repaired by difference; edits stay', async () => {
    for (let i = 0; i < 4_000; i += 500)
      await world.write(
        ...Array.from({ length: 500 }, (_, k) => ({
          kind: 'upsert' as const,
          table: 1,
          id: `v${String(i + k).padStart(6, '0')}`,
          fields: { 1: `visit ${i + k} ${'x'.repeat(100)}` },
        })),
      );
    const first = await open('a');
    await first.sync();
    const own = await first.create('visits', { subject: 'own, unsent' });
    await first.close();
    // LevelDB replays its log at open and silently drops blocks that fail their checksum.
    const store = join(base, 'a', 'store');
    const logs = (await readdir(store)).filter((name) => name.endsWith('.log'));
    const log = join(store, logs[0] ?? '');
    const bytes = await readFile(log);
    expect(bytes.length).toBeGreaterThan(400_000);
    bytes.fill(0xff, 200_000, 200_016);
    await writeFile(log, bytes);
    const events: ReplicaEvent[] = [];
    const replica = await openReplica({
      folder: join(base, 'a'),
      tenant: 'acme',
      user: 'user-1',
      schema,
      transport: world.transport,
      onEvent: (event) => events.push(event),
    });
    opened.push(replica);
    expect(events[0]).toMatchObject({ type: 'damage' });
    expect(replica.status.hydrated['visits']).toBe(false);
    expect(await replica.sync()).toMatchObject({ result: 'synced' });
    expect(events).toContainEqual({ type: 'repair', reason: 'damage' });
    expect(replica.status).toMatchObject({ hydrated: { visits: true }, synced: true });
    expect((await world.rows(1)).has(own)).toBe(true);
    await replica.sync();
    expect(await replica.fingerprint('visits')).toBe(await world.fingerprint(1));
  });
});
