import { cp, readdir, truncate } from 'node:fs/promises';
import path from 'node:path';
import { openCheckpointFolder } from '@tidemark/store-level/node';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { describeOnNats } from '../processes/on-nats.js';
import { NatsWorld, type TestServer } from './nats-world.js';

const office = { user: 'office' };
const shared = { checkpoints: 'checkpoints' };

describeOnNats('servers of one stream at different places', () => {
  let world: NatsWorld;
  beforeEach(async () => {
    world = await NatsWorld.open();
  });
  afterEach(() => world.close());

  const count = async (server: TestServer, times: number): Promise<void> => {
    for (let i = 0; i < times; i += 1)
      await server.write(
        [{ kind: 'increment', table: 'visits', id: 'shared', by: { count: 1 } }],
        office,
      );
  };
  const begin = (server: TestServer): Promise<unknown> =>
    server.write(
      [{ kind: 'put', table: 'visits', id: 'shared', fields: { subject: 'shared', count: 0 } }],
      office,
    );
  const counted = async (server: TestServer): Promise<unknown> => {
    await server.settle();
    return (await server.get('visits', 'shared'))?.count;
  };
  const ofType = (type: string) => world.events.filter((event) => event.type === type);

  test('[NAT-70] [NAT-71] the most advanced begins the one incarnation; a later one brings back what only it held', async () => {
    let [one, two, three] = (await Promise.all(
      ['one', 'two', 'three'].map((name) => world.serve(name, {}, shared)),
    )) as [TestServer, TestServer, TestServer];
    const a = await world.device('a');
    // One that ends so early that the place where it stands survives.
    const early = await world.serve('early', {}, shared);
    await early.settle();
    await world.end(early);
    await begin(one);
    await count(one, 20);
    await world.sync(a);
    await a.increment('visits', 'shared', 'count', 1_000);
    await world.sync(a);
    await world.end(two);
    await count(one, 30);
    await world.end(one);
    // Only the third one and the stream have these.
    await count(three, 15);
    await world.end(three);
    await world.nats.kill();
    await world.cutNewestBlock(1, 0.2);
    await world.nats.run();

    [one, two] = (await Promise.all([
      world.serve('one', {}, shared),
      world.serve('two', {}, shared),
    ])) as [TestServer, TestServer];
    expect(await counted(one)).toBe(1_050);
    expect(await counted(two)).toBe(1_050);
    await count(two, 1);
    await a.increment('visits', 'shared', 'count', 10_000);
    await world.sync(a);

    three = await world.serve('three', {}, shared);
    await vi.waitFor(async () => {
      for (const server of world.servers) expect(await counted(server)).toBe(11_066);
    });
    const late = await world.serve('early', {}, shared);
    expect(await counted(late)).toBe(11_066);
    // It folded nothing of what survived, as the others' line begins elsewhere, and joined that.
    expect(ofType('fold-failed').filter(({ of }) => of === 'early')).toEqual([]);
    expect(ofType('awaiting-checkpoint').filter(({ of }) => of === 'early')).toMatchObject([
      { reason: 'other-line' },
    ]);
    expect(ofType('incarnation')).toHaveLength(1);
    expect(ofType('incarnation')[0]).toMatchObject({ of: 'one', incarnation: 2 });
    expect(ofType('input-brought-back')).toEqual([
      expect.objectContaining({ of: 'three', tooOld: 0 }),
    ]);
    await world.sync(a);
    await world.expectEqual();
    expect(three.status().state.incarnation).toBe(2);
    expect(await a.get('visits', 'shared')).toMatchObject({ count: 11_066 });
  });

  test('[NAT-82] [NAT-83] generations roll while devices upload; whole ones are archived, and a fresh server begins from a checkpoint', async () => {
    const archive = path.join(world.folder, 'archive');
    const small = { generationBytes: 64 * 1024, archive };
    const trimming = { checkpoints: 'checkpoints', trimInput: true };
    const one = await world.serve('one', small, trimming);
    const two = await world.serve('two', small, trimming);
    const [a, b] = [await world.device('a'), await world.device('b')];
    const text = 'x'.repeat(2_000);
    const each = 60;
    for (let i = 0; i < each; i += 1) {
      for (const device of [a, b])
        await device.create('visits', { subject: `${i} ${text}`, count: 1 });
      if (i % 10 === 9) await world.sync(a, b);
    }
    await world.sync(a, b, a);
    await world.expectEqual();
    const { position } = one.status().state;
    // 120 records of 2 KB are four generations of 64 KB at most, and packing is free.
    expect(position.generation).toBeGreaterThan(2);
    expect(position.generation).toBeLessThan(6);
    expect(ofType('incarnation')).toEqual([]);
    await world.end(two);
    await one.checkpoint();
    const names = await openCheckpointFolder(archive).list();
    expect(names[0]).toMatch(/^input-0000000001-000000000000001-/);
    const kept = new Set<number>();
    for (const name of names) kept.add(Number(name.slice(6, 16)));
    expect([...kept]).toEqual(Array.from({ length: kept.size }, (_, i) => i + 1));
    expect(kept.size).toBeGreaterThanOrEqual(position.generation - 1);
    await world.serve('three', small, trimming);
    expect(ofType('checkpoint-loaded')).toMatchObject([{ of: 'three' }]);
    await a.increment('visits', (await a.query('visits', { limit: 1 }))[0]?.id ?? '', 'count', 1);
    await world.sync(a, b);
    await world.expectEqual();
    expect(await one.query('visits', { limit: 1_000 })).toHaveLength(2 * each);
  });

  test('[NAT-72] input that another server needs is not trimmed; one that comes too late loads the shared checkpoint', async () => {
    const trimming = { checkpoints: { in: 'nats' }, trimInput: true } as const;
    const one = await world.serve('one', {}, trimming);
    const two = await world.serve('two', {}, trimming);
    await begin(one);
    await count(one, 20);
    await counted(two);
    await world.end(two);
    const talk = await world.talk();
    const { position, digest, incarnation } = one.status().state;
    const slow = { incarnation, n: 1, position: { generation: 1, seq: 10 }, digest };
    talk.say('place', slow);
    await count(one, 20);
    await one.checkpoint();
    expect(await world.firstStored(1)).toBe(10);
    talk.leave();
    await one.checkpoint();
    expect(await world.firstStored(1)).toBeGreaterThan(position.seq);
    await world.serve('two', {}, trimming);
    expect(ofType('checkpoint-loaded')).toMatchObject([{ of: 'two' }]);
    await count(one, 1);
    await world.expectEqual();
  });

  test('[NAT-81] a hole in the stream is told and never passed over; a checkpoint behind it helps', async () => {
    const one = await world.serve('one', {}, shared);
    const two = await world.serve('two', {}, shared);
    const a = await world.device('a');
    await begin(one);
    await world.sync(a);
    await counted(two);
    await world.end(two);
    const { position } = one.status().state;
    await a.increment('visits', 'shared', 'count', 1_000);
    await world.sync(a);
    await count(one, 3);
    await world.purgeEnvelopes(1);
    const opening = world.serve('two', {}, shared);
    await vi.waitFor(() => expect(ofType('awaiting-checkpoint')).toHaveLength(1));
    expect(ofType('awaiting-checkpoint')[0]).toMatchObject({ of: 'two', reason: 'input-gap' });
    expect(ofType('awaiting-checkpoint')[0]).toMatchObject(position);
    await one.checkpoint();
    expect(await counted(await opening)).toBe(1_003);
    expect(ofType('checkpoint-loaded')).toMatchObject([{ of: 'two' }]);
    await world.sync(a);
    await world.expectEqual();
  });

  test('[SRV-57] where the newest checkpoint is damaged the next older one is loaded, which an event tells; it is written anew', async () => {
    const one = await world.serve('one', {}, shared);
    await begin(one);
    await count(one, 3);
    const folder = path.join(world.folder, shared.checkpoints);
    const kept = path.join(world.folder, 'kept');
    await one.checkpoint();
    const [older = ''] = await readdir(folder);
    await cp(path.join(folder, older), kept, { recursive: true });
    await count(one, 3);
    await one.checkpoint();
    const [newer = ''] = await readdir(folder);
    await cp(kept, path.join(folder, older), { recursive: true });
    await truncate(path.join(folder, newer, 'chunks.bin'), 100);
    const two = await world.serve('two', {}, shared);
    expect(ofType('checkpoint-loaded')).toMatchObject([
      { of: 'two', checkpoint: older, unreadable: [newer] },
    ]);
    expect(await counted(two)).toBe(6);
    await two.checkpoint();
    await world.serve('three', {}, shared);
    expect(ofType('checkpoint-loaded')[1]).toMatchObject({
      of: 'three',
      checkpoint: newer,
      unreadable: [],
    });
    await world.expectEqual();
  });
});
