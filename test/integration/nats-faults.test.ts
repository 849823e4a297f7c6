import { afterEach, beforeEach, expect, test } from 'vitest';
import { describeOnNats } from '../processes/on-nats.js';
import { NatsWorld } from './nats-world.js';

const office = { user: 'office' };

describeOnNats('a server in trouble with NATS', () => {
  let world: NatsWorld;
  beforeEach(async () => {
    world = await NatsWorld.open();
  });
  afterEach(() => world.close());

  test('[NAT-52] a write that finds no space fails alone, not those that were stored with it', async () => {
    const server = await world.serve('one', { streamBytesMax: 256 * 1024 });
    const put = (id: string, subject: string) =>
      ({ kind: 'put', table: 'visits', id, fields: { subject } }) as const;
    const large = Array.from({ length: 20 }, (_, i) => put(`large ${i}`, 'x'.repeat(16 * 1024)));
    // The first is on its way while the others wait, and share the next append.
    const results = await Promise.allSettled([
      server.write([put('first', 'a')], office),
      server.write([put('before', 'b')], office),
      server.write(large, office),
      server.write([put('behind', 'c')], office),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    expect(results[2]).toMatchObject({ reason: { code: 'input-full' } });
    const found = await server.query('visits');
    expect(found.map(({ id }) => id)).toEqual(['before', 'behind', 'first']);
  });
});
