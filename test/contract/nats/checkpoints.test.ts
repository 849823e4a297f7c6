import { systemEntropy } from '@tidemark/node';
import { registerCheckpointFolderContract } from '@tidemark/testkit';
import {
  checkpointPartBytesMax,
  connectServer,
  openNatsCheckpoints,
} from '@tidemark/transport-nats/server';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NatsServer } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

describeOnNats('checkpoints in NATS', () => {
  let nats: NatsServer;
  let tenants = 0;
  beforeAll(async () => {
    nats = await NatsServer.start();
  });
  afterAll(() => nats.dispose());

  const open = async (tenant: string) => {
    const connection = await connectServer({ servers: [nats.url] }, systemEntropy);
    const folder = openNatsCheckpoints({ connection, tenant });
    return { folder, connection, dispose: () => connection.close() };
  };

  registerCheckpointFolderContract('object store', () => {
    tenants += 1;
    return open(`tenant-${tenants}`);
  });

  test('[NAT-80] a checkpoint of several parts is read whole, and nothing of it stays when it is removed', async () => {
    const { folder, connection, dispose } = await open('parts');
    const bytesStored = async (): Promise<number> => {
      const answer = await connection.core.request('$JS.API.STREAM.INFO.OBJ_CHECKPOINTS-parts');
      return (answer.json() as { readonly state: { readonly bytes: number } }).state.bytes;
    };
    const bytes = 2 * checkpointPartBytesMax + 17;
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes; at += 1_000_000)
        yield await Promise.resolve(
          new Uint8Array(Math.min(1_000_000, bytes - at)).fill(at / 1_000_000),
        );
    };
    await folder.write('big', new Uint8Array(3), chunks());
    expect(await bytesStored()).toBeGreaterThan(bytes);
    let at = 0;
    for await (const chunk of folder.readChunks('big')) {
      for (const byte of [chunk[0], chunk.at(-1)])
        expect([
          Math.floor(at / 1_000_000),
          Math.floor((at + chunk.length - 1) / 1_000_000),
        ]).toContain(byte);
      at += chunk.length;
    }
    expect(at).toBe(bytes);
    await folder.remove('big');
    expect(await bytesStored()).toBe(0);
    await dispose();
  });
});
