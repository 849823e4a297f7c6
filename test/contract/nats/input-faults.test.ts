import { utf8Decode, utf8Encode } from '@tidemark/model';
import { nodeCrypto, systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import type { InputMessage, Timer } from '@tidemark/ports';
import {
  connectServer,
  openNatsInputLog,
  type NatsInputLog,
  type NatsInputLogOptions,
  type NatsServerConnection,
} from '@tidemark/transport-nats/server';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { NatsServer, Wire } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

const start = { generation: 1, seq: 0 };
const wide = { maxBytes: 10_000_000, maxMessages: 10_000 } as const;
const blockBytes = 64 * 1024;
/** Silence that ends a pull. */
const pullMs = 5_000;
/** Waits of the input log at a twentieth of their length: 250 ms for a silent pull. */
const fastTimer: Timer = { sleep: (ms, signal) => systemTimer.sleep(ms / 20, signal) };
const placesOf = (messages: readonly InputMessage[]): readonly number[] =>
  messages.map(({ position }) => position.seq);
const upTo = (last: number, first = 1): readonly number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

describeOnNats('input on JetStream over a bad network', () => {
  let server: NatsServer;
  let wire: Wire;
  let near: NatsServerConnection;
  let far: NatsServerConnection;
  const logs: NatsInputLog[] = [];
  let tenants = 0;
  beforeAll(async () => {
    server = await NatsServer.start();
    near = await connectServer({ servers: [server.url] }, systemEntropy);
  });
  afterAll(async () => {
    await near.close();
    await server.dispose();
  });
  beforeEach(async () => {
    tenants += 1;
    wire = await Wire.open(server.port);
    far = await connectServer({ servers: [wire.url] }, systemEntropy);
  });
  afterEach(async () => {
    wire.letGo();
    for (const log of logs.splice(0)) await log.close();
    await far.close();
    await wire.close();
  });

  const open = async (
    connection: NatsServerConnection,
    more: Partial<NatsInputLogOptions> = {},
  ): Promise<NatsInputLog> => {
    const log = await openNatsInputLog({
      connection,
      tenant: `t${tenants}`,
      hash: nodeCrypto.sha256,
      clock: systemClock,
      timer: fastTimer,
      entropy: systemEntropy,
      envelopeEntry: (_sender, envelope) => envelope,
      bytesMax: 8 * 1024 * 1024,
      ...more,
    });
    logs.push(log);
    return log;
  };
  const fill = async (count: number, bytes = blockBytes): Promise<void> => {
    const log = await open(near);
    await log.append(Array.from({ length: count }, () => new Uint8Array(bytes)));
  };
  /** Reads on until `last` came. */
  const readTo = async (log: NatsInputLog, after: number, last: number) => {
    const found: InputMessage[] = [];
    for (let at = after; at < last; at = found.at(-1)?.position.seq ?? at)
      found.push(...(await log.read({ generation: 1, seq: at }, wide)));
    return found;
  };

  it('[NAT-50] a pull that falls silent in the middle loses no message', async () => {
    await fill(20);
    let silences = 0;
    const timer: Timer = {
      sleep: async (ms, signal) => {
        await fastTimer.sleep(ms, signal);
        if (ms !== pullMs || signal?.aborted === true) return;
        silences += 1;
        // The first wait saw messages come. What the second one gives up arrives only afterwards.
        if (silences === 2) wire.letGo();
      },
    };
    const log = await open(far, { timer });
    wire.stopAfter(6 * blockBytes);
    const first = await log.read(start, wide);
    expect(silences).toBe(2);
    const rest = await readTo(log, first.length, 20);
    expect(placesOf([...first, ...rest])).toEqual(upTo(20));
  });

  it('[NAT-50] a slow pull goes on as long as messages come', async () => {
    await fill(20);
    const log = await open(far);
    wire.setSpeed(1024 * 1024);
    const begunMs = performance.now();
    const read = await log.read(start, wide);
    expect(performance.now() - begunMs).toBeGreaterThan(500);
    expect(placesOf(read)).toEqual(upTo(20));
  });

  it('[NAT-52] each message of an append has its own outcome; behind a refused one nothing more is offered', async () => {
    const log = await open(near, { bytesMax: 256 * 1024 });
    const one = new Uint8Array(10);
    // 256 are on their way at once: what follows the refused one there may be stored.
    const messages = Array.from({ length: 300 }, (_, i) =>
      i === 10 ? new Uint8Array(300 * 1024) : one,
    );
    const outcomes = await log.append(messages);
    const stored = outcomes.flatMap((outcome) =>
      outcome.tag === 'stored' ? [outcome.position.seq] : [],
    );
    expect(outcomes.slice(0, 10).map(({ tag }) => tag)).toEqual(Array(10).fill('stored'));
    for (const outcome of [outcomes[10], ...outcomes.slice(256)])
      expect(outcome).toMatchObject({ tag: 'refused', error: { code: 'input-full' } });
    expect(stored).toEqual(upTo(255));
    expect(await log.extent()).toMatchObject({ last: 255 });
    expect(await log.append([one])).toEqual([
      { tag: 'stored', position: { generation: 1, seq: 256 } },
    ]);
  });

  it('[NAT-51] a message that was lost on its way is read again before it counts as missing', async () => {
    await fill(10, 10);
    const log = await open(near);
    expect(placesOf(await log.read(start, { ...wide, maxMessages: 2 }))).toEqual([1, 2]);
    const stream = `OPS-t${tenants}-1`;
    const named = await near.core.request(`$JS.API.CONSUMER.NAMES.${stream}`);
    const { consumers } = JSON.parse(utf8Decode(named.data)) as { consumers: string[] };
    // Two messages go somewhere else than to the reader: as they do when a connection is lost.
    const stolen: number[] = [];
    const inbox = near.core.subscribe('stolen', {
      callback: (_error, { reply = '' }) => {
        if (reply !== '') stolen.push(Number(reply.split('.')[5]));
      },
    });
    for (const name of consumers)
      near.core.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`,
        utf8Encode(JSON.stringify({ batch: 2, no_wait: true })),
        { reply: 'stolen' },
      );
    await expect.poll(() => stolen).toEqual([3, 4]);
    inbox.unsubscribe();
    expect(placesOf(await log.read({ generation: 1, seq: 2 }, wide))).toEqual(upTo(10, 3));
    // What is gone is gone also for a reader of its own.
    await near.core.request(`$JS.API.STREAM.PURGE.${stream}`, JSON.stringify({ seq: 6 }));
    await expect(log.read({ generation: 1, seq: 3 }, wide)).rejects.toMatchObject({
      code: 'storage-damaged',
    });
  });
});
