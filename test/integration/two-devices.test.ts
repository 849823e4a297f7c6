import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { World, type DeviceHandle } from './world.js';

let world: World;
let a: DeviceHandle;
let b: DeviceHandle;

beforeEach(async () => {
  world = await World.open();
  a = await world.device({ user: 'user-1' });
  b = await world.device({ user: 'user-2' });
});
afterEach(() => world.close());

const settle = async (): Promise<void> => {
  for (const { replica } of [a, b, a, b]) {
    const log = await replica.sync();
    expect(log).toMatchObject({ result: 'synced', error: null });
  }
};

const expectEqual = async (): Promise<void> => {
  const prints = await world.fingerprints(a, b);
  expect(new Set(prints).size, prints.join('\n')).toBe(1);
};

describe('two devices and a server', () => {
  test('[SYN-1] a first sync fills the device, and a second one moves nothing', async () => {
    await world.write(
      { kind: 'upsert', table: 1, id: 'v1', fields: { 1: 'first' } },
      { kind: 'upsert', table: 1, id: 'v2', fields: { 1: 'second', 3: 5 } },
    );
    expect(a.replica.status).toMatchObject({ hydrated: { visits: false }, synced: false });
    const log = await a.replica.sync();
    expect(log).toMatchObject({ result: 'synced', error: null, uploadedOperations: 0 });
    expect(await a.replica.get('visits', 'v2')).toMatchObject({ subject: 'second', count: 5 });
    expect(a.replica.status).toMatchObject({
      connection: 'offline',
      phase: 'idle',
      hydrated: { visits: true, tasks: true },
      synced: true,
      error: null,
    });
    const again = await a.replica.sync();
    expect(again).toMatchObject({ result: 'synced', pages: 1, tables: [] });
  });

  test('[SYN-2] offline edits of both reach the server and each other', async () => {
    const id = await a.replica.create('visits', { subject: 'a', count: 1 });
    const other = await b.replica.create('visits', { subject: 'b' });
    expect(a.replica.status).toMatchObject({ pending: { operations: 1 }, synced: false });
    expect(a.replica.status.pending.oldestAt).not.toBeNull();
    await settle();
    expect((await a.replica.query('visits')).map((one) => one.id).sort()).toEqual(
      [id, other].sort(),
    );
    await a.replica.update('visits', id, { subject: 'a2' });
    await b.replica.increment('visits', id, 'count', 4);
    await a.replica.increment('visits', id, 'count', 2);
    await settle();
    expect(await b.replica.get('visits', id)).toMatchObject({ subject: 'a2', count: 7 });
    await expectEqual();
    expect(a.replica.status.synced).toBe(true);
    expect(a.replica.status.pending).toEqual({ operations: 0, oldestAt: null });
  });

  test('[SYN-3] counters count once, whether the page comes before the receipt or after', async () => {
    const id = await a.replica.create('visits', { subject: 'stock', count: 10 });
    await settle();
    await a.replica.increment('visits', id, 'count', 5);
    expect(await a.replica.get('visits', id)).toMatchObject({ count: 15 });
    // A background run does not wait for the receipt.
    const log = await a.replica.sync({ mode: 'background' });
    expect(['synced', 'pending']).toContain(log.result);
    expect(await a.replica.get('visits', id)).toMatchObject({ count: 15 });
    await a.replica.sync({ mode: 'background' });
    expect(await a.replica.get('visits', id)).toMatchObject({ count: 15 });
    await settle();
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(15);
    await expectEqual();
  });

  test('[SYN-4] both texts survive edits without a document in common', async () => {
    const id = await a.replica.create('visits', { subject: 'note' });
    await settle();
    await a.replica.editText('visits', id, 'note', 'from user-1. ');
    await b.replica.editText('visits', id, 'note', 'from user-2. ');
    await settle();
    const { note } = (await a.replica.get('visits', id)) as { note: string };
    expect(note).toContain('from user-1. ');
    expect(note).toContain('from user-2. ');
    await expectEqual();
  });

  test('[ERR-60] a conflict is listed by names and resolved on the device', async () => {
    const id = await a.replica.create('visits', { subject: 's', status: 'planned' });
    await settle();
    await b.replica.update('visits', id, { status: 'done' });
    await b.replica.sync();
    await a.replica.update('visits', id, { status: 'cancelled' });
    await a.replica.sync();
    const [error, ...others] = await a.replica.errors.list();
    expect(others).toEqual([]);
    expect(error).toMatchObject({
      kind: 'conflict',
      state: 'open',
      table: 'visits',
      record: id,
      conflicts: [{ field: 'status', base: 'planned', ours: 'cancelled', theirs: 'done' }],
      resolving: false,
    });
    expect(error?.actions).toContain('merge');
    expect(await b.replica.errors.list()).toEqual([]);
    expect(a.replica.status).toMatchObject({ parked: 1, synced: false });
    expect(await a.replica.get('visits', id)).toMatchObject({ status: 'cancelled' });
    expect(await a.replica.recordState('visits', id)).toBe('parked');

    await a.replica.errors.resolve(error?.id ?? '', {
      action: 'merge',
      choices: [{ table: 'visits', record: id, field: 'status', pick: 'value', value: 'both' }],
    });
    expect(await a.replica.errors.list()).toMatchObject([{ resolving: true }]);
    await settle();
    expect(await a.replica.errors.list()).toEqual([]);
    expect(a.replica.status).toMatchObject({ parked: 0, synced: true });
    expect(await b.replica.get('visits', id)).toMatchObject({ status: 'both' });
    await expectEqual();
  });

  test('[ERR-61] a central resolution reaches the device, and a late one on the device is refused', async () => {
    const id = await a.replica.create('visits', { subject: 's', status: 'planned' });
    await settle();
    await b.replica.update('visits', id, { status: 'done' });
    await b.replica.sync();
    await a.replica.update('visits', id, { status: 'cancelled' });
    await a.replica.sync();
    const [error] = await a.replica.errors.list();
    const root = error?.id ?? '';
    await a.replica.errors.resolve(root, { action: 'retry' });
    await world.merger.resolve(root, { action: 'take-server', user: 'chief' });
    await settle();
    const [late] = await a.replica.errors.list({ state: 'all' });
    expect(late).toMatchObject({ state: 'resolved', lastResolution: { verdict: 'duplicate' } });
    expect(await a.replica.get('visits', id)).toMatchObject({ status: 'done' });
    expect(a.replica.status).toMatchObject({ parked: 0, synced: true });
    await expectEqual();
  });

  test('[ERR-62] a resolution that does not fit is refused and writes nothing', async () => {
    const id = await a.replica.create('visits', { subject: 's', status: 'planned' });
    await settle();
    await b.replica.update('visits', id, { status: 'done' });
    await b.replica.sync();
    await a.replica.update('visits', id, { status: 'cancelled' });
    await a.replica.sync();
    const [error] = await a.replica.errors.list();
    const root = error?.id ?? '';
    const { resolve } = a.replica.errors;
    const refused = { code: 'invalid-resolution' };
    await expect(resolve('nobody/1/1', { action: 'retry' })).rejects.toMatchObject(refused);
    await expect(resolve(root, { action: 'un-ignore' })).rejects.toMatchObject(refused);
    await expect(resolve(root, { action: 'merge' })).rejects.toMatchObject(refused);
    const choice = { table: 'visits', record: id, field: 'status' } as const;
    await expect(
      resolve(root, { action: 'merge', choices: [{ ...choice, field: 'subject', pick: 'mine' }] }),
    ).rejects.toMatchObject(refused);
    await expect(
      resolve(root, { action: 'merge', choices: [{ ...choice, pick: 'value', value: 5 }] }),
    ).rejects.toMatchObject({ code: 'invalid-value' });
    const ours = { ...choice, pick: 'ours' } as never;
    await expect(resolve(root, { action: 'merge', choices: [ours] })).rejects.toMatchObject(
      refused,
    );
    expect(a.replica.status.pending.operations).toBe(0);
  });

  test('[ERR-63] a delete against an edit shows whether the record lives', async () => {
    const task = await a.replica.create('tasks', { title: 't' });
    await settle();
    await b.replica.update('tasks', task, { title: 'changed' });
    await b.replica.sync();
    await a.replica.delete('tasks', task);
    expect(await a.replica.get('tasks', task)).toBeUndefined();
    await a.replica.sync();
    const [error] = await a.replica.errors.list();
    expect(error?.conflicts).toMatchObject([
      { field: null, base: true, ours: false, theirs: true },
    ]);
    await a.replica.errors.resolve(error?.id ?? '', { action: 'ignore' });
    await settle();
    expect(await a.replica.get('tasks', task)).toMatchObject({ title: 'changed' });
    expect(await a.replica.errors.list()).toMatchObject([
      { state: 'ignored', actions: ['un-ignore'] },
    ]);
    await expectEqual();
  });

  test('[SYN-5] a transaction parks whole and what does not depend on it flows', async () => {
    const id = await a.replica.create('visits', { subject: 's', status: 'planned' });
    await settle();
    await b.replica.update('visits', id, { status: 'done' });
    await b.replica.sync();
    const child = await a.replica.transaction(async (edits) => {
      await edits.update('visits', id, { status: 'cancelled' });
      return edits.create('tasks', { visit: id, title: 'call back' });
    });
    const free = await a.replica.create('tasks', { title: 'free' });
    await settle();
    expect((await world.rows(2)).has(child)).toBe(false);
    expect((await world.rows(2)).has(free)).toBe(true);
    expect(await a.replica.get('tasks', child)).toMatchObject({ title: 'call back' });
    const [error] = await a.replica.errors.list();
    expect(error).toMatchObject({ operations: 2 });
    expect(error?.actions).toContain('split');
    await a.replica.errors.resolve(error?.id ?? '', { action: 'take-server' });
    await settle();
    expect(await a.replica.get('tasks', child)).toBeUndefined();
    await expectEqual();
  });
});
