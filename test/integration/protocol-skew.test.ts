import { openReplica } from '@tidemark/node';
import { protocolVersion } from '@tidemark/protocol';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { describeOnNats } from '../processes/on-nats.js';
import { NatsWorld, schema } from './nats-world.js';

/** Versions that the server of a later release speaks: so many are new in it. */
const later = (releases: number) => ({
  oldest: protocolVersion + releases - 1,
  newest: protocolVersion + releases,
});

describeOnNats('devices of an older protocol', () => {
  let world: NatsWorld;
  beforeEach(async () => {
    world = await NatsWorld.open();
  });
  afterEach(() => world.close());

  test('[SYN-68] one version behind works; two behind says so, keeps its edits, and sends them once it may', async () => {
    const one = await world.serve('one', {}, { protocols: later(1) });
    const a = await world.device('a');
    const b = await world.device('b');
    const id = await a.create('visits', { subject: 'one behind', count: 1 });
    await world.sync(a, b);
    expect(await b.get('visits', id)).toMatchObject({ count: 1 });
    await world.expectEqual();
    await world.end(one);

    const two = await world.serve('one', {}, { protocols: later(2) });
    await a.increment('visits', id, 'count', 10);
    expect(await a.sync()).toMatchObject({ error: 'protocol-too-old' });
    expect(a.status.error).toMatchObject({ code: 'protocol-too-old' });
    expect(a.status.pending.operations).toBe(1);
    expect(await a.get('visits', id)).toMatchObject({ count: 11 });
    // In the process of the server there is no greeting: the first call says it.
    const folder = path.join(world.folder, 'near');
    const near = await openReplica({
      folder,
      tenant: 'acme',
      user: 'near',
      schema,
      transport: two.transport,
    });
    await near.create('visits', { subject: 'kept', count: 1 });
    expect(await near.sync()).toMatchObject({ error: 'protocol-too-old' });
    expect(near.status.pending.operations).toBe(1);
    await near.close();
    expect(await two.get('visits', id)).toMatchObject({ count: 1 });
    await world.end(two);

    await world.serve('one');
    await world.sync(a, b);
    expect(await b.get('visits', id)).toMatchObject({ count: 11 });
    await world.expectEqual();
  });
});
