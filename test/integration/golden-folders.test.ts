import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { openReplica, TidemarkError } from '@tidemark/node';
import { openServer } from '@tidemark/server';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  goldenFolder,
  goldenSchema as schema,
  goldenTenant as tenant,
  goldenUser,
} from '../processes/golden-schema.js';

const kept = fileURLToPath(new URL(`../../${goldenFolder}`, import.meta.url));
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidemark-golden-'));
  await cp(kept, folder, { recursive: true });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const openGoldenServer = () => openServer({ tenant, schema, folder: path.join(folder, 'server') });

test('[STO-95] a replica folder of format 1 opens with everything that it holds', async () => {
  const events: string[] = [];
  const replica = await openReplica({
    folder: path.join(folder, 'replica'),
    tenant,
    user: goldenUser,
    schema,
    transport: { open: () => Promise.reject(new TidemarkError('unreachable', 'offline')) },
    onEvent: ({ type }) => events.push(type),
  });
  try {
    const visits = await replica.query('visits');
    expect(visits).toMatchObject([
      { id: 'v1', subject: 'first', status: 'cancelled', on: '2023-11-15' },
      { id: 'v2', subject: 'second', count: 7, note: 'a shared note, longer', price: '12.5' },
      { id: 'v4', subject: 'offline' },
    ]);
    expect(await replica.query('tasks')).toMatchObject([
      { id: 't1', visit: 'v1', title: 'call' },
      { id: 't2', visit: 'v4', title: 'offline too' },
    ]);
    const pending = await replica.pending();
    expect(pending.map(({ record, kind, state }) => [record, kind, state])).toEqual([
      ['v1', 'update', 'parked'],
      ['v2', 'update', 'pending'],
      ['v2', 'update', 'pending'],
      ['v4', 'create', 'pending'],
      ['t2', 'create', 'pending'],
    ]);
    expect(await replica.errors.list()).toMatchObject([
      {
        kind: 'conflict',
        table: 'visits',
        record: 'v1',
        conflicts: [{ field: 'status', base: 'planned', ours: 'cancelled', theirs: 'done' }],
      },
    ]);
    expect((await replica.logs()).length).toBeGreaterThan(2);
    expect(events).toEqual([]);
  } finally {
    await replica.close();
  }
});

test('[STO-96] a server folder of format 1 opens, and its replica goes on with it', async () => {
  const server = await openGoldenServer();
  const replica = await openReplica({
    folder: path.join(folder, 'replica'),
    tenant,
    user: goldenUser,
    schema,
    transport: server.transport,
  });
  try {
    expect(await server.query('visits')).toMatchObject([
      { id: 'v1', status: 'done' },
      { id: 'v2', count: 5, note: 'a shared note' },
      { id: 'v3', subject: 'third' },
    ]);
    expect(await server.get('visits', 'gone')).toBeUndefined();
    expect(await server.errors.list()).toHaveLength(1);
    expect(await server.explain('visits', 'v2')).not.toEqual([]);
    expect(await replica.sync()).toMatchObject({ result: 'synced', error: null, parked: 1 });
    expect(await replica.get('visits', 'v3')).toMatchObject({ subject: 'third' });
    expect(await server.get('visits', 'v2')).toMatchObject({
      count: 7,
      note: 'a shared note, longer',
    });
    expect(await server.get('tasks', 't2')).toMatchObject({ title: 'offline too' });
    const [error] = await replica.errors.list();
    await replica.errors.resolve(error?.id ?? '', { action: 'take-server' });
    await replica.create('tasks', { title: 'written today' });
    await replica.sync();
    await replica.sync();
    expect(replica.status).toMatchObject({ synced: true, parked: 0 });
    for (const table of ['visits', 'tasks'] as const)
      expect(await replica.fingerprint(table)).toBe(await server.fingerprint(table));
  } finally {
    await replica.close();
    await server.close();
  }
});
