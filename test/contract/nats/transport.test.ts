import { nodeCrypto, systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import { registerTransportContract } from '@tidemark/testkit';
import type { Service } from '@tidemark/ports';
import { tcpTransport, type NatsTransport } from '@tidemark/transport-nats/node';
import {
  connectServer,
  openNatsInputLog,
  serveTenant,
  type EnvelopeSender,
} from '@tidemark/transport-nats/server';
import { afterAll, beforeAll, describe } from 'vitest';
import { NatsServer, natsProgram, Wire } from '../../processes/nats-server.js';

const effects = { clock: systemClock, timer: systemTimer, entropy: systemEntropy };
const tenant = 'acme';

/** Serves a service on NATS: calls directly, envelopes as they come out of the stream. */
const serve = async (url: string, service: Service) => {
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
  return async () => {
    await served.close();
    await reading;
    await input.close();
    await connection.close();
  };
};

describe.skipIf(natsProgram === undefined)('on a real nats-server', () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(() => server.dispose());

  registerTransportContract('transport-nats over TCP', async () => {
    const wire = await Wire.open(server.port);
    let transport: NatsTransport | undefined;
    let stop = () => Promise.resolve();
    return {
      connect: async (service) => {
        stop = await serve(server.url, service);
        transport = tcpTransport({ ...effects, servers: [wire.url] });
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
});
