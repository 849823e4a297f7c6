import { expect, test, vi } from 'vitest';
import { NatsWorld, type TestServer } from '../integration/nats-world.js';
import { tellBackupStory } from '../processes/backup-story.js';
import { describeOnNats, testOnNats } from '../processes/on-nats.js';
import { buildProgram } from '../processes/program.js';
import { wakeServers } from '../processes/sleeping-servers.js';

const office = { user: 'office' };
const shared = { checkpoints: 'checkpoints' };
const patience = { timeout: 20_000, interval: 50 };
const writesEach = 15;

describeOnNats('rewinds that servers meet at different places', () => {
  test('[NAT-70] two servers meet one rewind at once, a third, more advanced one wakes later', async () => {
    const { problems, incarnations, broughtBack, lacked } = await wakeServers(writesEach);
    console.log(`DEEP servers-at-different-places problems ${problems.length}/0`);
    expect(problems.join('\n')).toBe('');
    expect(incarnations).toBe(1);
    expect(broughtBack).toBe(lacked);
  });

  const inWorld = async (work: (world: NatsWorld) => Promise<void>): Promise<void> => {
    const world = await NatsWorld.open();
    try {
      await work(world);
    } finally {
      await world.close();
    }
  };
  const counted = async (server: TestServer): Promise<unknown> => {
    await server.settle();
    return (await server.get('visits', 'shared'))?.count;
  };
  const begin = (server: TestServer): Promise<unknown> =>
    server.write(
      [{ kind: 'put', table: 'visits', id: 'shared', fields: { subject: 'shared', count: 0 } }],
      office,
    );
  const count = async (server: TestServer, times: number): Promise<void> => {
    for (let i = 0; i < times; i += 1)
      await server.write(
        [{ kind: 'increment', table: 'visits', id: 'shared', by: { count: 1 } }],
        office,
      );
  };

  /** Whether messages are missing afterwards: without its meta.inf some versions of NATS keep them all. */
  const damages = [
    [
      'with its newest block cut to nothing',
      true,
      (world: NatsWorld) => world.cutNewestBlock(1, 0),
    ],
    ['with its newest block cut to 60%', true, (world: NatsWorld) => world.cutNewestBlock(1, 0.6)],
    ['with one bit of it flipped', true, (world: NatsWorld) => world.flipBit(1)],
    ['without its meta.inf', false, (world: NatsWorld) => world.removeStreamMeta(1)],
  ] as const;

  test.each(damages)(
    '[NAT-23] a stream that came back %s: nothing is lost or doubled',
    (_what, isTold, damage) =>
      inWorld(async (world) => {
        const server = await world.serve('one', {}, shared);
        await begin(server);
        const devices = [await world.device('a'), await world.device('b')] as const;
        await world.sync(...devices);
        const rounds = 30;
        for (let i = 0; i < rounds; i += 1) {
          const device = devices[i % 2] as (typeof devices)[number];
          await device.increment('visits', 'shared', 'count', 1);
          await world.sync(device);
          await count(server, 1);
        }
        await world.nats.kill();
        await damage(world);
        await world.nats.run();
        await devices[0].increment('visits', 'shared', 'count', 1);
        await devices[0].sync();
        const told = (): readonly unknown[] =>
          world.events.filter(({ type }) => type === 'incarnation' || type === 'rewound');
        if (isTold) await vi.waitFor(() => expect(told()).toHaveLength(1), patience);
        await world.sync(...devices, devices[0]);
        expect(await counted(server)).toBe(2 * rounds + 1);
        await world.expectEqual();
        console.log(`DEEP stream-damage ${_what}: told ${told().length}, problems 0/0`);
      }),
  );

  test('[NAT-71] what was stored behind a rewind by a server that had not noticed it comes again, once', () =>
    inWorld(async (world) => {
      const ofType = (type: string) => world.events.filter((event) => event.type === type);
      let [one, two] = await Promise.all([
        world.serve('one', {}, shared),
        world.serve('two', {}, shared),
      ]);
      await begin(one);
      await count(one, 20);
      await counted(two);
      await world.end(two);
      await count(one, 20);
      await world.end(one);
      await world.nats.kill();
      await world.cutNewestBlock(1, 0.75);
      await world.nats.run();
      // Its place is still there: to this server nothing is missing.
      two = await world.serve('two', {}, shared);
      await count(two, 100);
      expect(ofType('incarnation')).toEqual([]);
      const acknowledged = Number(await counted(two));
      expect(acknowledged).toBeGreaterThan(120);
      expect(acknowledged).toBeLessThan(140);
      await world.end(two);
      one = await world.serve('one', {}, shared);
      expect(ofType('incarnation')).toMatchObject([{ of: 'one', incarnation: 2 }]);
      expect(await counted(one)).toBe(140);
      two = await world.serve('two', {}, shared);
      await vi.waitFor(async () => expect(await counted(two)).toBe(140));
      expect(await counted(one)).toBe(140);
      await world.expectEqual();
    }));

  test('[NAT-82] generations roll while the stream is rewound again and again: nothing is lost or doubled', () =>
    inWorld(async (world) => {
      const rewindsWanted = 6;
      const small = { generationBytes: 64 * 1024 };
      await Promise.all([world.serve('one', small, shared), world.serve('two', small, shared)]);
      const [one] = world.servers as [TestServer];
      await begin(one);
      const devices = [await world.device('a'), await world.device('b'), await world.device('c')];
      const text = 'x'.repeat(2_000);
      let counts = 0;
      let records = 0;
      const generations = new Set<number>();
      for (let rewinds = 0; rewinds < rewindsWanted; rewinds += 1) {
        for (let i = 0; i < 30; i += 1)
          for (const device of devices) {
            await device.create('visits', { subject: `${rewinds}/${i} ${text}`, count: 1 });
            records += 1;
          }
        await world.sync(...devices);
        for (const device of devices) await device.increment('visits', 'shared', 'count', 1);
        counts += devices.length;
        await world.sync(...devices);
        const { generation } = one.status().state.position;
        generations.add(generation);
        await world.nats.kill();
        await world.cutNewestBlock(generation, 0.3 + 0.1 * rewinds);
        await world.nats.run();
        await vi.waitFor(
          async () => {
            for (const device of devices)
              expect(await device.sync()).toMatchObject({ result: 'synced' });
            expect(await counted(one)).toBe(counts);
          },
          { timeout: 60_000, interval: 200 },
        );
      }
      await world.sync(...devices, ...devices);
      await world.expectEqual();
      expect(await one.query('visits', { limit: 10_000 })).toHaveLength(records + 1);
      expect(one.status().state.position.generation).toBeGreaterThan(rewindsWanted);
      console.log(`DEEP rewinds-while-generations-roll ${generations.size}/${rewindsWanted}`);
    }));

  test('[NAT-74] servers that differ also when they fold again all stop and say so', () =>
    inWorld(async (world) => {
      const ofType = (type: string) => world.events.filter((event) => event.type === type);
      const one = await world.serve('one', {}, shared);
      const two = await world.serve('two', {}, { ...shared, validate: () => 'not on this server' });
      const a = await world.device('a');
      await a.create('visits', { subject: 'judged', count: 1 });
      await a.sync();
      await vi.waitFor(() => {
        const stopped = ofType('fold-failed').map(({ of }) => of);
        expect(stopped.sort()).toEqual(['one', 'two']);
      }, patience);
      expect(ofType('fold-failed')[0]).toMatchObject({ code: 'fold-diverged', halted: true });
      expect([one.isReady(), two.isReady()]).toEqual([false, false]);
      expect(one.status().failure).toMatchObject({ code: 'fold-diverged' });
      expect(await a.sync()).toMatchObject({ result: 'failed', error: 'unreachable' });
    }));
});

testOnNats(
  '[CLI-41] a backup by the command line, 10,000 more operations, restores with the stream and without',
  async () => {
    const operations = 10_000;
    const records = 6_000;
    const entry = await buildProgram('tidemark');
    const { problems, ...counts } = await tellBackupStory(entry, { records, operations });
    console.log(`backup and restore by the command line: ${JSON.stringify(counts)}`);
    console.log(`DEEP restored-by-command-operations ${counts.operations}/10000`);
    console.log(`DEEP restored-by-command problems ${problems.length}/0`);
    expect(problems.join('\n')).toBe('');
    expect(counts.upsertsWith).toBe(0);
    expect(counts.upsertsWithout).toBeLessThan((3 * records) / 2);
  },
);
