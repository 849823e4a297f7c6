import { defineSchema, field, TidemarkError, type Customization } from '@tidemark/model';
import type { Transport } from '@tidemark/ports';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { faultyTransport, schema, World, type DeviceHandle } from './world.js';

let world: World;
let a: DeviceHandle;

beforeEach(async () => {
  world = await World.open();
  a = await world.device({ user: 'user-1' });
});
afterEach(() => world.close());

const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
  for (let i = 0; i < 500; i += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('it did not come true in 5 s');
};

describe('a live replica', () => {
  test('[SYN-40] syncs at once, after edits and when the server moves, until it is disconnected', async () => {
    const b = await world.device({ user: 'user-2' });
    a.replica.connect();
    b.replica.connect();
    await until(() => a.replica.status.synced && b.replica.status.synced);
    expect(a.replica.status).toMatchObject({ connection: 'online', live: true });
    const id = await a.replica.create('visits', { subject: 'live', count: 1 });
    await until(async () => (await b.replica.get('visits', id)) !== undefined);
    await b.replica.increment('visits', id, 'count', 1);
    await until(async () => (await a.replica.get('visits', id))?.count === 2);
    await until(() => a.replica.status.synced && b.replica.status.synced);
    await a.replica.disconnect();
    expect(a.replica.status).toMatchObject({ connection: 'offline', live: false, phase: 'idle' });
    await a.replica.update('visits', id, { subject: 'offline' });
    const runs = (await a.replica.logs()).length;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await a.replica.logs()).toHaveLength(runs);
    expect(a.replica.status.pending.operations).toBe(1);
  });

  test('[SYN-41] comes back by itself after the link was lost, and says why it is offline', async () => {
    a.replica.connect();
    await until(() => a.replica.status.synced);
    world.transport.setOnline(false);
    await until(() => a.replica.status.error !== null);
    expect(a.replica.status).toMatchObject({
      connection: 'offline',
      error: { code: 'unreachable' },
    });
    const id = await a.replica.create('visits', { subject: 'while offline' });
    world.transport.setOnline(true);
    await until(() => a.replica.status.synced && a.replica.status.error === null);
    expect((await world.rows(1)).has(id)).toBe(true);
  });

  test('[SYN-41] comes back also when a link is lost at the moment in which it opened', async () => {
    let opened = 0;
    const transport: Transport = {
      open: async (caller, signal) => {
        const link = await world.transport.open(caller, signal);
        opened += 1;
        if (opened > 1) return link;
        // Before whoever opened it goes on: as a process finds it that slept meanwhile.
        return { ...link, onLost: (callback) => queueMicrotask(callback) };
      },
    };
    const b = await world.device({ user: 'user-2', transport });
    b.replica.connect();
    await until(() => b.replica.status.synced && b.replica.status.live);
    expect(opened).toBeGreaterThan(1);
  });
});

describe('the status', () => {
  test('[SYN-42] is told after each change and is never ahead of the truth', async () => {
    const seen: { pending: number; synced: boolean; phase: string }[] = [];
    a.replica.onStatus(({ pending, synced, phase }) => {
      seen.push({ pending: pending.operations, synced, phase });
    });
    await a.replica.create('visits', { subject: 's' });
    await a.replica.sync();
    expect(seen.some(({ pending, synced }) => pending > 0 && synced)).toBe(false);
    expect(seen.at(-1)).toEqual({ pending: 0, synced: true, phase: 'idle' });
    const phases = [...new Set(seen.map(({ phase }) => phase))];
    expect(phases).toEqual(
      expect.arrayContaining(['idle', 'authenticating', 'uploading', 'downloading', 'cleaning-up']),
    );
    // The time of an operation is known as soon as somebody asks.
    await a.replica.create('visits', { subject: 't' });
    const { pending } = a.replica.status;
    expect(pending).toEqual({ operations: 1, oldestAt: expect.any(Number) as number });
  });

  test('[SYN-43] synced is not said between the receipt and the image', async () => {
    const broken = faultyTransport(world.transport, (endpoint) =>
      endpoint === 'pull' ? new TidemarkError('denied', 'cut by the test') : undefined,
    );
    const b = await world.device({ user: 'user-2', transport: broken });
    await b.replica.create('visits', { subject: 's' });
    await b.replica.sync();
    expect(b.replica.status).toMatchObject({ pending: { operations: 0 }, synced: false });
  });
});

describe('customizations', () => {
  const next = defineSchema({
    version: 2,
    tables: {
      visits: {
        id: 1,
        indexes: { byStatus: ['status'] },
        fields: {
          subject: field.string(1, { required: true }),
          status: field.string(2, { rule: 'manual' }),
          count: field.counter(3),
          note: field.text(4),
          rank: field.number(5, { rule: 'latest-wins' }),
          place: field.string(6),
        },
      },
      tasks: schemaTable('tasks'),
      rooms: { id: 3, fields: { name: field.string(1) } },
    },
  });

  function schemaTable(_name: 'tasks') {
    return {
      id: 2,
      onDelete: 'manual',
      fields: {
        visit: field.reference(1, 'visits'),
        title: field.string(2, { maxLength: 40 }),
      },
    } as const;
  }

  test('[SYN-44] additions apply with operations pending, in a background run too', async () => {
    const id = await a.replica.create('visits', { subject: 's' });
    await world.merger.publish(next.customization, 'admin');
    await world.write({ kind: 'upsert', table: 3, id: 'r1', fields: { 1: 'hall' } });
    await a.replica.sync({ mode: 'background' });
    await a.replica.sync();
    expect(a.replica.status.customization).toEqual({ version: 2, waiting: null });
    expect(a.events).toContainEqual({ type: 'customization', version: 2, result: 'applied' });
    const loose = a.replica as unknown as {
      update: (table: string, id: string, fields: object) => Promise<void>;
      get: (table: string, id: string) => Promise<object | undefined>;
    };
    expect(await loose.get('rooms', 'r1')).toEqual({ id: 'r1', name: 'hall' });
    await loose.update('visits', id, { place: 'here' });
    expect(await a.replica.sync()).toMatchObject({ result: 'synced' });
    expect((await world.rows(1)).get(id)?.fields[6]).toBe('here');
  });

  test('[SYN-45] an index on a table waits for a foreground run', async () => {
    const { customization } = schema;
    const indexed: Customization = {
      ...customization,
      version: 2,
      tables: customization.tables.map((table) =>
        table.name === 'visits'
          ? { ...table, indexes: [...table.indexes, { name: 'byRank', fields: ['rank'] }] }
          : table,
      ),
    };
    await a.replica.sync();
    await world.merger.publish(indexed, 'admin');
    await a.replica.sync({ mode: 'background' });
    expect(a.replica.status.customization).toEqual({
      version: 1,
      waiting: { version: 2, reason: 'foreground' },
    });
    await a.replica.sync({ mode: 'foreground' });
    expect(a.replica.status.customization).toEqual({ version: 2, waiting: null });
  });
});

describe('scope, clearing, logs', () => {
  test('[SYN-46] another scope repairs by difference: what left it goes', async () => {
    await world.write(
      { kind: 'upsert', table: 1, id: 'v1', fields: { 1: 'one', 2: 'open' } },
      { kind: 'upsert', table: 1, id: 'v2', fields: { 1: 'two', 2: 'done' } },
      { kind: 'upsert', table: 2, id: 't1', fields: { 2: 'task' } },
    );
    await a.replica.sync();
    await a.replica.close();
    await world.reopen(a, { scope: { tables: { visits: { filter: 'status = "open"' } } } });
    expect(await a.replica.sync()).toMatchObject({ result: 'synced' });
    expect((await a.replica.query('visits')).map(({ id }) => id)).toEqual(['v1']);
    expect(await a.replica.count('tasks')).toBe(0);
    expect(a.replica.status.hydrated).toEqual({ visits: true });
    await a.replica.close();
    await world.reopen(a);
    expect(await a.replica.sync()).toMatchObject({ result: 'synced' });
    expect(await a.replica.count('visits')).toBe(2);
    expect(await a.replica.count('tasks')).toBe(1);
    expect(new Set(await world.fingerprints(a)).size).toBe(1);
    await expect(world.device({ scope: { tables: { nowhere: {} } } })).rejects.toMatchObject({
      code: 'invalid-scope',
    });
  });

  test('[SYN-47] clear refuses to lose operations, uploads them first, or is told to', async () => {
    const id = await a.replica.create('visits', { subject: 's' });
    await expect(a.replica.clear({ pending: 'refuse' })).rejects.toMatchObject({
      code: 'pending-operations',
    });
    // What a caller without types may leave out.
    await expect((a.replica.clear as () => Promise<void>)()).rejects.toMatchObject({
      code: 'invalid-option',
    });
    const before = a.replica.status.replica;
    await a.replica.clear({ pending: 'upload-first' });
    expect(await a.replica.count('visits')).toBe(0);
    expect(a.replica.status).toMatchObject({ lastRun: null, epoch: 0, parked: 0 });
    expect(a.replica.status.replica).not.toBe(before);
    expect(await a.replica.sync()).toMatchObject({ result: 'synced' });
    expect(await a.replica.get('visits', id)).toMatchObject({ subject: 's' });
    await a.replica.update('visits', id, { subject: 'dropped' });
    world.transport.setOnline(false);
    await expect(a.replica.clear({ pending: 'upload-first' })).rejects.toMatchObject({
      code: 'pending-operations',
    });
    await a.replica.clear({ pending: 'discard' });
    world.transport.setOnline(true);
    await a.replica.sync();
    expect(await a.replica.get('visits', id)).toMatchObject({ subject: 's' });
  });

  test('[SYN-47] clear loses no edit that was called before it and resolves after', async () => {
    await a.replica.sync();
    for (const pending of ['refuse', 'upload-first'] as const) {
      const edit = a.replica.create('visits', { subject: pending });
      const cleared = a.replica.clear({ pending }).catch((error: TidemarkError) => error.code);
      const late = a.replica.create('visits', { subject: `late, ${pending}` });
      const ids = await Promise.all([edit, late]);
      await cleared;
      await a.replica.sync();
      const kept = await Promise.all(ids.map((id) => a.replica.get('visits', id)));
      expect(kept.map((visit) => visit?.subject)).toEqual([pending, `late, ${pending}`]);
    }
  });

  test('[SYN-48] every run leaves a log here and on the server; the newest 200 are kept', async () => {
    await a.replica.create('visits', { subject: 's' });
    const log = await a.replica.sync();
    expect(log).toMatchObject({
      user: 'user-1',
      mode: 'foreground',
      uploadedOperations: 1,
      pendingOperations: 0,
      parked: 0,
    });
    expect(log.uploadedBytes).toBeGreaterThan(0);
    const kept = await world.merger.syncLogs(10);
    expect(JSON.stringify(kept)).toContain(log.run);
    for (let i = 0; i < 205; i += 1) await a.replica.sync({ mode: 'background' });
    const logs = await a.replica.logs();
    expect(logs).toHaveLength(200);
    expect(logs.some(({ run }) => run === log.run)).toBe(false);
    expect(await a.replica.logs(3)).toEqual(logs.slice(0, 3));
    for (const limit of [1.5, -1, Number.NaN])
      await expect(a.replica.logs(limit)).rejects.toMatchObject({ code: 'invalid-option' });
    expect(logs.map(({ startedOn }) => startedOn)).toEqual(
      logs.map(({ startedOn }) => startedOn).sort((x, y) => y - x),
    );
  });

  test('[SYN-49] the log is trimmed to what a checkpoint holds, and agreement still works', async () => {
    const id = await a.replica.create('visits', { subject: 's', count: 0 });
    for (let i = 0; i < 20; i += 1) await a.replica.increment('visits', id, 'count', 1);
    await a.replica.sync();
    expect(a.replica.status.archived).toEqual({ to: 0, complete: false });
    await world.merger.checkpoint();
    await a.replica.sync();
    expect(a.replica.status.archived).toEqual({ to: 21, complete: true });
    await a.replica.increment('visits', id, 'count', 1);
    await a.replica.sync();
    await a.replica.close();
    await world.reopen(a);
    await a.replica.increment('visits', id, 'count', 1);
    expect(await a.replica.sync()).toMatchObject({ result: 'synced', uploadedOperations: 1 });
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(22);
  });

  test('[SYN-50] many operations travel in several envelopes, once', async () => {
    const ids = await a.replica.transaction(async (edits) => {
      const made: string[] = [];
      for (let i = 0; i < 100; i += 1)
        made.push(await edits.create('visits', { subject: `${i} ${'y'.repeat(1_500)}`, count: 0 }));
      return made;
    });
    for (let round = 0; round < 12; round += 1)
      await a.replica.transaction(async (edits) => {
        for (const id of ids)
          await edits.update('visits', id, { subject: `${round} ${'z'.repeat(500)}` });
        for (const id of ids) await edits.increment('visits', id, 'count', 1);
      });
    const log = await a.replica.sync();
    expect(log).toMatchObject({ result: 'synced', uploadedOperations: 2_500 });
    const rows = await world.rows(1);
    expect(ids.every((id) => rows.get(id)?.fields[3] === 12)).toBe(true);
    expect(new Set(await world.fingerprints(a)).size).toBe(1);
  });

  test('[SYN-51] after close everything is refused', async () => {
    await a.replica.close();
    const refused = { code: 'replica-closed' };
    await expect(a.replica.sync()).rejects.toMatchObject(refused);
    await expect(a.replica.create('visits', { subject: 's' })).rejects.toMatchObject(refused);
    const { replica } = a;
    await expect(replica.get('visits', 'x')).rejects.toMatchObject(refused);
    await expect(replica.query('visits')).rejects.toMatchObject(refused);
    await expect(replica.pending()).rejects.toMatchObject(refused);
    await expect(replica.errors.list()).rejects.toMatchObject(refused);
    await expect(replica.logs()).rejects.toMatchObject(refused);
    await expect(replica.fingerprint('visits')).rejects.toMatchObject(refused);
    await expect(replica.clear({ pending: 'discard' })).rejects.toMatchObject(refused);
    expect(() => a.replica.connect()).toThrow(TidemarkError);
    await a.replica.close();
  });
});
