import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  defineSchema,
  field,
  natsTransport,
  openReplica,
  type NatsTransport,
  type Replica,
} from '@tidemark/node';
import { openServer, type Server, type ServerEvent } from '@tidemark/server';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NatsServer, natsProgram } from '../processes/nats-server.js';

const schema = defineSchema({
  version: 1,
  tables: {
    visits: {
      id: 1,
      fields: {
        subject: field.string(1, { required: true }),
        note: field.text(2),
        count: field.counter(3),
      },
    },
  },
});
type Tables = NonNullable<(typeof schema)['_tables']>;
type Device = Replica<typeof schema>;

const tenant = 'acme';
const cursorKey = new Uint8Array(32).fill(9);

describe.skipIf(natsProgram === undefined)('servers behind a real nats-server', () => {
  let nats: NatsServer;
  let folder: string;
  const servers: Server<Tables>[] = [];
  const devices: Device[] = [];
  const transports: NatsTransport[] = [];
  const events: (ServerEvent & { readonly of: string })[] = [];

  beforeEach(async () => {
    nats = await NatsServer.start();
    folder = await mkdtemp(path.join(tmpdir(), 'tidemark-two-servers-'));
    events.length = 0;
  });
  afterEach(async () => {
    for (const device of devices.splice(0)) await device.close();
    for (const transport of transports.splice(0)) await transport.disconnect();
    for (const server of servers.splice(0)) await server.close();
    await nats.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const serve = async (name: string, streamBytesMax?: number): Promise<Server<Tables>> => {
    const server = await openServer({
      folder: path.join(folder, name),
      tenant,
      schema,
      cursorKey,
      nats: {
        connection: { servers: [nats.url], name },
        ...(streamBytesMax === undefined ? {} : { streamBytesMax }),
      },
      checkpoints: { folder: path.join(folder, `${name}-checkpoints`), trimInput: true },
      onEvent: (event) => events.push({ ...event, of: name }),
    });
    servers.push(server);
    return server;
  };

  const open = async (name: string): Promise<Device> => {
    const transport = natsTransport({ servers: [nats.url], name });
    transports.push(transport);
    const device = await openReplica({
      folder: path.join(folder, name),
      tenant,
      user: name,
      schema,
      transport,
    });
    devices.push(device);
    return device;
  };

  const syncAll = async (...all: readonly Device[]): Promise<void> => {
    for (const device of all)
      expect(await device.sync(), JSON.stringify(device.status.error)).toMatchObject({
        result: 'synced',
      });
  };

  const expectEqual = async (): Promise<void> => {
    for (const server of servers) await server.settle();
    const prints = [...servers, ...devices].map((one) => one.fingerprint('visits'));
    expect(new Set(await Promise.all(prints)).size).toBe(1);
    const digests = servers.map((server) => server.status().state.digest);
    expect(new Set(digests).size).toBe(1);
  };

  test('[NAT-20] two servers fold one stream; devices that worked offline end equal with both', async () => {
    const [one, two] = [await serve('one'), await serve('two')];
    const [a, b] = [await open('a'), await open('b')];
    const id = await a.create('visits', { subject: 'Pump 7', count: 10, note: 'start' });
    await syncAll(a, b);
    await a.increment('visits', id, 'count', -2);
    await a.editText('visits', id, 'note', { at: 0, remove: 0, insert: 'A. ' });
    await b.increment('visits', id, 'count', -3);
    await b.editText('visits', id, 'note', 'start. B');
    for (let i = 0; i < 300; i += 1) await b.create('visits', { subject: `of b ${i}`, count: i });
    await one.write([{ kind: 'put', table: 'visits', id: 'office', fields: { subject: 'office' } }], {
      user: 'office',
    });
    await syncAll(a, b, a);
    await expectEqual();
    expect(await two.get('visits', id)).toMatchObject({ count: 5, note: 'A. start. B' });
    expect(await two.get('visits', 'office')).toMatchObject({ subject: 'office' });
    // One of them ends; downloads go on from the other.
    await servers.shift()?.close();
    await two.write([{ kind: 'put', table: 'visits', id: 'later', fields: { subject: 'later' } }], {
      user: 'office',
    });
    await syncAll(a, b);
    await expectEqual();
    // A fresh one folds the whole stream.
    await serve('three');
    await expectEqual();
  });

  test('[NAT-21] a live replica hears of what another one did through either server', async () => {
    await serve('one');
    await serve('two');
    const [a, b] = [await open('a'), await open('b')];
    b.connect();
    await vi.waitFor(() => expect(b.status.connection).toBe('online'), { timeout: 10_000 });
    const id = await a.create('visits', { subject: 'now', count: 1 });
    await syncAll(a);
    await vi.waitFor(async () => expect(await b.get('visits', id)).toBeDefined(), {
      timeout: 10_000,
    });
    await b.disconnect();
  });

  test('[NAT-22] nats-server killed and started again in the middle loses and doubles nothing', async () => {
    const one = await serve('one');
    await serve('two');
    const [a, b] = [await open('a'), await open('b')];
    const id = await a.create('visits', { subject: 'shared', count: 0 });
    await syncAll(a, b);
    for (let round = 0; round < 3; round += 1) {
      for (const device of [a, b])
        for (let i = 0; i < 200; i += 1) await device.increment('visits', id, 'count', 1);
      const writing = one.write(
        [{ kind: 'increment', table: 'visits', id, by: { count: 1_000 } }],
        { user: 'office' },
      );
      const running = [a.sync(), b.sync()];
      await new Promise((resolve) => setTimeout(resolve, 15 * round));
      await nats.kill();
      await new Promise((resolve) => setTimeout(resolve, 300));
      await nats.run();
      await Promise.all(running);
      await writing;
    }
    await syncAll(a, b, a);
    await expectEqual();
    expect(await one.get('visits', id)).toMatchObject({ count: 3 * (400 + 1_000) });
  });
});
