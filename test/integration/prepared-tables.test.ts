import { describe, expect, test } from 'vitest';
import { memory, openFixture, place, type Fixture } from './server-fixture.js';
import { PullingDevice } from './pulling-device.js';

const all = { tables: 'all' } as const;
const user = { user: 'root' };
/** Every table from the first byte on, a row in each block; prepared anew when more than 2 KB changed. */
const prepared = { bytesMin: 1, stepBytes: 1, staleBytesMin: 2_048 };
/** The least that a device may ask for: a row or a block in each answer. */
const smallest = 1;

const fill = (f: Fixture, count: number): Promise<unknown> =>
  f.server.write(
    Array.from({ length: count }, (_, i) => place(i)),
    user,
  );
const remove = (f: Fixture, i: number): Promise<unknown> =>
  f.server.write([{ kind: 'delete', table: 'places', id: place(i).id }], user);
const device = async (f: Fixture, name: string, maxBytes = 200_000): Promise<PullingDevice> =>
  new PullingDevice(await f.link(name), all, maxBytes, true);
const expectEqual = async (f: Fixture, one: PullingDevice): Promise<void> => {
  expect(one.fingerprint(1)).toBe(await f.server.fingerprint('places', {}));
};

describe('prepared tables', () => {
  test('[PUL-70] the first replica that gets a table whole prepares its blocks, others get the same bytes', async () => {
    const f = await openFixture({ prepared });
    await fill(f, 40);
    const first = await device(f, 'r1');
    await first.pull();
    const second = await device(f, 'r2');
    const answer = await second.pull();
    for (const one of [first, second]) {
      expect([one.rowsInBlocks, one.entries.upsert]).toEqual([40, 0]);
      await expectEqual(f, one);
    }
    expect(answer.reads).toBeLessThan(45);
    await f.server.close();
  });

  test('[PUL-70] a table that is small, filtered or projected goes row by row, and so it does to older replicas', async () => {
    const f = await openFixture();
    await fill(f, 40);
    const whole = await device(f, 'r1');
    await whole.pull();
    expect([whole.rowsInBlocks, whole.entries.upsert]).toEqual([0, 40]);
    await f.server.close();

    const g = await openFixture({ prepared });
    await fill(g, 40);
    const older = new PullingDevice(await g.link('r1'), all);
    const filter = { tables: { places: { filter: 'size >= 0' } } } as const;
    const filtered = new PullingDevice(await g.link('r2'), filter, 200_000, true);
    for (const one of [older, filtered]) {
      await one.pull();
      expect([one.rowsInBlocks, one.entries.upsert]).toEqual([0, 40]);
      await expectEqual(g, one);
    }
    await g.server.close();
  });

  test('[PUL-79] a replica that takes packs gets them as they lie, and all others the same rows', async () => {
    const f = await openFixture({ prepared: { ...prepared, stepBytes: 700, packedBytesMin: 1 } });
    await fill(f, 40);
    const made: PullingDevice[] = [];
    for (const [name, ready, maxBytes] of [
      ['r1', ['brotli'], 200_000],
      ['r2', ['zstd', 'brotli'], 200_000],
      ['r3', ['zstd'], 200_000],
      ['r4', ['brotli'], smallest],
      ['r5', [], 200_000],
    ] as const) {
      const one = await device(f, name, maxBytes);
      one.ready = ready;
      await one.pull();
      expect([one.rowsInBlocks, one.entries.upsert]).toEqual([40, 0]);
      await expectEqual(f, one);
      made.push(one);
    }
    const packed = made.map((one) => one.packed);
    expect(packed[0]).toBeGreaterThan(3);
    expect(packed).toEqual([packed[0], packed[0], 0, expect.any(Number), 0]);
    await f.server.close();
  });

  test('[PUL-79] a pack is an answer of its own behind the rows of a table before it', async () => {
    const f = await openFixture({
      prepared: { ...prepared, bytesMin: 3_000, stepBytes: 100_000, packedBytesMin: 1 },
    });
    await fill(f, 200);
    const titles = Array.from({ length: 5 }, (_, i) => ({
      ...{ kind: 'put' as const, table: 'plain' as const, id: `q${i}` },
      fields: { title: 't' },
    }));
    await f.server.write(titles, user);
    const one = await device(f, 'r1');
    one.ready = ['brotli'];
    await one.pull();
    expect(one.packed).toBeGreaterThan(0);
    expect([one.rowsInBlocks, one.sorted(2).length]).toEqual([200, 5]);
    await expectEqual(f, one);
    await f.server.write([place(300)], user);
    await one.pull();
    await expectEqual(f, one);
    await f.server.close();
  });

  test('[PUL-79] a pack of several blocks goes block by block where an answer has room for one', async () => {
    const f = await openFixture({ prepared: { ...prepared, stepBytes: 100_000 } });
    await fill(f, 1_200);
    await (await device(f, 'r1')).pull();
    for (const ready of [[], ['brotli']]) {
      const one = await device(f, `smallest-${ready.length}`, smallest);
      one.ready = ready;
      await one.pull();
      expect(one.pages).toBeGreaterThan(5);
      expect([one.rowsInBlocks, one.entries.upsert, one.packed]).toEqual([1_200, 0, 0]);
      await expectEqual(f, one);
    }
    await f.server.close();
  });

  test('[PUL-79] packs of many short rows fit the answers of a device as it asks', async () => {
    const f = await openFixture();
    const rows = 8_000;
    const id = (i: number): string => `${String(i).padStart(8, '0')}-1111-4222-8333-444455556666`;
    await f.server.write(
      Array.from({ length: rows }, (_, i) => ({ ...place(i), id: id(i) })),
      user,
    );
    for (const ready of [['brotli'], ['brotli'], []]) {
      const one = await device(f, `asks-${ready.length}`, 512 * 1_024);
      one.ready = ready;
      await one.pull();
      expect([one.rowsInBlocks, one.entries.upsert]).toEqual([rows, 0]);
      // The last answer may bring nothing but the end.
      if (ready.length > 0) expect(one.packed).toBeGreaterThanOrEqual(one.pages - 1);
      expect(one.pages).toBeLessThan(8);
      await expectEqual(f, one);
    }
    await f.server.close();
  });

  test('[PUL-79] a pack behind whose beginning a fill stopped is opened', async () => {
    const f = await openFixture({
      prepared: { ...prepared, stepBytes: 100_000, packedBytesMin: 1 },
    });
    await fill(f, 40);
    await (await device(f, 'r1')).pull();
    const one = await device(f, 'r2', smallest);
    one.blocks = false;
    for (let page = 0; page < 7; page += 1) await one.page();
    const rows = one.entries.upsert;
    one.blocks = true;
    one.ready = ['brotli'];
    await one.pull();
    expect([rows, one.rowsInBlocks]).toEqual([rows, 40 - rows]);
    await expectEqual(f, one);
    await f.server.close();
  });

  test('[PUL-71] blocks show an older state, and the feed brings what changed since', async () => {
    const f = await openFixture({ prepared });
    await fill(f, 40);
    await (await device(f, 'r1')).pull();
    await f.server.write([place(3, { size: -3 }), place(100)], user);
    await remove(f, 4);
    const second = await device(f, 'r2');
    await second.pull();
    expect(second.rowsInBlocks).toBe(40);
    expect(second.entries).toEqual({ upsert: 2, touch: 0, evict: 1 });
    await expectEqual(f, second);
    await f.server.close();
  });

  test('[PUL-71] a record that came into a block behind its version and went again is evicted', async () => {
    const f = await openFixture({ prepared });
    await fill(f, 5);
    const first = await device(f, 'r1', smallest);
    await first.page();
    await f.server.write([place(9)], user);
    await first.pull();
    await remove(f, 9);
    const second = await device(f, 'r2');
    await second.pull();
    expect(second.rowsInBlocks).toBe(6);
    expect(second.sorted(1)).toHaveLength(5);
    await expectEqual(f, second);
    await f.server.close();
  });

  test('[PUL-72] a table of which much changed is prepared anew, also while a replica is in the middle of it', async () => {
    const f = await openFixture({ prepared });
    await fill(f, 40);
    const slow = await device(f, 'r1', smallest);
    for (let page = 0; page < 20; page += 1) await slow.page();
    await f.server.write(
      Array.from({ length: 60 }, (_, i) => place(i, { size: -1 - i, secret: 'x'.repeat(50) })),
      user,
    );
    const second = await device(f, 'r2');
    await second.pull();
    expect([second.rowsInBlocks, second.entries.upsert]).toEqual([60, 0]);
    await expectEqual(f, second);
    await slow.pull();
    await expectEqual(f, slow);
    await f.server.close();
  });

  test('[PUL-72] a fill that stopped inside of a block goes on behind its row', async () => {
    const f = await openFixture({ prepared: { ...prepared, stepBytes: 100_000 } });
    await fill(f, 40);
    await (await device(f, 'r1')).pull();
    const one = await device(f, 'r2', smallest);
    one.blocks = false;
    for (let page = 0; page < 7; page += 1) await one.page();
    const rows = one.entries.upsert;
    expect(rows).toBeGreaterThan(0);
    one.blocks = true;
    await one.pull();
    expect([rows, one.rowsInBlocks]).toEqual([rows, 40 - rows]);
    await expectEqual(f, one);
    await f.server.close();
  });

  test('[PUL-72] a fill that was given up holds up nobody, also when the feed was cut since', async () => {
    const f = await openFixture({ prepared, horizon: { bytes: 1_500 } });
    await fill(f, 10);
    const titles = Array.from({ length: 5 }, (_, i) => ({
      ...{ kind: 'put' as const, table: 'plain' as const, id: `q${i}` },
      fields: { title: 't' },
    }));
    await f.server.write(titles, user);
    // It begins both tables and reads a page of the first.
    await (await device(f, 'r1', smallest)).page();
    for (let i = 0; i < 40; i += 1)
      await f.server.write([place(i % 10, { size: 1_000 + i })], user);
    for (const name of ['r2', 'r3']) {
      const one = await device(f, name, smallest);
      expect((await one.pull()).rehydrate).toBeNull();
      expect(one.sorted(2)).toHaveLength(5);
      await expectEqual(f, one);
    }
    await f.server.close();
  });

  test('[PUL-73] blocks that are damaged are removed and told of, and records are read', async () => {
    const databases = { store: memory(), input: memory() };
    const f = await openFixture({ prepared, databases });
    await fill(f, 40);
    await (await device(f, 'r1')).pull();
    const inBlocks = { gte: Uint8Array.of(0x47), lt: Uint8Array.of(0x48) };
    for await (const [key, value] of databases.store.iterator(inBlocks)) {
      const other = value.slice();
      other[other.length - 1] = (other.at(-1) ?? 0) ^ 1;
      await databases.store.put(key, other);
    }
    for (const name of ['r2', 'r3']) {
      const one = await device(f, name);
      await one.pull();
      await expectEqual(f, one);
    }
    const told = { type: 'background-failed', work: 'preparing blocks', code: 'storage-damaged' };
    expect(f.events).toContainEqual(told);
    await f.server.close();
  });

  test('[PUL-71] a fill that began at a later version than the blocks of a server reads records', async () => {
    const f = await openFixture({ prepared });
    await fill(f, 40);
    await (await device(f, 'r1')).pull();
    await f.server.write([place(30, { size: -1 })], user);
    const one = await device(f, 'r2', smallest);
    one.blocks = false;
    await one.page();
    one.blocks = true;
    await one.pull();
    expect([one.rowsInBlocks, one.entries.upsert]).toEqual([0, 40]);
    await expectEqual(f, one);
    await f.server.close();
  });

  test('[PUL-71] blocks behind the horizon of the feed are prepared anew', async () => {
    const f = await openFixture({ prepared, horizon: { bytes: 1_500 } });
    await fill(f, 10);
    await (await device(f, 'r1')).pull();
    for (let i = 0; i < 40; i += 1)
      await f.server.write([place(i % 10, { size: 1_000 + i })], user);
    expect(f.server.status().horizon.n).toBeGreaterThan(10);
    const second = await device(f, 'r2');
    expect((await second.pull()).rehydrate).toBeNull();
    expect([second.rowsInBlocks, second.entries.upsert]).toEqual([10, 0]);
    await expectEqual(f, second);
    await f.server.close();
  });
});
