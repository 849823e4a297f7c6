import { registerInputLogContract } from '@tidemark/testkit';
import { nodeCrypto, systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import { connectServer, openNatsInputLog } from '@tidemark/transport-nats/server';
import { afterAll, beforeAll } from 'vitest';
import { NatsServer } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

describeOnNats('on a real nats-server', () => {
  let server: NatsServer;
  let tenants = 0;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(() => server.dispose());

  registerInputLogContract('JetStream', () => {
    tenants += 1;
    const tenant = `tenant ${tenants}`;
    return Promise.resolve({
      open: async () => {
        const connection = await connectServer({ servers: [server.url] }, systemEntropy);
        const log = await openNatsInputLog({
          connection,
          tenant,
          hash: nodeCrypto.sha256,
          clock: systemClock,
          timer: systemTimer,
          entropy: systemEntropy,
          envelopeEntry: (_sender, envelope) => envelope,
          bytesMax: 16 * 1024 * 1024,
        });
        return {
          ...log,
          close: async () => {
            await log.close();
            await connection.close();
          },
        };
      },
      dispose: () => Promise.resolve(),
    });
  });
});
