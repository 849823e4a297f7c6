import path from 'node:path';
import { openCheckpointFolder } from '@tidemark/store-level/node';
import { readArchive } from '@tidemark/transport-nats/server';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { describeOnNats } from '../processes/on-nats.js';
import { NatsWorld } from './nats-world.js';

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const office = { user: 'office' };

describeOnNats('servers behind a real nats-server', () => {
  let world: NatsWorld;
  beforeEach(async () => {
    world = await NatsWorld.open();
  });
  afterEach(() => world.close());

  test('[NAT-20] two servers fold one stream; devices that worked offline end equal with both', async () => {
    const [one, two] = [await world.serve('one'), await world.serve('two')];
    const [a, b] = [await world.device('a'), await world.device('b')];
    const id = await a.create('visits', { subject: 'Pump 7', count: 10, note: 'start' });
    await world.sync(a, b);
    await a.increment('visits', id, 'count', -2);
    await a.editText('visits', id, 'note', { at: 0, remove: 0, insert: 'A. ' });
    await b.increment('visits', id, 'count', -3);
    await b.editText('visits', id, 'note', 'start. B');
    for (let i = 0; i < 300; i += 1) await b.create('visits', { subject: `of b ${i}`, count: i });
    await one.write(
      [{ kind: 'put', table: 'visits', id: 'office', fields: { subject: 'office' } }],
      office,
    );
    await world.sync(a, b, a);
    await world.expectEqual();
    expect(await two.get('visits', id)).toMatchObject({ count: 5, note: 'A. start. B' });
    expect(await two.get('visits', 'office')).toMatchObject({ subject: 'office' });
    // One of them ends; downloads go on from the other.
    await world.end(one);
    await two.write(
      [{ kind: 'put', table: 'visits', id: 'later', fields: { subject: 'later' } }],
      office,
    );
    await world.sync(a, b);
    await world.expectEqual();
    // A fresh one folds the whole stream.
    await world.serve('three');
    await world.expectEqual();
  });

  test('[NAT-21] a live replica hears of what another one did through either server', async () => {
    await world.serve('one');
    await world.serve('two');
    const [a, b] = [await world.device('a'), await world.device('b')];
    b.connect();
    await vi.waitFor(() => expect(b.status.connection).toBe('online'), { timeout: 10_000 });
    const id = await a.create('visits', { subject: 'now', count: 1 });
    await world.sync(a);
    await vi.waitFor(async () => expect(await b.get('visits', id)).toBeDefined(), {
      timeout: 10_000,
    });
    await b.disconnect();
  });

  test('[NAT-22] nats-server killed and started again in the middle loses and doubles nothing', async () => {
    const one = await world.serve('one');
    await world.serve('two');
    const [a, b] = [await world.device('a'), await world.device('b')];
    const id = await a.create('visits', { subject: 'shared', count: 0 });
    await world.sync(a, b);
    for (let round = 0; round < 3; round += 1) {
      for (const device of [a, b])
        for (let i = 0; i < 200; i += 1) await device.increment('visits', id, 'count', 1);
      const writing = one.write(
        [{ kind: 'increment', table: 'visits', id, by: { count: 1_000 } }],
        office,
      );
      const running = [a.sync(), b.sync()];
      await wait(15 * round);
      await world.nats.kill();
      await wait(300);
      await world.nats.run();
      await Promise.all(running);
      await writing;
    }
    await world.sync(a, b);
    // A server that found back to NATS later may be behind the one that the other device has synced with.
    for (const server of world.servers) await server.settle();
    await world.sync(a, b);
    await world.expectEqual();
    expect(await one.get('visits', id)).toMatchObject({ count: 3 * (400 + 1_000) });
  });

  const incarnations = () =>
    world.events.filter(({ type }) => type === 'incarnation' || type === 'rewound');

  /** A stream with operations of two devices and one server, folded by the server. */
  const fill = async () => {
    const server = await world.serve('one');
    const [a, b] = [await world.device('a'), await world.device('b')];
    const id = await a.create('visits', { subject: 'shared', count: 0 });
    await world.sync(a, b);
    for (let i = 0; i < 40; i += 1) {
      const device = i % 2 === 0 ? a : b;
      await device.increment('visits', id, 'count', 1);
      await device.create('visits', { subject: `visit ${i}`, count: i });
      await world.sync(device);
    }
    return { server, a, b, id };
  };

  const damages = [
    ['its newest block cut to 60%', () => world.cutNewestBlock(1, 0.6)],
    ['one bit of it flipped', () => world.flipBit(1)],
  ] as const;

  test.each(damages)(
    '[NAT-23] a stream that came back with %s is noticed and told; nothing a device or server had is lost',
    async (_what, damage) => {
      const { server, a, b, id } = await fill();
      await world.nats.kill();
      await damage();
      await world.nats.run();
      // Nobody edits: the next message that anybody stores must not be taken for an old one.
      await a.increment('visits', id, 'count', 1);
      const log = await a.sync();
      expect(['synced', 'pending', 'failed']).toContain(log.result);
      await vi.waitFor(() => expect(incarnations()).toHaveLength(1), { timeout: 30_000 });
      expect(incarnations()[0]).toMatchObject({ type: 'incarnation', incarnation: 2 });
      expect(JSON.stringify(incarnations()[0])).toMatch(/"missingMessages":[1-9]/);
      await vi.waitFor(() => server.status(), { timeout: 30_000 });
      await world.sync(a, b, a);
      await world.expectEqual();
      expect(await server.get('visits', id)).toMatchObject({ count: 41 });
      expect(await server.query('visits')).toHaveLength(41);
    },
  );

  test('[NAT-23] a stream that was deleted is begun anew, from the store', async () => {
    const { server, a, b, id } = await fill();
    await world.deleteStream(1);
    await a.increment('visits', id, 'count', 1);
    await vi.waitFor(
      async () => {
        await a.sync();
        expect(incarnations()).toHaveLength(1);
      },
      { timeout: 30_000, interval: 500 },
    );
    await vi.waitFor(() => server.status(), { timeout: 30_000 });
    await world.sync(a, b, a);
    await world.expectEqual();
    expect(await server.get('visits', id)).toMatchObject({ count: 41 });
  });

  test('[NAT-24] servers that stood at one place agree on one incarnation after a rewind', async () => {
    const { a, b, id } = await fill();
    await world.serve('two');
    await world.sync(a, b, a);
    await world.expectEqual();
    await world.nats.kill();
    await world.cutNewestBlock(1, 0.5);
    await world.nats.run();
    await vi.waitFor(
      async () => {
        await a.sync();
        expect(world.servers.map((server) => server.status().state.incarnation)).toEqual([2, 2]);
      },
      { timeout: 40_000, interval: 300 },
    );
    expect(incarnations()).toHaveLength(1);
    await a.increment('visits', id, 'count', 1);
    await world.sync(a, b, a);
    await world.expectEqual();
    expect(await world.servers[0]?.get('visits', id)).toMatchObject({ count: 41 });
  });

  test('[NAT-25] at the limit of the stream uploads wait, edits go on, and a checkpoint frees it', async () => {
    const archive = path.join(world.folder, 'archive');
    const server = await world.serve('one', { streamBytesMax: 1024 * 1024, archive });
    const a = await world.device('a');
    await world.sync(a);
    const text = 'x'.repeat(2_000);
    for (let i = 0; i < 1_500; i += 1)
      await a.create('visits', { subject: `${i} ${text}`, count: i });
    await vi.waitFor(async () => expect((await a.sync()).result).toBe('synced'), {
      timeout: 60_000,
    });
    expect(world.failures).toContain('input-full');
    const alarms = world.events.flatMap((event) =>
      event.type === 'input-space' ? [event.alarmPercent] : [],
    );
    expect(alarms).toContain(90);
    await world.expectEqual();
    expect(await server.query('visits', { limit: 10_000 })).toHaveLength(1_500);
    // What left the stream is in the archive, from the first message on.
    const names = await openCheckpointFolder(archive).list();
    expect(names[0]).toMatch(/^input-0000000001-000000000000001-/);
    const seqs: number[] = [];
    for (const name of names)
      for await (const { seq } of readArchive(openCheckpointFolder(archive), name)) seqs.push(seq);
    expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, i) => i + 1));
    // A server that starts while the stream is full finds its place, too.
    await world.end(server);
    await world.serve('one', { streamBytesMax: 1024 * 1024, archive });
    await world.expectEqual();
  });
});
