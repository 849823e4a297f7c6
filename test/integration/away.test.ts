import { TidemarkError } from '@tidemark/model';
import { envelopePageBytesMax } from '@tidemark/client';
import type { MergerOptions } from '@tidemark/merger';
import { receiptWaitMs } from '@tidemark/protocol';
import { afterEach, describe, expect, test } from 'vitest';
import { faultyTransport, World, type DeviceHandle } from './world.js';

let world: World;
afterEach(() => world.close());

const open = async (options: Partial<MergerOptions> = {}): Promise<void> => {
  world = await World.open(options);
};

const synced = async (...devices: readonly DeviceHandle[]): Promise<void> => {
  for (const { replica } of devices)
    expect(await replica.sync(), JSON.stringify(replica.status.error)).toMatchObject({
      result: 'synced',
    });
};

const expectEqual = async (...devices: readonly DeviceHandle[]): Promise<void> => {
  const prints = await world.fingerprints(...devices);
  expect(new Set(prints).size, prints.join('\n')).toBe(1);
};

const idOf = (i: number): string => `v${String(i).padStart(6, '0')}`;

const fill = async (from: number, to: number, status = 'planned'): Promise<void> => {
  for (let i = from; i < to; i += 500)
    await world.write(
      ...Array.from({ length: Math.min(500, to - i) }, (_, k) => ({
        kind: 'upsert' as const,
        table: 1,
        id: idOf(i + k),
        fields: { 1: `visit ${i + k}`, 2: status },
      })),
    );
};

const until = async (holds: () => boolean): Promise<void> => {
  for (let i = 0; i < 500 && !holds(); i += 1) await new Promise((done) => setTimeout(done, 10));
  expect(holds()).toBe(true);
};

const moved = (log: { readonly tables: readonly { readonly upserts: number }[] }): number =>
  log.tables.reduce((sum, { upserts }) => sum + upserts, 0);

describe('a device that was away longer than the feed reaches', () => {
  const away = async (pass: () => Promise<void>): Promise<void> => {
    await fill(0, 3_000);
    const a = await world.device();
    await synced(a);
    await a.replica.update('visits', idOf(5), { subject: 'mine, meanwhile' });
    await world.write({ kind: 'delete', table: 1, id: idOf(7) });
    await world.write({ kind: 'patch', table: 1, id: idOf(8), fields: { 2: 'moved' } });
    const { n } = world.merger.state();
    await pass();
    await until(() => world.merger.status().horizon.n > n);
    const log = await a.replica.sync();
    expect(log, JSON.stringify(a.replica.status.error)).toMatchObject({ result: 'synced' });
    expect(a.events).toContainEqual({ type: 'repair', reason: 'horizon' });
    expect(await a.replica.get('visits', idOf(7))).toBeUndefined();
    expect((await a.replica.get('visits', idOf(5)))?.subject).toBe('mine, meanwhile');
    // Ranges of 1,024 ids that differ: not the table.
    expect(moved(log)).toBeLessThan(40);
    await synced(a);
    await expectEqual(a);
    expect(await a.replica.get('visits', idOf(7))).toBeUndefined();
  };

  test('[SYN-34] repairs by difference behind a horizon of days; what was deleted stays away', async () => {
    await open({ horizon: { days: 2 } });
    await away(async () => {
      for (let day = 0; day < 5; day += 1) {
        world.clock.now += 86_400_000;
        await world.write({ kind: 'upsert', table: 1, id: 'day', fields: { 1: `day ${day}` } });
      }
    });
  });

  test('[SYN-34] repairs by difference behind a horizon of bytes', async () => {
    await open({ horizon: { bytes: 20_000 } });
    await away(async () => {
      for (let i = 0; i < 40; i += 1)
        await world.write({
          kind: 'upsert',
          table: 1,
          id: 'day',
          fields: { 1: `${i} ${'x'.repeat(1_500)}` },
        });
    });
  });

  test('[SYN-35] a repair that is cut goes on in the middle, also after a restart', async () => {
    await open({ horizon: { days: 2 } });
    await fill(0, 3_000);
    const a = await world.device();
    await synced(a);
    await fill(0, 3_000, 'changed');
    for (let day = 0; day < 5; day += 1) {
      world.clock.now += 86_400_000;
      await world.write({ kind: 'upsert', table: 1, id: 'day', fields: { 1: `day ${day}` } });
    }
    const before = world.merger.state().n;
    await until(() => world.merger.status().horizon.n > before - 6);
    let allowed = 1;
    const faulty = faultyTransport(world.transport, (endpoint, call) =>
      endpoint === 'compare' && call > allowed
        ? new TidemarkError('denied', 'cut by the test')
        : undefined,
    );
    let rows = 0;
    let runs = 0;
    for (let result = ''; result !== 'synced' && runs < 60; runs += 1) {
      await a.replica.close();
      await world.reopen(a, { transport: faulty });
      const log = await a.replica.sync();
      ({ result } = log);
      rows += moved(log);
      allowed = (faulty.calls.get('compare') ?? 0) + 2;
    }
    expect(a.replica.status.synced).toBe(true);
    expect(runs).toBeGreaterThan(2);
    // Each run may repeat the range at which it was cut, never the table.
    expect(rows).toBeLessThan(2 * 3_000);
    await expectEqual(a);
  });
});

describe('sync errors over restarts', () => {
  const conflict = async (a: DeviceHandle, id: string): Promise<void> => {
    await world.write({ kind: 'patch', table: 1, id, fields: { 2: 'office' } });
    await a.replica.update('visits', id, { status: 'mine' });
    await synced(a);
  };

  test('[ERR-64] a watched list comes at once and after each change', async () => {
    await open();
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 's', status: 'new' });
    await synced(a);
    const stop = new AbortController();
    const watched = a.replica.errors.watch(stop.signal)[Symbol.asyncIterator]();
    expect((await watched.next()).value).toEqual([]);
    await conflict(a, id);
    const next = async (holds: (list: readonly { readonly state: string }[]) => boolean) => {
      for (let i = 0; i < 50; i += 1) {
        const { value } = await watched.next();
        if (value !== undefined && holds(value)) return value;
      }
      throw new Error('the list did not come');
    };
    const [error] = await next((list) => list.length === 1);
    await a.replica.errors.resolve(error?.id ?? '', { action: 'take-server' });
    expect((await next((list) => list.length === 1))[0]).toMatchObject({ resolving: true });
    await synced(a, a);
    await next((list) => list.length === 0);
    stop.abort();
    expect(await watched.next()).toMatchObject({ done: true });
  });

  test('[ERR-66] a decision made offline is kept over a restart, and a stale one says so', async () => {
    await open();
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 's', status: 'new' });
    await synced(a);
    await conflict(a, id);
    await a.replica.close();
    await world.reopen(a);
    const [error] = await a.replica.errors.list();
    const choices = [{ table: 'visits', record: id, field: 'status', pick: 'mine' as const }];
    await a.replica.errors.resolve(error?.id ?? '', { action: 'merge', choices });
    await a.replica.close();
    await world.reopen(a);
    expect((await a.replica.errors.list())[0]).toMatchObject({ resolving: true });
    expect((await a.replica.get('visits', id))?.status).toBe('mine');
    // The record moves on before the decision comes.
    await world.write({ kind: 'patch', table: 1, id, fields: { 2: 'office again' } });
    await synced(a, a);
    const [stale] = await a.replica.errors.list();
    expect(stale).toMatchObject({ resolving: false, lastResolution: { verdict: 'stale' } });
    expect(stale?.conflicts[0]).toMatchObject({ ours: 'mine', theirs: 'office again' });
    expect((await a.replica.get('visits', id))?.status).toBe('mine');
    await a.replica.errors.resolve(stale?.id ?? '', { action: 'merge', choices });
    await synced(a, a);
    expect(await a.replica.errors.list()).toEqual([]);
    expect((await world.rows(1)).get(id)?.fields[2]).toBe('mine');
    expect(a.replica.status).toMatchObject({ synced: true, parked: 0 });
    await expectEqual(a);
  });

  test('[ERR-67] an ignored edit leaves the view, and its value comes back with un-ignore', async () => {
    await open();
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 's', status: 'new' });
    await synced(a);
    await conflict(a, id);
    const [error] = await a.replica.errors.list();
    await a.replica.errors.resolve(error?.id ?? '', { action: 'ignore' });
    await synced(a, a);
    expect((await a.replica.get('visits', id))?.status).toBe('office');
    expect(await a.replica.errors.list()).toMatchObject([
      { state: 'ignored', actions: ['un-ignore'] },
    ]);
    await a.replica.close();
    await world.reopen(a);
    await a.replica.errors.resolve(error?.id ?? '', { action: 'un-ignore' });
    await synced(a, a);
    expect(await a.replica.errors.list()).toMatchObject([{ state: 'open' }]);
    expect((await a.replica.get('visits', id))?.status).toBe('mine');
    expect(a.replica.status).toMatchObject({ parked: 1, synced: false });
  });

  test('[ERR-68] what validation refuses comes back with its message; a correction goes through', async () => {
    await open({
      validate: ({ operations }) =>
        operations.some(({ set }) => set['status'] === 'bad') ? 'bad is not a status' : undefined,
    });
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 's', status: 'bad' });
    const free = await a.replica.create('visits', { subject: 'free' });
    await synced(a);
    expect(await a.replica.errors.list()).toMatchObject([
      { record: id, message: expect.stringContaining('bad is not a status') as string },
    ]);
    expect([...(await world.rows(1)).keys()]).toEqual([free]);
    await a.replica.update('visits', id, { status: 'good' });
    await synced(a, a);
    expect(await a.replica.errors.list()).toEqual([]);
    expect((await world.rows(1)).get(id)?.fields).toMatchObject({ 1: 's', 2: 'good' });
    await expectEqual(a);
  });

  test('[SYN-79] a foreground run waits for its receipt as long as the server merges', async () => {
    const envelopes = 3;
    const windowMs = 0.65 * receiptWaitMs;
    await open({
      window: { messagesMax: 1 },
      validate: async () => {
        await new Promise((done) => setTimeout(done, windowMs));
        world.clock.now += windowMs;
        return undefined;
      },
    });
    const a = await world.device();
    // Two transactions do not fit an envelope, and each envelope is a window.
    const records = 6;
    const subject = 's'.repeat(Math.floor((0.9 * envelopePageBytesMax) / records));
    for (let i = 0; i < envelopes; i += 1)
      await a.replica.transaction(async (edits) => {
        for (let k = 0; k < records; k += 1) await edits.create('visits', { subject });
      });
    expect(await a.replica.sync()).toMatchObject({ result: 'synced', pendingOperations: 0 });
    expect(a.replica.status).toMatchObject({ pending: { operations: 0 }, synced: true });
  });

  test('[SYN-6] with atomicity per record only the record in conflict waits', async () => {
    await open();
    const a = await world.device();
    const one = await a.replica.create('visits', { subject: 'one', status: 'new' });
    const two = await a.replica.create('visits', { subject: 'two', status: 'new' });
    await synced(a);
    await world.write({ kind: 'patch', table: 1, id: one, fields: { 2: 'office' } });
    await a.replica.transaction(
      async (edits) => {
        await edits.update('visits', one, { status: 'mine' });
        await edits.update('visits', two, { status: 'mine' });
      },
      { atomicity: 'per-record' },
    );
    await synced(a);
    const rows = await world.rows(1);
    expect([one, two].map((id) => rows.get(id)?.fields[2])).toEqual(['office', 'mine']);
    expect(await a.replica.errors.list()).toMatchObject([{ record: one, operations: 1 }]);
    expect((await a.replica.get('visits', one))?.status).toBe('mine');
  });
});

describe('a scope with filter and projection', () => {
  test('[SYN-52] records move in and out; what left is evicted, not deleted, and own edits are kept', async () => {
    await open();
    await fill(0, 4, 'north');
    await fill(4, 6, 'south');
    const scope = {
      tables: { visits: { filter: "status = 'north'", fields: ['subject', 'status'] } },
    } as const;
    const a = await world.device({ scope });
    await synced(a);
    const held = async (): Promise<readonly string[]> =>
      (await a.replica.query('visits')).map(({ id }) => id).sort();
    expect(await held()).toEqual([0, 1, 2, 3].map(idOf));
    await world.write(
      { kind: 'patch', table: 1, id: idOf(0), fields: { 2: 'south' } },
      { kind: 'patch', table: 1, id: idOf(4), fields: { 2: 'north' } },
      { kind: 'delete', table: 1, id: idOf(1) },
      { kind: 'patch', table: 1, id: idOf(2), fields: { 5: 7 } },
    );
    const log = await a.replica.sync();
    expect(log.tables.find(({ table }) => table === 'visits')).toMatchObject({
      upserts: 1,
      touches: 1,
      evicts: 2,
    });
    expect(await held()).toEqual([2, 3, 4].map(idOf));
    expect((await a.replica.get('visits', idOf(2)))?.rank).toBeNull();
    // Edited offline while it leaves the scope: the edit reaches the server, the record stays away.
    await a.replica.update('visits', idOf(3), { subject: 'edited' });
    await world.write({ kind: 'patch', table: 1, id: idOf(3), fields: { 2: 'south' } });
    await synced(a, a);
    expect((await world.rows(1)).get(idOf(3))?.fields).toMatchObject({ 1: 'edited', 2: 'south' });
    expect(await held()).toEqual([2, 4].map(idOf));
    expect(a.replica.status).toMatchObject({ synced: true, parked: 0 });
    // Evicted is not deleted: it comes back when it is in scope again.
    await world.write({ kind: 'patch', table: 1, id: idOf(0), fields: { 2: 'north' } });
    await synced(a);
    expect(await held()).toEqual([0, 2, 4].map(idOf));
  });
});
