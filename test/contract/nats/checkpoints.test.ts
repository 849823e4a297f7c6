import { systemEntropy } from '@tidemark/node';
import { registerCheckpointFolderContract } from '@tidemark/testkit';
import {
  checkpointPartBytesMax,
  connectServer,
  openNatsCheckpoints,
} from '@tidemark/transport-nats/server';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
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

  test('[NAT-80] who looks for checkpoints before there is any finds none and makes no bucket', async () => {
    const { folder, connection, dispose } = await open('none');
    expect(await folder.list()).toEqual([]);
    const missing = { code: 'checkpoint-invalid' };
    await expect(folder.readManifest('x')).rejects.toMatchObject(missing);
    await expect(marksOf(folder.readChunks('x'))).rejects.toMatchObject(missing);
    await folder.remove('x');
    const answer = await connection.core.request('$JS.API.STREAM.INFO.OBJ_CHECKPOINTS-none');
    expect(answer.json()).toMatchObject({ error: { code: 404 } });
    await folder.write('x', Uint8Array.of(1), twoParts(1));
    expect(await folder.list()).toEqual(['x']);
    await dispose();
  });

  const part = (mark: number): Uint8Array => new Uint8Array(checkpointPartBytesMax).fill(mark);
  /** Two parts of one byte; `between` runs when the first is stored. */
  const twoParts = async function* (
    mark: number,
    between: () => Promise<unknown> = () => Promise.resolve(),
  ): AsyncGenerator<Uint8Array> {
    yield part(mark);
    await between();
    yield part(mark);
  };
  const marksOf = async (chunks: AsyncIterable<Uint8Array>) => {
    const bytes = new Map<number, number>();
    for await (const chunk of chunks)
      for (const mark of [...new Set(chunk)])
        bytes.set(mark, (bytes.get(mark) ?? 0) + chunk.length);
    return [...bytes];
  };
  const wholeOf = (mark: number) => [[mark, 2 * checkpointPartBytesMax]];

  test('[NAT-86] of two servers that write one checkpoint the first stands whole, and the other is told so', async () => {
    const [one, two] = [await open('race'), await open('race')];
    const late = one.folder.write(
      'x',
      Uint8Array.of(1),
      twoParts(1, () => two.folder.write('x', Uint8Array.of(2), twoParts(2))),
    );
    await expect(late).rejects.toMatchObject({ code: 'invalid-option' });
    expect([...(await one.folder.readManifest('x'))]).toEqual([2]);
    expect(await marksOf(one.folder.readChunks('x'))).toEqual(wholeOf(2));
    for (const { dispose } of [one, two]) await dispose();
  });

  test('[NAT-86] a write that fails takes nothing of the one that another server has completed', async () => {
    const [one, two] = [await open('fails'), await open('fails')];
    const failing = one.folder.write(
      'x',
      Uint8Array.of(1),
      twoParts(1, async () => {
        await two.folder.write('x', Uint8Array.of(2), twoParts(2));
        throw new Error('the source failed');
      }),
    );
    await expect(failing).rejects.toThrow();
    expect(await two.folder.list()).toEqual(['x']);
    expect(await marksOf(two.folder.readChunks('x'))).toEqual(wholeOf(2));
    for (const { dispose } of [one, two]) await dispose();
  });

  test('[NAT-86] removing a name takes nothing from a server that is writing it', async () => {
    const [one, two] = [await open('removed'), await open('removed')];
    await one.folder.write(
      'x',
      Uint8Array.of(1),
      twoParts(1, () => two.folder.remove('x')),
    );
    expect(await marksOf(two.folder.readChunks('x'))).toEqual(wholeOf(1));
    for (const { dispose } of [one, two]) await dispose();
  });

  test('[NAT-86] what a server that died has left is removed once nothing came to it for an hour', async () => {
    const [dying, alive] = [await open('orphans'), await open('orphans')];
    const bytesStored = async (): Promise<number> => {
      const answer = await alive.connection.core.request(
        '$JS.API.STREAM.INFO.OBJ_CHECKPOINTS-orphans',
      );
      return (answer.json() as { readonly state: { readonly bytes: number } }).state.bytes;
    };
    await expect(
      dying.folder.write('x', Uint8Array.of(1), twoParts(1, dying.dispose)),
    ).rejects.toThrow();
    await alive.folder.remove('x');
    expect(await bytesStored()).toBeGreaterThan(checkpointPartBytesMax);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2 * 60 * 60 * 1000 });
    try {
      await alive.folder.remove('never');
    } finally {
      vi.useRealTimers();
    }
    expect(await bytesStored()).toBe(0);
    await alive.dispose();
  });
});
