import { systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import type { Link, Service, Timer } from '@tidemark/ports';
import { tcpTransport, type NatsTransport } from '@tidemark/transport-nats/node';
import {
  connectServer,
  serveTenant,
  type NatsServerConnection,
  type ServedTenant,
} from '@tidemark/transport-nats/server';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { NatsServer, Wire } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

const tenant = 'acme';
const pageBytes = 512 * 1024;
/** Waits of the device at a tenth of their length: a server is silent after 400 ms. */
const fastTimer: Timer = { sleep: (ms, signal) => systemTimer.sleep(ms / 10, signal) };

describeOnNats('a device on a slow link', () => {
  let server: NatsServer;
  let connection: NatsServerConnection;
  let served: ServedTenant;
  let wire: Wire;
  let transport: NatsTransport;
  let link: Link;
  let asked = 0;
  const page = new Uint8Array(pageBytes).map((_, i) => i % 251);
  const isPage = (bytes: Uint8Array): boolean => Buffer.compare(bytes, page) === 0;
  const service: Service = {
    publish: () => Promise.resolve(),
    answer: (_caller, endpoint, body) => {
      asked += 1;
      return Promise.resolve(endpoint === 'pull' ? page : body);
    },
    onTick: () => () => undefined,
  };
  beforeAll(async () => {
    server = await NatsServer.start();
    connection = await connectServer({ servers: [server.url] }, systemEntropy);
    served = await serveTenant({
      connection,
      tenant,
      service,
      timer: systemTimer,
      generation: () => Promise.resolve(1),
    });
  });
  afterAll(async () => {
    await served.close();
    await connection.close();
    await server.dispose();
  });
  beforeEach(async () => {
    asked = 0;
    wire = await Wire.open(server.port);
    transport = tcpTransport({
      clock: systemClock,
      timer: fastTimer,
      entropy: systemEntropy,
      servers: [wire.url],
    });
    link = await transport.open({ tenant, replica: 'r1', user: 'ann' });
  });
  afterEach(async () => {
    wire.letGo();
    await transport.disconnect();
    await wire.close();
  });

  it('[NAT-53] waits for an answer as long as parts of it come', async () => {
    wire.setSpeed(pageBytes);
    const begunMs = performance.now();
    expect(isPage(await link.request('pull', Uint8Array.of(1)))).toBe(true);
    expect(performance.now() - begunMs).toBeGreaterThan(600);
    expect(asked).toBe(1);
  });

  it('[NAT-53] waits for an answer that is behind others', async () => {
    wire.setSpeed(pageBytes);
    const large = link.request('pull', Uint8Array.of(1));
    expect(await link.request('resume', Uint8Array.of(7))).toEqual(Uint8Array.of(7));
    expect(isPage(await large)).toBe(true);
    expect(asked).toBe(2);
  });

  it('[NAT-53] an answer that stops in the middle is too slow, and nobody else is asked', async () => {
    wire.stopAfter(pageBytes / 4);
    await expect(link.request('pull', Uint8Array.of(1))).rejects.toMatchObject({ code: 'timeout' });
    expect(asked).toBe(1);
  });
});
