import path from 'node:path';
import type { CompressionMode } from '@tidemark/client';
import { natsTransport, openReplica, type NatsTransport } from '@tidemark/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Wire } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';
import { NatsWorld, schema, type TestDevice, type TestServer } from './nats-world.js';

const records = 3_000;
/** Far less than where packing begins: a device that is busy itself takes a link for faster than it is. */
const bytesPerSecond = 1_000_000;

describeOnNats('downloads over a slow link', () => {
  let world: NatsWorld;
  let wire: Wire;
  const transports: NatsTransport[] = [];
  beforeEach(async () => {
    world = await NatsWorld.open();
    wire = await Wire.open(world.nats.port);
  });
  afterEach(async () => {
    for (const transport of transports.splice(0)) await transport.disconnect();
    await wire.close();
    await world.close();
  });

  /** About 1 kB each. */
  const fill = (server: TestServer, count: number): Promise<unknown> =>
    server.write(
      Array.from({ length: count }, (_, i) => ({
        ...{ kind: 'put', table: 'visits', id: `v-${String(i).padStart(5, '0')}` },
        fields: { subject: `visit ${i} ${'of the tide '.repeat(80)}` },
      })) as Parameters<TestServer['write']>[0],
      { user: 'office' },
    );

  const device = async (name: string, compression: CompressionMode): Promise<TestDevice> => {
    const transport = natsTransport({ servers: [wire.url], name });
    transports.push(transport);
    const folder = path.join(world.folder, name);
    const replica = await openReplica({
      ...{ folder, tenant: 'acme', user: name, schema, transport, compression },
    });
    world.devices.push(replica);
    return replica;
  };

  test('[SYN-55, PUL-75] pages come packed once the link has shown that it is slow, and hold the same', async () => {
    // More than may be under way before pages have told how slow the link is.
    const many = 2 * records;
    await fill(await world.serve('one'), many);
    wire.setSpeed(bytesPerSecond);
    const one = await device('one-device', 'auto');
    const packed = await one.sync();
    expect(packed).toMatchObject({ result: 'synced' });
    wire.setSpeed(Number.POSITIVE_INFINITY);
    const plain = await (await device('two-device', 'never')).sync();
    expect(plain).toMatchObject({ result: 'synced' });
    expect(plain.downloadedBytes).toBeGreaterThan(5_000_000);
    // What was asked for before is as it is.
    expect(packed.downloadedBytes).toBeLessThan(0.8 * plain.downloadedBytes);
    expect(await one.count('visits')).toBe(many);
    await world.expectEqual();
  });

  test('[PUL-74, SYN-27] when the server ends that makes the pages, another one goes on', async () => {
    const first = await world.serve('one');
    await fill(first, records);
    const second = await world.serve('two');
    await second.settle();
    wire.setSpeed(bytesPerSecond);
    const one = await device('one-device', 'never');
    let isEnded = false;
    const unlisten = one.onStatus(() => {
      if (isEnded || (one.status.progress?.pages ?? 0) < 2) return;
      isEnded = true;
      void world.end(first);
    });
    let log = await one.sync();
    for (let run = 0; run < 5 && log.result !== 'synced'; run += 1) log = await one.sync();
    unlisten();
    expect(log).toMatchObject({ result: 'synced' });
    expect(isEnded).toBe(true);
    await world.expectEqual();
  });
});
