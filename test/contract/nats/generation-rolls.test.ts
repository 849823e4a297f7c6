import { headers } from '@nats-io/nats-core';
import { toHex, utf8Decode, utf8Encode } from '@tidemark/model';
import { nodeCrypto, systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import type { InputMessage } from '@tidemark/ports';
import { createMemoryCheckpoints, positionsOf } from '@tidemark/testkit';
import {
  checkedGenerationBytes,
  connectServer,
  openNatsInputLog,
  readArchive,
  type NatsInputLog,
  type NatsInputLogOptions,
  type NatsServerConnection,
} from '@tidemark/transport-nats/server';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { NatsServer } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

const kilobyte = 1024;
interface StreamAnswer {
  readonly config: Readonly<Record<string, unknown>>;
  readonly state: { readonly bytes: number };
}

const start = { generation: 1, seq: 0 };
const marker = 'rolled';
const roll = { bytes: 64 * kilobyte, first: utf8Encode(marker) };
const named = (index: number | string): Uint8Array => utf8Encode(`${index}`.padEnd(4 * kilobyte));
const textOf = ({ bytes }: InputMessage): string => utf8Decode(bytes).trim();

describeOnNats('generations of an input on JetStream that roll by their size', () => {
  let server: NatsServer;
  let connection: NatsServerConnection;
  const logs: NatsInputLog[] = [];
  let tenants = 0;
  let tenant = '';
  beforeAll(async () => {
    server = await NatsServer.start();
    connection = await connectServer({ servers: [server.url] }, systemEntropy);
  });
  afterAll(async () => {
    await connection.close();
    await server.dispose();
  });
  beforeEach(() => {
    tenants += 1;
    tenant = `rolls-${tenants}`;
  });
  afterEach(async () => {
    for (const log of logs.splice(0)) await log.close();
  });

  const open = async (more: Partial<NatsInputLogOptions> = {}): Promise<NatsInputLog> => {
    const log = await openNatsInputLog({
      connection,
      tenant,
      hash: nodeCrypto.sha256,
      clock: systemClock,
      timer: systemTimer,
      entropy: systemEntropy,
      envelopeEntry: (_sender, envelope) => envelope,
      bytesMax: 8 * kilobyte * kilobyte,
      roll,
      ...more,
    });
    logs.push(log);
    return log;
  };
  const ofStream = async (verb: string, generation: number, body = {}): Promise<StreamAnswer> => {
    const subject = `$JS.API.STREAM.${verb}.OPS-${tenant}-${generation}`;
    return (await connection.core.request(subject, JSON.stringify(body))).json();
  };
  const streamNames = async (): Promise<unknown> => {
    const body = JSON.stringify({ subject: `tm.${tenant}.in.>` });
    const answer = await connection.core.request('$JS.API.STREAM.NAMES', body);
    return (answer.json() as { readonly streams: unknown }).streams;
  };
  /** Everything behind a position, however many reads that takes. */
  const readAll = async (log: NatsInputLog): Promise<readonly InputMessage[]> => {
    const all: InputMessage[] = [];
    for (;;) {
      const after = all.at(-1)?.position ?? start;
      const read = await log.read(after, { maxBytes: 1_000_000, maxMessages: 1_000 });
      if (read.length === 0) return all;
      all.push(...read);
    }
  };
  const generationOf = async (log: NatsInputLog): Promise<number> =>
    (await log.extent()).generation;
  /** As a fold does: looks where the input ends, and reads up to there. */
  const follow = async (log: NatsInputLog): Promise<number> => {
    const { generation, last } = await log.extent();
    const behind = { generation, seq: Math.max(0, last - 1) };
    await log.read(behind, { maxBytes: 1, maxMessages: 1 });
    return generation;
  };
  const rollOnce = async (log: NatsInputLog, from: number): Promise<void> => {
    const before = await generationOf(log);
    positionsOf(await log.append(Array.from({ length: 17 }, (_, i) => named(from + i))));
    await vi.waitFor(async () => expect(await follow(log)).toBe(before + 1), 5_000);
  };
  /** As a device does: to the generation that it knows, and to the next one when that takes no more. */
  const upload = async (log: NatsInputLog, bytes: Uint8Array): Promise<void> => {
    for (;;) {
      const generation = await generationOf(log);
      const header = headers();
      header.set('Nats-Expected-Stream', `OPS-${tenant}-${generation}`);
      const subject = `tm.${tenant}.ops.${generation}.-.r1`;
      const word = await connection.core
        .request(subject, bytes, { timeout: 5_000, headers: header })
        .then(
          (answer) => answer.json() as { readonly error?: unknown },
          () => ({ error: 'nobody' }),
        );
      if (word.error === undefined) return;
    }
  };

  it('[NAT-82] of servers that see a generation full exactly one ends it, and nothing is lost or doubled', async () => {
    const all = await Promise.all([open(), open(), open()]);
    const each = 60;
    const expected: string[] = [];
    const work = async (who: string, one: (bytes: Uint8Array) => Promise<unknown>) => {
      for (let i = 0; i < each; i += 1) {
        expected.push(`${who} ${i}`);
        await one(named(`${who} ${i}`));
      }
    };
    await Promise.all([
      ...all.map((log, at) =>
        work(`server ${at}`, async (bytes) => {
          positionsOf(await log.append([bytes]));
          await follow(log);
        }),
      ),
      work('device', (bytes) => upload(all[0], bytes)),
    ]);
    // What a device stored behind an end no receipt covers: it is offered again.
    for (let offers = 0; offers < 5; offers += 1) {
      const held = new Set((await readAll(all[1])).map(textOf));
      for (const text of expected) if (!held.has(text)) await upload(all[1], named(text));
    }
    // A roll that is under way adds its marker.
    await vi.waitFor(async () => {
      const { state } = await ofStream('INFO', await follow(all[0]));
      expect(state.bytes).toBeLessThan(roll.bytes);
    }, 10_000);
    const read = await readAll(all[1]);
    const texts = read.map(textOf);
    expect(texts.filter((text) => text !== marker).sort()).toEqual(expected.sort());
    const newest = await generationOf(all[2]);
    // 240 messages of 4 KB, at 64 KB each: devices and servers may store some more before the end.
    expect(newest).toBeGreaterThan(8);
    expect(newest).toBeLessThan(17);
    const begun = read.filter((message) => textOf(message) === marker);
    expect(begun.map(({ position }) => position)).toEqual(
      Array.from({ length: newest - 1 }, (_, i) => ({ generation: i + 2, seq: 1 })),
    );
    for (const log of [...all, await open()]) {
      const again = await readAll(log);
      expect(again.map(({ hash }) => hash && toHex(hash))).toEqual(
        read.map(({ hash }) => hash && toHex(hash)),
      );
    }
    for (let at = 1; at < newest; at += 1) {
      const { config, state } = await ofStream('INFO', at);
      expect([config['sealed'], config['max_bytes']]).toEqual([true, state.bytes]);
    }
  });

  it('[NAT-82] who only looks ends none', async () => {
    const log = await open();
    positionsOf(await log.append(Array.from({ length: 17 }, (_, i) => named(i))));
    for (let looks = 0; looks < 20; looks += 1) expect(await generationOf(log)).toBe(1);
    await rollOnce(log, 17);
  });

  it('[NAT-8] a generation that has rolled is archived and removed as a whole', async () => {
    const archive = createMemoryCheckpoints();
    const log = await open({ archive });
    await rollOnce(log, 0);
    await rollOnce(log, 17);
    const all = await readAll(log);
    await log.trim({ generation: 1, seq: 17 });
    expect(await archive.list()).toEqual([]);
    await log.trim({ generation: 3, seq: 0 });
    const kept: string[] = [];
    for (const name of await archive.list())
      for await (const { bytes } of readArchive(archive, name)) kept.push(utf8Decode(bytes).trim());
    const removed = all.filter(({ position }) => position.generation < 3);
    expect(kept).toEqual(removed.map(textOf));
    expect(await streamNames()).toEqual([`OPS-${tenant}-3`]);
    // Who stood at the end of what was removed goes on.
    const last = removed.at(-1)?.position ?? start;
    const behind = await (await open()).read(last, { maxBytes: 1_000_000, maxMessages: 100 });
    expect(behind.map(textOf)).toEqual([marker]);
  });

  it('[NAT-83] all generations share one limit, and one that is removed gives its room back', async () => {
    const bytesMax = 512 * kilobyte;
    const alarms: number[] = [];
    const log = await open({ bytesMax, onSpace: ({ alarm }) => alarms.push(alarm) });
    let stored = 0;
    const failure = await (async () => {
      for (;;) {
        const [outcome] = await log.append([named(stored)]);
        if (outcome?.tag !== 'stored') return outcome;
        stored += 1;
        await follow(log);
      }
    })();
    expect(failure).toMatchObject({ error: { code: 'input-full' } });
    expect(alarms).toEqual([70, 90]);
    expect(log.space().bytes).toBeGreaterThan(0.95 * bytesMax);
    expect(log.space().bytes).toBeLessThanOrEqual(bytesMax);
    const generation = await generationOf(log);
    // No generation begins where it would have no room.
    expect(generation).toBeGreaterThan(4);
    expect(generation).toBeLessThan(9);
    expect(await readAll(log)).toHaveLength(stored + generation - 1);
    await log.trim({ generation, seq: 0 });
    await log.extent();
    expect(alarms).toEqual([70, 90, 0]);
    const { config } = await ofStream('INFO', generation);
    expect(config['max_bytes']).toBe(bytesMax);
    positionsOf(await log.append([named('more')]));
  });

  it('[NAT-83] a generation gets the room of those that a server removed which then died', async () => {
    const bytesMax = 512 * kilobyte;
    const log = await open({ bytesMax });
    await rollOnce(log, 0);
    await ofStream('DELETE', 1);
    const roomOf = async (): Promise<unknown> => (await ofStream('INFO', 2)).config['max_bytes'];
    expect(await roomOf()).toBeLessThan(bytesMax);
    await log.trim({ generation: 2, seq: 0 });
    expect(await roomOf()).toBe(bytesMax);
  });

  it('[NAT-83] room that NATS refuses to give does not keep a trim from removing', async () => {
    await rollOnce(await open(), 0);
    const refused: Error[] = [];
    const greedy = await open({
      bytesMax: 2 ** 50,
      onLimitsRefused: (cause) => refused.push(cause),
    });
    expect(refused).toMatchObject([{ code: 'input-full' }]);
    await greedy.trim({ generation: 2, seq: 1 });
    expect(await streamNames()).toEqual([`OPS-${tenant}-2`]);
    expect(await greedy.extent()).toMatchObject({ generation: 2, first: 2 });
  });

  it('[NAT-84] a generation whose end is lost together with what stood before it is a gap, not shorter', async () => {
    const log = await open();
    await rollOnce(log, 0);
    const all = await readAll(log);
    const { config } = await ofStream('INFO', 1);
    await ofStream('DELETE', 1);
    await ofStream('CREATE', 1, { ...config, sealed: false, deny_purge: false, max_bytes: -1 });
    const header = headers();
    header.set('Tidemark-Server', '1');
    for (const message of all.slice(0, 5))
      await connection.core.request(`tm.${tenant}.in.1.entry`, message.bytes, {
        headers: header,
        timeout: 5_000,
      });
    const fresh = await open();
    const read = await fresh.read(start, { maxBytes: 1_000_000, maxMessages: 100 });
    expect(read).toHaveLength(5);
    expect(await fresh.endOf(1)).toBe(17);
    await expect(
      fresh.read(read.at(-1)?.position ?? start, { maxBytes: 1_000_000, maxMessages: 100 }),
    ).rejects.toMatchObject({ code: 'storage-damaged' });
    // Who has folded it all is not concerned.
    const tail = await fresh.read({ generation: 2, seq: 0 }, { maxBytes: 1_000, maxMessages: 9 });
    expect(tail.map(textOf)).toEqual([marker]);
  });

  it('refuses a size that is not worth a stream', () => {
    expect(checkedGenerationBytes(roll.bytes)).toBe(roll.bytes);
    expect(() => checkedGenerationBytes(1_000)).toThrow(/invalid-option/);
  });
});
