import { TidemarkError } from '@tidemark/model';
import type { InputLog } from '@tidemark/ports';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { faultyTransport, World, type DeviceHandle } from './world.js';

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

const syncAll = async (...devices: readonly DeviceHandle[]): Promise<void> => {
  for (const { replica } of devices) {
    const log = await replica.sync();
    expect(log, JSON.stringify(replica.status.error)).toMatchObject({
      result: 'synced',
      error: null,
    });
  }
};

const expectEqual = async (...devices: readonly DeviceHandle[]): Promise<void> => {
  const prints = await world.fingerprints(...devices);
  expect(new Set(prints).size, prints.join('\n')).toBe(1);
};

const fill = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i += 500)
    await world.write(
      ...Array.from({ length: Math.min(500, count - i) }, (_, k) => ({
        kind: 'upsert' as const,
        table: 1,
        id: `v${String(i + k).padStart(6, '0')}`,
        fields: { 1: `visit ${i + k} ${'x'.repeat(200)}`, 2: 'planned' },
      })),
    );
};

describe('clones', () => {
  test('[SYN-10] two copies of a folder both go on; nothing is lost or counted twice', async () => {
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'shared', count: 100 });
    await syncAll(a);
    await a.replica.close();
    const b = await world.device({ disk: await a.disk.copy() });
    await world.reopen(a);
    // Both work on under one id; the first to sync keeps what it sent.
    await a.replica.increment('visits', id, 'count', 1);
    const mine = await a.replica.create('visits', { subject: 'a' });
    await syncAll(a);
    await b.replica.increment('visits', id, 'count', 10);
    const theirs = await b.replica.create('visits', { subject: 'b' });
    await syncAll(b);
    await a.replica.increment('visits', id, 'count', 1_000);
    await syncAll(a, b, a, b);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(1_111);
    expect([...(await world.rows(1)).keys()].sort()).toEqual([id, mine, theirs].sort());
    await expectEqual(a, b);
    const clones = [...a.events, ...b.events].filter(({ type }) => type === 'clone-detected');
    expect(clones).toHaveLength(1);
    expect(a.replica.status.replica).not.toBe(b.replica.status.replica);
    expect(a.replica.status.synced && b.replica.status.synced).toBe(true);
  });

  test('[SYN-11] copies made before the first grant part without loss', async () => {
    const a = await world.device();
    await a.replica.create('visits', { subject: 'before' });
    await a.replica.close();
    const b = await world.device({ disk: await a.disk.copy() });
    await world.reopen(a);
    await a.replica.create('visits', { subject: 'a' });
    await b.replica.create('visits', { subject: 'b' });
    await syncAll(a, b, a, b, a);
    expect(
      [...(await world.rows(1)).values()].map(({ fields }) => fields[1] as string).sort(),
    ).toEqual(['a', 'b', 'before']);
    await expectEqual(a, b);
  });
});

describe('sync errors of a clone', () => {
  test('[ERR-65] a clone keeps sight of what was parked before it parted, and may resolve it', async () => {
    const a = await world.device({ user: 'ana' });
    const ids = [];
    for (const subject of ['one', 'two', 'three'])
      ids.push(await a.replica.create('visits', { subject, status: 'new' }));
    await syncAll(a);
    const [one, two, three] = ids as [string, string, string];
    const edit = async (handle: DeviceHandle, id: string, by: string): Promise<void> => {
      await world.write({ kind: 'patch', table: 1, id, fields: { 2: `office ${by}` } });
      await handle.replica.update('visits', id, { status: by });
      expect((await handle.replica.sync()).result).toBe('synced');
    };
    await edit(a, one, 'shared');
    expect(a.replica.status.parked).toBe(1);
    await a.replica.close();
    const b = await world.device({ disk: await a.disk.copy(), user: 'ana' });
    await world.reopen(a, { user: 'ana' });
    await edit(a, two, 'of the origin');
    await edit(b, three, 'of the clone');
    // The second to sync keeps the id in a new epoch; the first becomes the clone.
    expect((await a.replica.sync()).result).toBe('synced');
    expect(a.events.some(({ type }) => type === 'clone-detected')).toBe(true);
    const records = async (handle: DeviceHandle): Promise<readonly string[]> =>
      (await handle.replica.errors.list()).map(({ record }) => record).sort();
    expect(await records(a)).toEqual([one, two].sort());
    expect(a.replica.status).toMatchObject({ parked: 2, synced: false });
    expect((await a.replica.get('visits', one))?.status).toBe('shared');
    expect((await a.replica.get('visits', two))?.status).toBe('of the origin');
    expect(await records(b)).toEqual(expect.arrayContaining([one, three]));
    expect(b.replica.status.parked).toBe(2);
    const shared = (await a.replica.errors.list()).find(({ record }) => record === one);
    await a.replica.errors.resolve(shared?.id ?? '', {
      action: 'merge',
      choices: [{ table: 'visits', record: one, field: 'status', pick: 'mine' }],
    });
    for (const { replica } of [a, a, b]) expect((await replica.sync()).result).toBe('synced');
    expect((await world.rows(1)).get(one)?.fields[2]).toBe('shared');
    expect(await records(a)).toEqual([two]);
    expect(await records(b)).toContain(three);
    expect(await records(b)).not.toContain(one);
    expect((await b.replica.get('visits', one))?.status).toBe('shared');
    // A clone of the clone sees what both before it shared with it.
    await a.replica.close();
    const c = await world.device({ disk: await a.disk.copy(), user: 'ana' });
    await world.reopen(a, { user: 'ana' });
    await c.replica.create('visits', { subject: 'c goes on' });
    expect((await c.replica.sync()).result).toBe('synced');
    await a.replica.create('visits', { subject: 'a goes on' });
    for (const { replica } of [a, c]) expect((await replica.sync()).result).toBe('synced');
    expect(c.replica.status.replica).not.toBe(a.replica.status.replica);
    for (const handle of [a, c]) {
      expect(await records(handle)).toEqual([two]);
      expect((await handle.replica.get('visits', two))?.status).toBe('of the origin');
    }
  });
});

describe('lost writes of a device', () => {
  test('[SYN-12] a power cut after an upload loses only what was not on disk, without a fork', async () => {
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'sent', count: 1 });
    await syncAll(a);
    await a.replica.create('visits', { subject: 'on disk' }, { durability: 'disk' });
    await a.replica.create('visits', { subject: 'lost' });
    await a.disk.powerCut();
    await world.reopen(a);
    const subjects = (await a.replica.query('visits')).map(({ subject }) => subject);
    expect(subjects).toContain('on disk');
    expect(subjects).not.toContain('lost');
    await a.replica.increment('visits', id, 'count', 1);
    await syncAll(a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(2);
    await expectEqual(a);
    expect(a.events.filter(({ type }) => type === 'fork-healed')).toEqual([]);
  });

  test('[SYN-13] a log put back behind what was published goes on in a provisional epoch', async () => {
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 's', count: 1 });
    await syncAll(a);
    await a.replica.close();
    const backup = await a.disk.copy();
    await world.reopen(a);
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await a.replica.close();
    await a.disk.restoreDatabaseFrom(backup);
    world.transport.setOnline(false);
    await world.reopen(a);
    expect(a.events.at(-1)).toMatchObject({ type: 'damage', newEpoch: true });
    // Editing goes on offline, and nothing of it is published before the grant.
    await a.replica.increment('visits', id, 'count', 100);
    expect(await a.replica.sync()).toMatchObject({ result: 'failed', error: 'unreachable' });
    expect(a.replica.status).toMatchObject({ error: { code: 'unreachable' }, synced: false });
    world.transport.setOnline(true);
    await syncAll(a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(111);
    expect(a.replica.status.epoch).toBe(2);
    await expectEqual(a);
  });

  test('[SYN-14] a whole folder put back is a fork, found exactly and healed', async () => {
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 's', count: 0 });
    for (let i = 0; i < 150; i += 1) await a.replica.increment('visits', id, 'count', 1);
    await syncAll(a);
    await a.replica.close();
    const backup = await a.disk.copy();
    await world.reopen(a);
    for (let i = 0; i < 200; i += 1) await a.replica.increment('visits', id, 'count', 1);
    await syncAll(a);
    await a.replica.close();
    const b = await world.device({ disk: backup });
    for (let i = 0; i < 250; i += 1) await b.replica.increment('visits', id, 'count', 1);
    await syncAll(b);
    expect(b.events).toContainEqual({ type: 'fork-healed', common: 151, epoch: 2 });
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(600);
    await syncAll(b);
    await expectEqual(b);
  });
});

describe('a slow server', () => {
  test('[SYN-15] an epoch is asked for only above everything that waits in the input', async () => {
    const gate: { held?: Promise<void> } = {};
    const slow = await World.open({
      validate: async () => {
        await gate.held;
        return undefined;
      },
    });
    const a = await slow.device();
    const id = await a.replica.create('visits', { subject: 's', count: 0 });
    expect(await a.replica.sync()).toMatchObject({ result: 'synced' });
    let release = (): void => undefined;
    gate.held = new Promise((resolve) => {
      release = resolve;
    });
    await a.replica.increment('visits', id, 'count', 1);
    await a.replica.increment('visits', id, 'count', 2);
    expect(await a.replica.sync({ mode: 'background' })).toMatchObject({ result: 'pending' });
    const backup = await a.disk.copy();
    await a.replica.increment('visits', id, 'count', 4);
    expect(await a.replica.sync({ mode: 'background' })).toMatchObject({ result: 'pending' });
    await a.replica.close();
    // The log ends before what was published, and nothing of it is decided yet.
    await a.disk.restoreDatabaseFrom(backup);
    await slow.reopen(a);
    await a.replica.increment('visits', id, 'count', 8);
    const running = a.replica.sync();
    await new Promise((resolve) => setTimeout(resolve, 100));
    release();
    expect(await running).toMatchObject({ result: 'synced' });
    await a.replica.sync();
    expect((await slow.rows(1)).get(id)?.fields[3]).toBe(15);
    expect(new Set(await slow.fingerprints(a)).size).toBe(1);
    await slow.close();
  });
});

describe('interruptions', () => {
  /** The first device prepares the table; from then on all get the same pages. */
  const prepare = async (): Promise<void> => {
    await (await world.device()).replica.sync();
  };

  test('[SYN-20] a pull cut at every page goes on where it stopped', async () => {
    await fill(6_000);
    await prepare();
    const full = await world.device();
    const log = await full.replica.sync();
    expect(log.pages).toBeGreaterThan(2);
    let answered = 0;
    const faulty = faultyTransport(world.transport, (endpoint) => {
      if (endpoint !== 'pull') return undefined;
      answered += 1;
      // Each run stages one page and then fails for good.
      return answered > 1 ? new TidemarkError('denied', 'cut by the test') : undefined;
    });
    const a = await world.device({ transport: faulty });
    let runs = 0;
    let rows = 0;
    let result = '';
    while (result !== 'synced' && runs < 50) {
      expect(a.replica.status.hydrated['visits']).toBe(false);
      answered = 0;
      const cut = await a.replica.sync();
      result = cut.result;
      for (const { upserts } of cut.tables) rows += upserts;
      runs += 1;
    }
    expect(result).toBe('synced');
    expect(runs).toBeGreaterThan(2);
    // Each row came once: never from the start again.
    expect(rows).toBe(log.tables.reduce((sum, { upserts }) => sum + upserts, 0));
    await expectEqual(a, full);
  });

  test('[SYN-21] a restart between pages goes on at the same page', async () => {
    await fill(6_000);
    await prepare();
    let allowed = 1;
    const faulty = faultyTransport(world.transport, (endpoint, call) =>
      endpoint === 'pull' && call > allowed
        ? new TidemarkError('denied', 'cut by the test')
        : undefined,
    );
    const a = await world.device({ transport: faulty });
    let result = '';
    let pages = 0;
    for (let i = 0; i < 50 && result !== 'synced'; i += 1) {
      const log = await a.replica.sync();
      ({ result } = log);
      pages += log.pages;
      await a.replica.close();
      await world.reopen(a, { transport: faulty });
      allowed = (faulty.calls.get('pull') ?? 0) + 1;
    }
    expect(result).toBe('synced');
    const full = await world.device();
    expect(pages).toBe((await full.replica.sync()).pages);
    await expectEqual(a, full);
  });

  test('[SYN-22] a cancelled run keeps what it has and says so', async () => {
    await fill(6_000);
    await prepare();
    const a = await world.device();
    const stop = new AbortController();
    const log = await a.replica.sync({
      signal: stop.signal,
      onProgress: ({ pages }) => {
        if (pages === 1) stop.abort();
      },
    });
    expect(log).toMatchObject({ result: 'cancelled', error: 'aborted' });
    const next = await a.replica.sync();
    expect(next.result).toBe('synced');
    const full = await world.device();
    const { pages } = await full.replica.sync();
    expect(log.pages + next.pages).toBe(pages);
    await expectEqual(a, full);
  });

  test('[SYN-23] a failed download loses no work, and a passing failure is retried', async () => {
    const flaky = faultyTransport(world.transport, (endpoint, call) =>
      (endpoint === 'resume' && call === 1) || (endpoint === 'publish' && call === 1)
        ? new TidemarkError('timeout', 'cut by the test')
        : undefined,
    );
    const a = await world.device({ transport: flaky });
    const id = await a.replica.create('visits', { subject: 's', count: 3 });
    await syncAll(a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(3);
    const broken = faultyTransport(world.transport, (endpoint) =>
      endpoint === 'pull' ? new TidemarkError('denied', 'cut by the test') : undefined,
    );
    const b = await world.device({ transport: broken });
    await b.replica.create('visits', { subject: 'b' });
    expect(await b.replica.sync()).toMatchObject({ result: 'blocked', error: 'denied' });
    expect(await world.rows(1)).toHaveProperty('size', 2);
    expect(b.replica.status).toMatchObject({ synced: false, error: { code: 'denied' } });
    expect(await b.replica.query('visits')).toHaveLength(1);
  });

  test('[SYN-24] a run that is under way is joined', async () => {
    const a = await world.device();
    await a.replica.create('visits', { subject: 's' });
    const [one, two] = await Promise.all([a.replica.sync(), a.replica.sync()]);
    expect(two).toBe(one);
    expect(await a.replica.logs()).toHaveLength(1);
  });

  test('[SYN-24] a run that began too early is not joined: what was edited since is synced too', async () => {
    const a = await world.device();
    await a.replica.create('visits', { subject: 'first' });
    const early = a.replica.sync({ mode: 'background' });
    const id = await a.replica.create('visits', { subject: 'second' });
    const late = await a.replica.sync();
    expect(late).toMatchObject({ result: 'synced', mode: 'foreground', pendingOperations: 0 });
    expect((await early).run).not.toBe(late.run);
    expect((await world.rows(1)).has(id)).toBe(true);
  });

  test('[SYN-25] who joins a run cannot cancel it for the others', async () => {
    await fill(6_000);
    await prepare();
    const a = await world.device();
    const stop = new AbortController();
    let joined: Promise<unknown> | undefined;
    const run = a.replica.sync({
      onProgress: ({ pages }) => {
        if (pages !== 1 || joined !== undefined) return;
        joined = a.replica.sync({ signal: stop.signal });
        queueMicrotask(() => queueMicrotask(() => stop.abort()));
      },
    });
    expect(await run).toMatchObject({ result: 'synced', error: null });
    expect(await joined).toMatchObject({ result: 'cancelled', error: 'aborted' });
    expect(await a.replica.logs()).toHaveLength(1);
    // The one that began it leaves, and the other goes on alone; when both leave it ends.
    const first = new AbortController();
    const second = new AbortController();
    await fill(6_500);
    const [one, two] = [
      a.replica.sync({ signal: first.signal }),
      a.replica.sync({ signal: second.signal }),
    ];
    first.abort();
    expect(await one).toMatchObject({ result: 'cancelled' });
    second.abort();
    expect(await two).toMatchObject({ result: 'cancelled' });
    expect(await a.replica.logs()).toHaveLength(2);
  });
});

describe('a server that was put back', () => {
  const copyInput = async (input: InputLog, upTo: number): Promise<InputLog> => {
    const next = await world.newInput();
    const messages = await input.read(
      { generation: 1, seq: 0 },
      { maxBytes: 1e9, maxMessages: upTo },
    );
    await next.append(messages.map(({ bytes }) => bytes));
    return next;
  };

  test('[SYN-30] devices offer again what was lost and repair by difference', async () => {
    await fill(3_000);
    const a = await world.device({ user: 'user-1' });
    const b = await world.device({ user: 'user-2' });
    const id = await a.replica.create('visits', { subject: 'kept', count: 1 });
    await syncAll(a, b);
    await world.merger.checkpoint();
    const { last } = await world.input.extent();
    await a.replica.increment('visits', id, 'count', 10);
    await b.replica.create('visits', { subject: 'b after the checkpoint' });
    await syncAll(a, b, a);
    await world.write({ kind: 'upsert', table: 1, id: 'gone', fields: { 1: 'lost write' } });
    await syncAll(a, b);
    await world.stopServer();
    // The store goes back to the checkpoint, and the input to before it.
    await world.startServer(await copyInput(world.input, last - 1), await world.newStore());
    expect(world.merger.state().incarnation).toBe(2);
    await a.replica.increment('visits', id, 'count', 100);
    await syncAll(a, b, a, b);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(111);
    expect((await world.rows(1)).has('gone')).toBe(false);
    await expectEqual(a, b);
    expect(a.events).toContainEqual({ type: 'incarnation', previous: 1, incarnation: 2 });
    expect(a.events.some(({ type }) => type === 'rewound')).toBe(true);
    const [repairLog] = (await a.replica.logs()).filter(({ tables }) =>
      tables.some(({ mode }) => mode === 'repair'),
    );
    const moved = repairLog?.tables.reduce((sum, { upserts }) => sum + upserts, 0) ?? 0;
    expect(moved).toBeGreaterThan(0);
    expect(moved).toBeLessThan(2_200);
    expect(a.replica.status).toMatchObject({ synced: true, incarnation: 2 });
  });

  test('[SYN-31] an older server is refused until it has caught up', async () => {
    const a = await world.device();
    await a.replica.create('visits', { subject: 's' });
    await syncAll(a);
    // Its key is another one, so that what the device shows proves nothing to it.
    const behind = await World.open({ cursorKey: new Uint8Array(32).fill(8) });
    const { replica } = a;
    await replica.close();
    // Another server of the tenant that has folded nothing of the input yet.
    await world.reopen(a, { transport: behind.transport });
    const log = await a.replica.sync();
    expect(log).toMatchObject({ result: 'failed', error: 'behind' });
    expect(await a.replica.query('visits')).toHaveLength(1);
    expect(behind.merger.state().incarnation).toBe(1);
    await behind.close();
  });
});
