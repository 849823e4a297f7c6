import { headers } from '@nats-io/nats-core';
import { toHex, utf8Decode, utf8Encode } from '@tidemark/model';
import { nodeCrypto, systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import type { InputLog, InputMessage } from '@tidemark/ports';
import { createMemoryCheckpoints, positionsOf } from '@tidemark/testkit';
import {
  connectServer,
  openNatsInputLog,
  readArchive,
  type NatsInputLog,
  type NatsInputLogOptions,
  type NatsServerConnection,
} from '@tidemark/transport-nats/server';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { NatsServer, Wire } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

const start = { generation: 1, seq: 0 };
const headersOf = (user: string) => {
  const named = headers();
  named.set('Tidemark-User', encodeURIComponent(user));
  return named;
};
const wide = { maxBytes: 10_000_000, maxMessages: 10_000 } as const;
const print = ({ position, bytes }: InputMessage): string =>
  `${position.generation}/${position.seq} ${utf8Decode(bytes)}`;

describeOnNats('input on JetStream that several servers share', () => {
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
    tenant = `t${tenants}`;
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
      envelopeEntry: ({ replica, user }, envelope) =>
        utf8Encode(`${replica} of ${user}: ${utf8Decode(envelope)}`),
      bytesMax: 8 * 1024 * 1024,
      ...more,
    });
    logs.push(log);
    return log;
  };
  const readAll = async (log: InputLog): Promise<readonly string[]> =>
    (await log.read(start, wide)).map(print);
  const publish = (subject: string, text: string, user = 'ann') => {
    const { core } = connection;
    const named = headersOf(user);
    if (subject.includes('.in.')) named.set('Tidemark-Server', '1');
    return core.request(subject, utf8Encode(text), { timeout: 5_000, headers: named });
  };

  /** Makes the stream of the second generation, and stores nothing. */
  const makeSecond = async (subjects: readonly string[]): Promise<void> => {
    const name = `OPS-${tenant}-2`;
    const config = { name, subjects, storage: 'file', retention: 'limits' };
    await connection.core.request(`$JS.API.STREAM.CREATE.${name}`, JSON.stringify(config));
  };

  it('[NAT-1] what a device stores is an envelope of the subject it came on, whatever its bytes', async () => {
    const log = await open();
    await log.append([utf8Encode('of a server')]);
    await publish(`tm.${tenant}.ops.1.-.r1`, 'of a device', 'Žofia');
    expect(await readAll(log)).toEqual(['1/1 of a server', '1/2 r1 of Žofia: of a device']);
    const [, ofDevice] = await log.read(start, wide);
    const hash = await log.hashAt({ generation: 1, seq: 2 });
    expect(ofDevice?.hash && hash && toHex(hash)).toBe(toHex(ofDevice?.hash ?? new Uint8Array(0)));
  });

  it('[NAT-76] the same bytes stored at another time have another hash', async () => {
    const log = await open();
    await log.append([utf8Encode('same')]);
    await vi.waitFor(async () => {
      await log.append([utf8Encode('same')]);
      const [first, ...more] = await log.read(start, wide);
      const hashes = new Set([first, ...more].map((one) => toHex(one?.hash ?? new Uint8Array(0))));
      expect(hashes.size).toBeGreaterThan(1);
    });
  });

  it("[NAT-14] JetStream's word to a device is no entry and ends nothing, wherever the device directs it", async () => {
    const log = await open();
    await log.append([utf8Encode('a')]);
    const { core } = connection;
    const direct = (reply: string): void =>
      core.publish(`tm.${tenant}.ops.1.d1.r1`, utf8Encode('of a device'), { reply });
    direct(`tm.${tenant}.in.1.entry`);
    direct(`tm.${tenant}.in.1.end`);
    direct(`tm.${tenant}.ops.1.d2.r2`);
    await core.flush();
    await vi.waitFor(async () => expect((await log.extent()).last).toBe(7), 5_000);
    await log.append([utf8Encode('b')]);
    const read = await readAll(log);
    // The order of devices' messages and of the words to them is JetStream's.
    const word = (who: string): string => `${who} of : {"stream":"OPS-${tenant}-1"`;
    const kinds = read.map((line) => line.replace(/^1\/\d+ /, '').replace(/, ?"seq.*$/, ''));
    const expected = ['a', 'b', word('-'), word('-'), word('r2')];
    for (let sent = 0; sent < 3; sent += 1) expected.push('r1 of : of a device');
    expect(new Set(kinds)).toEqual(new Set(expected));
    expect(kinds).toHaveLength(expected.length);
    expect(await readAll(await open())).toEqual(read);
    const hashes = await Promise.all(
      read.map((_, i) => log.hashAt({ generation: 1, seq: i + 1 }).then((hash) => hash?.length)),
    );
    expect(new Set(hashes)).toEqual(new Set([32]));
    // A generation can still end, and forged ends behind it change nothing.
    await log.startGeneration({ generation: 1, last: 8 }, utf8Encode('first of 2'));
    expect(await readAll(await open())).toEqual([...read, '2/1 first of 2']);
  });

  it('[NAT-2] of servers that end a generation at once exactly one wins, and all go on behind it', async () => {
    const all = await Promise.all([open(), open(), open()]);
    await all[0].append([utf8Encode('a')]);
    const tries = await Promise.allSettled(
      all.map((log, i) => log.startGeneration({ generation: 1, last: 1 }, utf8Encode(`by ${i}`))),
    );
    const winners = tries.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []));
    expect(winners).toHaveLength(1);
    for (const one of tries)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'behind' });
    await Promise.all(all.map((log, i) => log.append([utf8Encode(`after ${i}`)])));
    const read = await readAll(all[0]);
    expect(read.slice(0, 2)).toEqual(['1/1 a', `2/1 by ${winners[0]}`]);
    expect(read).toHaveLength(5);
    for (const log of [...all, await open()]) expect(await readAll(log)).toEqual(read);
  });

  it('[NAT-87] a device that knows the next subject stores nothing before the beginning of a generation', async () => {
    const log = await open();
    const attacker = await connectServer({ servers: [server.url] }, systemEntropy);
    const ended = headersOf('eve');
    ended.set('Tidemark-Ended', '99');
    for (let generation = 1; generation <= 5; generation += 1) {
      let isOver = false;
      const flood = async (): Promise<void> => {
        while (!isOver) {
          for (let i = 0; i < 5; i += 1) {
            attacker.core.publish(`tm.${tenant}.ops.${generation + 1}.-.r1`, utf8Encode('evil'), {
              headers: ended,
            });
            // What JetStream says to this goes where servers publish.
            attacker.core.publish(`tm.${tenant}.ops.${generation - 1}.-.r1`, utf8Encode('evil'), {
              reply: `tm.${tenant}.in.${generation + 1}.entry`,
            });
          }
          await attacker.core.flush();
          // JetStream stores later than NATS takes: on a busy machine a flood without pauses is stored for seconds.
          await systemTimer.sleep(1);
        }
      };
      const flooded = flood();
      const first = utf8Encode(`first of ${generation + 1}`);
      // What was sent at the beginning of this generation may still be on its way.
      await vi.waitFor(async () => log.startGeneration(await log.extent(), first), 15_000);
      isOver = true;
      await flooded;
    }
    await attacker.close();
    const fresh = await open();
    for (let generation = 2; generation <= 6; generation += 1) {
      const [first] = await fresh.read({ generation, seq: 0 }, { maxBytes: 1, maxMessages: 1 });
      expect(first && print(first)).toBe(`${generation}/1 first of ${generation}`);
    }
    // Behind the beginning it is an envelope as any other.
    await publish(`tm.${tenant}.ops.6.-.r1`, 'later');
    const { last } = await fresh.extent();
    const later = await fresh.read({ generation: 6, seq: last - 1 }, wide);
    expect(later.map(print)).toEqual([`6/${last} r1 of ann: later`]);
  });

  it('[NAT-87] devices are let into a generation whose server died when it had begun it', async () => {
    const log = await open();
    await log.append([utf8Encode('a')]);
    await publish(`tm.${tenant}.in.1.end`, 'first of 2');
    await makeSecond([`tm.${tenant}.in.2.begin-0a`]);
    await publish(`tm.${tenant}.in.2.begin-0a`, 'first of 2');
    await expect(publish(`tm.${tenant}.ops.2.-.r1`, 'early')).rejects.toThrow(/no responders/);
    await log.extent();
    await publish(`tm.${tenant}.ops.2.-.r1`, 'later');
    expect(await readAll(log)).toEqual(['1/1 a', '2/1 first of 2', '2/2 r1 of ann: later']);
  });

  it('[NAT-87] a generation that lost its beginning while servers run is begun again', async () => {
    const log = await open();
    await log.append([utf8Encode('a')]);
    await log.startGeneration({ generation: 1, last: 1 }, utf8Encode('first of 2'));
    const ask = async (verb: string, body = {}) => {
      const subject = `$JS.API.STREAM.${verb}.OPS-${tenant}-2`;
      const answer = await connection.core.request(subject, JSON.stringify(body));
      return (answer.json() as { readonly config: Readonly<Record<string, unknown>> }).config;
    };
    const config = await ask('INFO');
    await ask('DELETE');
    await ask('CREATE', { ...config, subjects: [`tm.${tenant}.in.2.begin-0a`] });
    expect(await log.extent()).toEqual({ generation: 2, first: 1, last: 1 });
    await publish(`tm.${tenant}.ops.2.-.r1`, 'later');
    expect(await readAll(log)).toEqual(['1/1 a', '2/1 first of 2', '2/2 r1 of ann: later']);
  });

  it('[NAT-6] no header of a device tells where a generation ended', async () => {
    const log = await open();
    await log.append([utf8Encode('a')]);
    await publish(`tm.${tenant}.in.1.end`, 'first of 2');
    await makeSecond([
      `tm.${tenant}.ops.2.*.*`,
      `tm.${tenant}.in.2.entry`,
      `tm.${tenant}.in.2.end`,
    ]);
    const forged = headersOf('eve');
    forged.set('Tidemark-Server', '1');
    forged.set('Tidemark-Ended', '0');
    await connection.core.request(`tm.${tenant}.ops.2.-.r1`, utf8Encode('evil'), {
      headers: forged,
      timeout: 5_000,
    });
    const fresh = await open();
    await fresh.extent();
    expect(await fresh.endOf(1)).toBe(1);
  });

  it('[NAT-3] refuses to end a generation where it does not end', async () => {
    const [one, two] = [await open(), await open()];
    await one.append([utf8Encode('a')]);
    await two.append([utf8Encode('b')]);
    await expect(
      one.startGeneration({ generation: 1, last: 1 }, utf8Encode('x')),
    ).rejects.toMatchObject({ code: 'behind' });
    expect(await readAll(one)).toEqual(['1/1 a', '1/2 b']);
  });

  it('[NAT-3] who ends a generation that another server has just ended and sealed is told `behind`', async () => {
    const winner = await open();
    await winner.append([utf8Encode('a')]);
    const wire = await Wire.open(server.port);
    const slow = await connectServer({ servers: [wire.url] }, systemEntropy);
    const loser = await open({ connection: slow });
    await loser.extent();
    // Answered, which the loser hears of only when the other one has won.
    const looked = new Promise<void>((resolve) => {
      connection.core.subscribe('$JS.EVENT.ADVISORY.API', {
        callback: (_error, message) => {
          const { subject } = message.json() as { readonly subject: string };
          if (subject === `$JS.API.STREAM.INFO.OPS-${tenant}-1`) resolve();
        },
      });
    });
    await connection.core.flush();
    wire.stopAfter(0);
    const late = loser.startGeneration({ generation: 1, last: 1 }, utf8Encode('by the loser'));
    await looked;
    await winner.startGeneration({ generation: 1, last: 1 }, utf8Encode('by the winner'));
    wire.letGo();
    await expect(late).rejects.toMatchObject({ code: 'behind' });
    expect(await readAll(winner)).toEqual(['1/1 a', '2/1 by the winner']);
    await loser.close();
    logs.splice(logs.indexOf(loser), 1);
    await slow.close();
    await wire.close();
  });

  it('[NAT-4] what was stored behind an end is no part of the input; a server stores it again', async () => {
    const log = await open();
    await log.append([utf8Encode('a')]);
    // Another server ended the generation, and stopped before it began the next one.
    await publish(`tm.${tenant}.in.1.end`, 'first of 2');
    // A device that does not know yet.
    await publish(`tm.${tenant}.ops.1.-.r1`, 'late');
    expect(positionsOf(await log.append([utf8Encode('b'), utf8Encode('c')]))).toEqual([
      { generation: 2, seq: 2 },
      { generation: 2, seq: 3 },
    ]);
    const expected = ['1/1 a', '2/1 first of 2', '2/2 b', '2/3 c'];
    expect(await readAll(log)).toEqual(expected);
    expect(await readAll(await open())).toEqual(expected);
    expect(await log.hashAt({ generation: 1, seq: 2 })).toBeUndefined();
    expect(await log.hashAt({ generation: 1, seq: 3 })).toBeUndefined();
    // From now on nobody can: the stream is sealed.
    const refused = await publish(`tm.${tenant}.ops.1.-.r1`, 'too late');
    expect(utf8Decode(refused.data)).toContain('sealed');
  });

  it('[NAT-5] finishes a generation that was ended and made, but not begun', async () => {
    const log = await open();
    await log.append([utf8Encode('a')]);
    await publish(`tm.${tenant}.in.1.end`, 'first of 2');
    await makeSecond([`tm.${tenant}.ops.2.*.*`, `tm.${tenant}.in.2.*`]);
    const fresh = await open();
    expect(await readAll(fresh)).toEqual(['1/1 a', '2/1 first of 2']);
    expect(await fresh.extent()).toEqual({ generation: 2, first: 1, last: 1 });
  });

  it('[NAT-4] an ended generation that nobody could seal is sealed at the next look', async () => {
    await open();
    const ask = async (verb: string, generation: number, body = {}) => {
      const subject = `$JS.API.STREAM.${verb}.OPS-${tenant}-${generation}`;
      const answer = await connection.core.request(subject, JSON.stringify(body));
      return (answer.json() as { readonly config: Readonly<Record<string, unknown>> }).config;
    };
    const config = await ask('INFO', 1);
    // The server that ended it died when the next one had begun.
    await publish(`tm.${tenant}.in.1.end`, 'first of 2');
    await ask('CREATE', 2, {
      ...config,
      name: `OPS-${tenant}-2`,
      subjects: [`tm.${tenant}.ops.2.*.*`, `tm.${tenant}.in.2.entry`, `tm.${tenant}.in.2.end`],
    });
    await publish(`tm.${tenant}.in.2.entry`, 'first of 2');
    const log = await open();
    expect(await log.extent()).toEqual({ generation: 2, first: 1, last: 1 });
    expect(await ask('INFO', 1)).toMatchObject({ sealed: true });
    const refused = await publish(`tm.${tenant}.ops.1.-.r1`, 'too late');
    expect(utf8Decode(refused.data)).toContain('sealed');
  });

  it('[NAT-6] goes on behind a generation that was removed, where nothing of it is missing', async () => {
    const [one, two] = [await open(), await open()];
    await one.append([utf8Encode('a'), utf8Encode('b')]);
    await one.startGeneration({ generation: 1, last: 2 }, utf8Encode('first'));
    await one.trim({ generation: 2, seq: 0 });
    const fresh = await open();
    for (const log of [two, fresh]) {
      const read = await log.read({ generation: 1, seq: 2 }, wide);
      expect(read.map(print)).toEqual(['2/1 first']);
      await expect(log.read({ generation: 1, seq: 1 }, wide)).rejects.toMatchObject({
        code: 'storage-damaged',
      });
    }
  });

  it('[NAT-7] tells other servers that the input grew', async () => {
    const [one, two] = [await open(), await open()];
    let grown = 0;
    const stop = two.onGrown(() => {
      grown += 1;
    });
    await vi.waitFor(() => expect(grown).toBeGreaterThan(0), { timeout: 5_000 });
    const before = grown;
    await one.append([utf8Encode('a')]);
    await vi.waitFor(() => expect(grown).toBeGreaterThan(before), { timeout: 1_000 });
    stop();
  });

  it('[NAT-8] keeps in the archive what it removes, and removes nothing that reads back differently', async () => {
    const archive = createMemoryCheckpoints();
    const log = await open({ archive });
    const texts = Array.from({ length: 30 }, (_, i) => `message ${i}`);
    await log.append(texts.map(utf8Encode));
    await log.trim({ generation: 1, seq: 20 });
    const [name = ''] = await archive.list();
    const kept: string[] = [];
    for await (const { bytes } of readArchive(archive, name)) kept.push(utf8Decode(bytes));
    expect(kept).toEqual(texts.slice(0, 20));
    const lying = await open({
      archive: {
        ...archive,
        readChunks: async function* (one) {
          for await (const chunk of archive.readChunks(one)) {
            const altered = chunk.slice();
            altered[altered.length - 1] = 0;
            yield altered;
          }
        },
      },
    });
    await expect(lying.trim({ generation: 1, seq: 25 })).rejects.toMatchObject({
      code: 'storage-damaged',
    });
    expect(await lying.extent()).toEqual({ generation: 1, first: 21, last: 30 });
  });

  it('[NAT-58] an input that is there takes the limits that it is opened with', async () => {
    const small = await open({ bytesMax: 256 * 1024 });
    const block = new Uint8Array(200 * 1024);
    positionsOf(await small.append([block]));
    expect(await small.append([block])).toMatchObject([{ error: { code: 'input-full' } }]);
    const larger = await open({ bytesMax: 1024 * 1024 });
    expect(positionsOf(await larger.append([block]))).toEqual([{ generation: 1, seq: 2 }]);
    await larger.extent();
    expect(larger.space().bytesMax).toBe(1024 * 1024);
    // Below what it holds a limit would have to drop something: the stream keeps what it has.
    const smaller = await open({ bytesMax: 64 * 1024 });
    expect(await smaller.extent()).toEqual({ generation: 1, first: 1, last: 2 });
    expect(smaller.space().bytesMax).toBe(1024 * 1024);
    // What the machine does not have is refused: the input opens all the same, and says so.
    const refused: Error[] = [];
    const greedy = await open({
      bytesMax: 2 ** 50,
      onLimitsRefused: (cause) => refused.push(cause),
    });
    expect(refused).toMatchObject([{ code: 'input-full' }]);
    expect(await greedy.extent()).toEqual({ generation: 1, first: 1, last: 2 });
  });

  it('[NAT-9] tells when the space crosses 70% and 90%, and when it falls', async () => {
    const alarms: number[] = [];
    const log = await open({
      bytesMax: 1024 * 1024,
      onSpace: ({ alarm }) => alarms.push(alarm),
    });
    const block = new Uint8Array(64 * 1024);
    const code = await (async () => {
      for (;;) {
        try {
          positionsOf(await log.append([block]));
          await log.extent();
        } catch (cause) {
          return (cause as { readonly code: string }).code;
        }
      }
    })();
    expect(code).toBe('input-full');
    expect(alarms).toEqual([70, 90]);
    const { last } = await log.extent();
    await log.trim({ generation: 1, seq: last - 2 });
    await log.extent();
    expect(alarms).toEqual([70, 90, 0]);
    expect(positionsOf(await log.append([block]))).toEqual([{ generation: 1, seq: last + 1 }]);
  });
});
