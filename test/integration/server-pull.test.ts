import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pullEntriesMax } from '@tidemark/merger';
import { transactionOpsMax } from '@tidemark/model';
import { openReplica } from '@tidemark/node';
import { describe, expect, test } from 'vitest';
import { memory, openFixture, place, randomFrom, schema, type Fixture } from './server-fixture.js';
import { PullingDevice } from './pulling-device.js';

const all = { tables: 'all' } as const;
const north = {
  tables: {
    places: { fields: ['name', 'size'], filter: "region = 'north' and size > 10" },
    plain: {},
  },
} as const;
const pinned = { tables: { places: { filter: "region = 'north'" } } } as const;
const scopes = { all, north, pinned };

/** First byte of the keys of feed segments. */
const feedSpace = 0x43;

const user = { user: 'root' };
const fill = (f: Fixture, count: number): Promise<unknown> =>
  f.server.write(
    Array.from({ length: count }, (_, i) => place(i)),
    user,
  );

const expectEqual = async (f: Fixture, device: PullingDevice): Promise<void> => {
  const { tables } = device.scope;
  const selection = tables === 'all' ? {} : (tables['places'] ?? {});
  expect(device.fingerprint(1)).toBe(await f.server.fingerprint('places', selection));
};

describe('download', () => {
  test('[PUL-50] a first pull fills, a second one costs reads that do not depend on the table', async () => {
    const costs: number[] = [];
    for (const count of [10, 3_000]) {
      const f = await openFixture();
      await fill(f, count);
      const device = new PullingDevice(await f.link('r1'), all);
      const first = await device.pull();
      expect(first.to).toBe(f.server.status().state.n);
      expect(device.sorted(1)).toHaveLength(count);
      await expectEqual(f, device);
      const again = await device.pull();
      expect(again.closing).toBe(true);
      costs.push(again.reads);
      await f.server.close();
    }
    expect(costs[0]).toBe(costs[1]);
    expect(costs[0]).toBeLessThan(5);
  });

  test('[PUL-51] a change of 100 records among many moves 100 entries', async () => {
    const f = await openFixture();
    await fill(f, 3_000);
    const device = new PullingDevice(await f.link('r1'), all);
    await device.pull();
    device.entries = { upsert: 0, touch: 0, evict: 0 };
    await f.server.write(
      Array.from({ length: 100 }, (_, i) => place(i * 7, { size: -1 })),
      user,
    );
    await device.pull();
    expect(device.entries).toEqual({ upsert: 100, touch: 0, evict: 0 });
    await expectEqual(f, device);
    await f.server.close();
  });

  test('[PUL-52] a pull goes on at a server that folded the same input in other windows', async () => {
    const input = memory();
    const a = await openFixture({ databases: { store: memory(), input } });
    await fill(a, 100);
    const device = new PullingDevice(await a.link('r1'), all, 4_096);
    await device.pull();
    const large = { secret: 'y'.repeat(200) };
    await a.server.write(
      Array.from({ length: 100 }, (_, i) => place(i, large)),
      user,
    );
    // Its id comes before those that the first page ends with, its change behind theirs.
    await a.server.write([{ ...place(7_777), id: 'a0001' }], user);
    expect((await device.page()).closing).toBe(false);
    await a.server.close();
    const b = await openFixture({ databases: { store: memory(), input } });
    const other = new PullingDevice(await b.link('r1'), all, 4_096);
    Object.assign(other, { cursor: device.cursor, seen: device.seen });
    for (const [table, rows] of device.tables) other.tables.set(table, new Map(rows));
    await other.pull();
    await expectEqual(b, other);
    await b.server.close();
  });

  test('[PUL-54] a window that alone holds more than an answer reads is passed, and what follows it, too', async () => {
    const f = await openFixture();
    await fill(f, 3);
    const device = new PullingDevice(await f.link('r1'), all);
    await device.pull();
    // The writer's operations are so short that one envelope holds them all, and an envelope is one window.
    const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-pull-'));
    const account = { tenant: 'acme', user: 'root', schema };
    const writer = await openReplica({ folder, ...account, transport: f.server.transport });
    const transactions = Math.ceil((pullEntriesMax + 1) / transactionOpsMax);
    for (let t = 0; t < transactions; t += 1)
      await writer.transaction(async (edits) => {
        for (let i = 0; i < transactionOpsMax; i += 1) await edits.create('plain', {}, `${t}-${i}`);
      });
    await writer.sync();
    await fill(f, 5);
    await device.pull(undefined, 100);
    expect(device.sorted(2)).toHaveLength(transactions * transactionOpsMax);
    await expectEqual(f, device);
    await writer.close();
    await rm(folder, { recursive: true });
    await f.server.close();
  });

  test('[PUL-77] what others change in another scope is not read, but to walk records back', async () => {
    const databases = { store: memory(), input: memory() };
    const f = await openFixture({ databases });
    await fill(f, 600);
    const device = new PullingDevice(await f.link('r1'), pinned);
    await device.pull();
    const feed = { gte: Uint8Array.of(feedSpace), lt: Uint8Array.of(feedSpace + 1) };
    const known = (await databases.store.keys(feed).all()).length;
    const southern = (round: number) =>
      Array.from({ length: 400 }, (_, i) => place((i >> 1) * 3 + 1 + (i & 1), { rank: round }));
    for (let round = 1; round <= 10; round += 1) await f.server.write(southern(round), user);
    const foreign = (await databases.store.iterator(feed).all()).slice(known);
    expect(foreign.length).toBeGreaterThan(0);
    // Whoever reads one of them meets damage.
    for (const [key] of foreign) await databases.store.put(key, Uint8Array.of(99));
    await device.pull();
    await expectEqual(f, device);
    for (const [key, value] of foreign) await databases.store.put(key, value);
    device.entries = { upsert: 0, touch: 0, evict: 0 };
    // Changed out of view, then brought into it, and one that was in view all along.
    await f.server.write([place(4, { size: 7 }), place(5, { size: 8 })], user);
    await f.server.write([place(4, { region: 'north' }), place(3, { size: 9 })], user);
    await f.server.write([place(4, { region: 'south' }), place(7, { rank: 1 })], user);
    await device.pull();
    expect(device.entries).toEqual({ upsert: 1, touch: 0, evict: 0 });
    expect(device.strangers).toEqual([]);
    await expectEqual(f, device);
    await f.server.close();
  });

  test('[PUL-77] a record that left the scope goes, whatever changes behind the version of the pass', async () => {
    const f = await openFixture();
    const large = { rank: 5, secret: 'x'.repeat(200) };
    const held = 99;
    await fill(f, 3 * held);
    // One window of many versions: segments that hold a version of a pass may end far behind it.
    const foreign = (i: number, more = {}) => place(1_000 + i, { region: 'west', ...more });
    await Promise.all(Array.from({ length: 30 }, (_, i) => f.server.write([foreign(i)], user)));
    const filter = "region = 'north' and size > 10";
    const device = new PullingDevice(await f.link('r1'), { tables: { places: { filter } } }, 4_096);
    await device.pull();
    await f.server.write(
      Array.from({ length: held }, (_, i) => place(3 * i, large)),
      user,
    );
    await f.server.write([place(33, { region: 'south', ...large })], user);
    await device.pull(async (page) => {
      if (page !== 1) return;
      await f.server.write([place(33, { region: 'south', size: 1, ...large })], user);
      await f.server.write([foreign(1, { rank: 9 })], user);
    });
    expect(device.fingerprint(1)).toBe(await f.server.fingerprint('places', { filter }));
    await f.server.close();
  });

  test('[PUL-52] each page may be asked for again, and a pull goes on where it stopped', async () => {
    const f = await openFixture();
    await fill(f, 40);
    const link = await f.link('r1');
    const device = new PullingDevice(link, all, 1);
    const reference = new PullingDevice(await f.link('r1'), all, 1);
    await device.pull(async () => {
      // The answer was lost: ask again with the same cursor in a new device object.
      const { cursor } = device;
      const before = device.entries.upsert;
      await device.page();
      expect(device.entries.upsert).toBeGreaterThanOrEqual(before);
      device.cursor = cursor;
    });
    await reference.pull();
    expect(device.fingerprint(1)).toBe(reference.fingerprint(1));
    expect(reference.entries.upsert).toBe(40);
    await f.server.close();
  });

  test('[PUL-53] the filter decides membership then and now: in, out, touch, nothing', async () => {
    const f = await openFixture();
    await fill(f, 60);
    const device = new PullingDevice(await f.link('r1'), north);
    await device.pull();
    await expectEqual(f, device);
    device.entries = { upsert: 0, touch: 0, evict: 0 };
    await f.server.write(
      [
        { kind: 'patch', table: 'places', id: 'p00012', fields: { secret: 'x' } },
        { kind: 'patch', table: 'places', id: 'p00015', fields: { region: 'south' } },
        { kind: 'patch', table: 'places', id: 'p00016', fields: { region: 'north' } },
        { kind: 'patch', table: 'places', id: 'p00001', fields: { size: 2 } },
        { kind: 'delete', table: 'places', id: 'p00018' },
        { kind: 'delete', table: 'places', id: 'p00002' },
      ],
      user,
    );
    await device.pull();
    expect(device.entries).toEqual({ upsert: 1, touch: 1, evict: 2 });
    expect(device.strangers).toEqual([]);
    await expectEqual(f, device);
    const versions = new Map(device.sorted(1));
    expect(versions.get('p00012')?.fields).toEqual({ 1: 'Place 12', 3: 12 });
    await f.server.close();
  });

  test('[PUL-54] a pull ends while writes go on between all its pages', async () => {
    const f = await openFixture();
    await fill(f, 30);
    for (const [name, scope] of Object.entries(scopes)) {
      const device = new PullingDevice(await f.link(`r-${name}`), scope, 5_200);
      const random = randomFrom(5);
      const answer = await device.pull(async () => {
        const ops = Array.from({ length: 4 }, () =>
          place(random(30), { size: random(40), region: random(2) === 0 ? 'north' : 'south' }),
        );
        await f.server.write(ops, user);
      }, 1_500);
      expect(answer.closing).toBe(true);
      // What was shown as of a version is made good by the next pull.
      await device.pull();
      await expectEqual(f, device);
    }
    await f.server.close();
  });

  test('[PUL-55] a forged or foreign cursor is refused without a hint', async () => {
    const f = await openFixture();
    await fill(f, 5);
    const device = new PullingDevice(await f.link('r1'), all);
    await device.pull();
    const stranger = new PullingDevice(await f.link('r2'), all);
    stranger.cursor = device.cursor;
    await expect(stranger.page()).rejects.toMatchObject({ code: 'invalid-cursor' });
    const otherUser = new PullingDevice(await f.link('r1', 'user-3'), all);
    otherUser.cursor = device.cursor;
    await expect(otherUser.page()).rejects.toMatchObject({ code: 'invalid-cursor' });
    device.cursor = `${device.cursor ?? ''}A`;
    await expect(device.page()).rejects.toMatchObject({ code: 'invalid-cursor' });
    await f.server.close();
  });

  test('[PUL-56] another scope, incarnation or a horizon passed asks for a repair', async () => {
    const f = await openFixture({ horizon: { days: 1 } });
    await fill(f, 20);
    const device = new PullingDevice(await f.link('r1'), all);
    await device.pull();
    const other = new PullingDevice(await f.link('r1'), pinned);
    other.cursor = device.cursor;
    expect((await other.page()).rehydrate).toBe('scope');
    for (let i = 0; i < 6; i += 1) {
      f.clock.advance(3_600_000 * 12);
      await f.server.write([place(i, { size: 1_000 + i })], user);
      await f.server.settle();
    }
    await f.server.write([{ kind: 'delete', table: 'places', id: 'p00019' }], user);
    // The cut runs behind the windows.
    for (let i = 0; i < 100 && f.server.status().horizon.n === 0; i += 1)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect((await device.page()).rehydrate).toBe('horizon');
    const came = await device.repair([
      ['places', 1],
      ['plain', 2],
    ]);
    expect(came).toBeLessThan(20);
    const answer = await device.pull();
    expect(answer.closing).toBe(true);
    await expectEqual(f, device);
    await f.server.close();
  });

  test('[PUL-57] a repair under writes ends equal after the pull that follows', async () => {
    const f = await openFixture();
    await fill(f, 25);
    const device = new PullingDevice(await f.link('r1'), north, 1);
    await device.pull();
    device.tables.get(1)?.delete('p00012');
    device.tables.get(1)?.delete('p00024');
    const repairing = device.repair(
      [
        ['places', 1],
        ['plain', 2],
        ['sync_errors', 60_001],
      ],
      2,
    );
    await f.server.write(
      [place(13, { region: 'north', size: 50 }), place(15, { region: 'south' })],
      user,
    );
    await repairing;
    await device.pull();
    await expectEqual(f, device);
    await f.server.close();
  });

  test('[PUL-59] a record that a fill met in scope between two versions is evicted when it left again', async () => {
    const f = await openFixture();
    await f.server.write(
      Array.from({ length: 8 }, (_, i) => place(i, { region: i === 6 ? 'south' : 'north' })),
      user,
    );
    // Table plain is filled after places: the catch-up begins only when it is through.
    const titles = Array.from({ length: 5 }, (_, i) => `t${i}`);
    await f.server.write(
      titles.map((id) => ({ kind: 'put' as const, table: 'plain' as const, id, fields: {} })),
      user,
    );
    const both = { tables: { ...pinned.tables, plain: {} } } as const;
    for (const scope of [both, all]) {
      const device = new PullingDevice(await f.link(`r${scope === all ? 1 : 2}`), scope, 1);
      await device.page();
      await f.server.write([place(6, { region: 'north' }), place(9, { region: 'north' })], user);
      while (!(device.tables.get(1)?.has('p00009') ?? false)) await device.page();
      expect(device.tables.get(1)?.has('p00006')).toBe(true);
      await f.server.write(
        [
          { kind: 'patch', table: 'places', id: 'p00006', fields: { region: 'south' } },
          { kind: 'delete', table: 'places', id: 'p00009' },
        ],
        user,
      );
      expect((await device.pull()).closing).toBe(true);
      expect(device.tables.get(1)?.has('p00006')).toBe(scope === all);
      await expectEqual(f, device);
    }
    await f.server.close();
  });
});
