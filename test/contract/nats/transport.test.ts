import { nodeCrypto, systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import { registerTransportContract } from '@tidemark/testkit';
import type { Service } from '@tidemark/ports';
import { webSocketTransport } from '@tidemark/transport-nats';
import { tcpTransport, type NatsTransport } from '@tidemark/transport-nats/node';
import {
  connectServer,
  openNatsInputLog,
  serveTenant,
  type EnvelopeSender,
} from '@tidemark/transport-nats/server';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { NatsServer, Wire } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

const effects = { clock: systemClock, timer: systemTimer, entropy: systemEntropy };
const tenant = 'acme';

/** Serves a service on NATS: calls directly, envelopes as they come out of the stream. */
const serveWithInput = async (url: string, service: Service) => {
  const connection = await connectServer({ servers: [url] }, systemEntropy);
  const senders: EnvelopeSender[] = [];
  const input = await openNatsInputLog({
    ...effects,
    connection,
    tenant,
    hash: nodeCrypto.sha256,
    bytesMax: 16 * 1024 * 1024,
    envelopeEntry: (sender, envelope) => {
      senders.push(sender);
      return envelope;
    },
  });
  let { generation, last: seq } = await input.extent();
  let reading = Promise.resolve();
  const read = async (): Promise<void> => {
    const bounds = { maxBytes: 1_000_000, maxMessages: 100 };
    for (const { position, bytes } of await input.read({ generation, seq }, bounds)) {
      ({ generation, seq } = position);
      await service.publish(senders.shift() as EnvelopeSender, bytes);
    }
  };
  input.onGrown(() => {
    reading = reading.then(read);
  });
  const served = await serveTenant({
    connection,
    tenant,
    service,
    timer: systemTimer,
    generation: async () => (await input.extent()).generation,
  });
  const stop = async (): Promise<void> => {
    await served.close();
    await reading;
    await input.close();
    await connection.close();
  };
  return { stop, input };
};

const serve = async (url: string, service: Service) => (await serveWithInput(url, service)).stop;

describeOnNats('on a real nats-server', () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(() => server.dispose());

  const kinds = [
    [
      'TCP',
      () => server.port,
      (port: number) => tcpTransport({ ...effects, servers: [`nats://127.0.0.1:${port}`] }),
    ],
    [
      'WebSocket',
      () => server.webSocketPort,
      (port: number) => webSocketTransport({ ...effects, servers: [`ws://127.0.0.1:${port}`] }),
    ],
  ] as const;
  for (const [name, portOf, transportTo] of kinds)
    registerTransportContract(`transport-nats over ${name}`, async () => {
      const wire = await Wire.open(portOf());
      let transport: NatsTransport | undefined;
      let stop = () => Promise.resolve();
      return {
        connect: async (service) => {
          stop = await serve(server.url, service);
          transport = transportTo(wire.port);
          return transport;
        },
        cut: () => {
          wire.cut();
          return Promise.resolve();
        },
        dispose: async () => {
          await transport?.disconnect();
          await stop();
          await wire.close();
        },
      };
    });

  const caller = { tenant, replica: 'r1', user: 'ann' };
  const echo: Service = {
    publish: () => Promise.resolve(),
    answer: (_caller, _endpoint, body) => Promise.resolve(body),
    onTick: () => () => undefined,
  };
  const silent: Service = { ...echo, answer: () => new Promise(() => undefined) };

  it('[NAT-40] a call to a server that was killed goes to another one', async () => {
    const stop = await serve(server.url, echo);
    const frozen = await Wire.open(server.port);
    const connection = await connectServer({ servers: [frozen.url] }, systemEntropy);
    await serveTenant({
      connection,
      tenant,
      service: silent,
      timer: { sleep: (ms, signal) => systemTimer.sleep(1_000 * ms, signal) },
      generation: () => Promise.resolve(1),
    });
    const transport = tcpTransport({ ...effects, servers: [server.url] });
    const link = await transport.open(caller);
    const calls = Array.from({ length: 8 }, (_, i) => link.request('pull', Uint8Array.of(i)));
    await systemTimer.sleep(200);
    frozen.setOpen(false);
    expect((await Promise.all(calls)).map(([byte]) => byte)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    await link.close();
    await connection.close();
    await frozen.close();
    await stop();
  });

  it('[NAT-41] a slow server that says that it works is waited for', async () => {
    let asked = 0;
    const slow: Service = {
      ...echo,
      answer: async (_caller, _endpoint, body) => {
        asked += 1;
        await systemTimer.sleep(6_000);
        return body;
      },
    };
    const stop = await serve(server.url, slow);
    const transport = tcpTransport({ ...effects, servers: [server.url] });
    const link = await transport.open(caller);
    expect(await link.request('pull', Uint8Array.of(7))).toEqual(Uint8Array.of(7));
    expect(asked).toBe(1);
    await link.close();
    await stop();
  });

  it('[NAT-42] one connection serves all links of a transport, and closes with the last', async () => {
    const stop = await serve(server.url, echo);
    let dialled = 0;
    const wire = await Wire.open(server.port, () => {
      dialled += 1;
    });
    const transport = tcpTransport({ ...effects, servers: [wire.url] });
    const links = await Promise.all(
      ['r1', 'r2', 'r3'].map((replica) => transport.open({ ...caller, replica })),
    );
    expect(transport.openLinks()).toBe(3);
    expect(dialled).toBe(1);
    for (const link of links) await link.close();
    expect(transport.openLinks()).toBe(0);
    await vi.waitFor(() => expect(wire.connections()).toBe(0));
    await wire.close();
    await stop();
  });

  it('[NAT-43] after failures it waits before it dials again, drawn at random and bounded', async () => {
    const slept: number[] = [];
    const transport = tcpTransport({
      clock: { nowMs: () => 1_000_000 },
      entropy: { bytes: (count) => new Uint8Array(count).fill(255) },
      timer: {
        sleep: (ms) => {
          slept.push(ms);
          return Promise.resolve();
        },
      },
      servers: ['nats://127.0.0.1:1'],
    });
    for (let tried = 0; tried < 9; tried += 1)
      await expect(transport.open(caller)).rejects.toMatchObject({ code: 'unreachable' });
    expect(slept).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  });

  it('[NAT-44] nobody serves, or nobody stores: the call is unreachable, and nothing is lost', async () => {
    const transport = tcpTransport({ ...effects, servers: [server.url] });
    await expect(transport.open({ ...caller, tenant: 'nobody' })).rejects.toMatchObject({
      code: 'unreachable',
    });
    expect(transport.openLinks()).toBe(0);
  });

  it('[NAT-45] an envelope that is offered again is stored again: who skipped it needs it once more', async () => {
    const { stop, input } = await serveWithInput(server.url, echo);
    const transport = tcpTransport({ ...effects, servers: [server.url] });
    const link = await transport.open(caller);
    const before = await input.extent();
    for (let i = 0; i < 3; i += 1) await link.publish(Uint8Array.of(1, 2, 3));
    expect(await input.extent()).toEqual({ ...before, last: before.last + 3 });
    await link.close();
    await stop();
  });

  it('[NAT-46] a link whose generation has ended finds the one that takes envelopes', async () => {
    const { stop, input } = await serveWithInput(server.url, echo);
    const transport = tcpTransport({ ...effects, servers: [server.url] });
    const link = await transport.open(caller);
    await link.publish(Uint8Array.of(1));
    const { generation, last } = await input.extent();
    await input.startGeneration({ generation, last }, Uint8Array.of(0));
    await Promise.all([link.publish(Uint8Array.of(2)), link.publish(Uint8Array.of(3))]);
    expect(await input.extent()).toEqual({ generation: generation + 1, first: 1, last: 3 });
    await link.close();
    await stop();
  });
});
