import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import type { Service, Timer } from '@tidemark/ports';
import { tcpTransport } from '@tidemark/transport-nats/node';
import {
  connectServer,
  openNatsInputLog,
  serveTenant,
  type NatsServerConnection,
} from '@tidemark/transport-nats/server';
import { nodeCrypto } from '@tidemark/node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { NatsServer, Wire } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

const caller = { tenant: 'acme', replica: 'r1', user: 'ann' };
const echo: Service = {
  publish: () => Promise.resolve(),
  answer: (_caller, _endpoint, body) => Promise.resolve(body),
  onTick: () => () => undefined,
};

describeOnNats('connections to a real nats-server', () => {
  let server: NatsServer;
  let connection: NatsServerConnection;
  beforeAll(async () => {
    server = await NatsServer.start();
    connection = await connectServer({ servers: [server.url] }, systemEntropy);
    await serveTenant({
      connection,
      tenant: caller.tenant,
      service: echo,
      timer: systemTimer,
      generation: () => Promise.resolve(1),
    });
  });
  afterAll(async () => {
    await connection.close();
    await server.dispose();
  });

  describe('of devices', () => {
    let wire: Wire;
    let dialled = 0;
    beforeEach(async () => {
      dialled = 0;
      wire = await Wire.open(server.port, () => {
        dialled += 1;
      });
    });
    afterEach(() => wire.close());
    const transportTo = (timer: Timer = systemTimer) =>
      tcpTransport({
        clock: systemClock,
        entropy: { bytes: (count) => new Uint8Array(count).fill(255) },
        timer,
        servers: [wire.url],
      });

    it('[NAT-56] a dial that nobody waits for any more leaves no connection behind', async () => {
      for (const way of ['disconnected', 'left'] as const) {
        const transport = transportTo();
        const leaving = new AbortController();
        // The greeting of NATS is held back: the dial is under way when its caller leaves.
        wire.stopAfter(0);
        const before = dialled;
        const opening = transport.open(caller, leaving.signal);
        await vi.waitFor(() => expect(dialled).toBe(before + 1));
        leaving.abort();
        await expect(opening).rejects.toMatchObject({ code: 'aborted' });
        const done = way === 'disconnected' ? transport.disconnect() : Promise.resolve();
        wire.letGo();
        await done;
        await vi.waitFor(() => expect(wire.connections()).toBe(0), { timeout: 10_000 });
        expect(transport.openLinks()).toBe(0);
        // The transport works on.
        const link = await transport.open(caller);
        expect(await link.request('resume', Uint8Array.of(1))).toEqual(Uint8Array.of(1));
        await link.close();
        await vi.waitFor(() => expect(wire.connections()).toBe(0));
      }
    });

    it('[NAT-56] of links that share a pause before the dial one may leave; the pause ends with the last', async () => {
      let wake: () => void = () => undefined;
      let pauses = 0;
      // Pauses before a dial end when the test says so; everything else takes its time.
      const timer: Timer = {
        sleep: (ms, signal) => {
          if (ms !== 100) return systemTimer.sleep(ms, signal);
          pauses += 1;
          return new Promise((resolve) => {
            wake = resolve;
            signal?.addEventListener('abort', resolve);
          });
        },
      };
      const transport = tcpTransport({
        clock: { nowMs: () => 1_000_000 },
        entropy: { bytes: (count) => new Uint8Array(count).fill(255) },
        timer,
        servers: [wire.url],
      });
      wire.setOpen(false);
      await expect(transport.open(caller)).rejects.toMatchObject({ code: 'unreachable' });
      wire.setOpen(true);
      const [a, b] = [new AbortController(), new AbortController()];
      const first = transport.open(caller, a.signal);
      const second = transport.open({ ...caller, replica: 'r2' }, b.signal);
      await vi.waitFor(() => expect(pauses).toBe(1));
      a.abort();
      await expect(first).rejects.toMatchObject({ code: 'aborted' });
      b.abort();
      await expect(second).rejects.toMatchObject({ code: 'aborted' });
      const third = transport.open(caller, new AbortController().signal);
      const leaving = new AbortController();
      const fourth = transport.open({ ...caller, replica: 'r2' }, leaving.signal);
      await vi.waitFor(() => expect(pauses).toBe(2));
      leaving.abort();
      await expect(fourth).rejects.toMatchObject({ code: 'aborted' });
      wake();
      const link = await third;
      expect(transport.openLinks()).toBe(1);
      await link.close();
    });
  });

  it('[NAT-54] a server whose credential is refused tries on, and is there again when it is accepted', async () => {
    const config = (password: string): string =>
      `authorization { users: [{ user: "server", password: "${password}" }] }`;
    const guarded = await NatsServer.start(config('right'));
    const place = { servers: [guarded.url], user: 'server', password: 'right' };
    await expect(
      connectServer({ ...place, password: 'wrong' }, systemEntropy),
    ).rejects.toMatchObject({ code: 'denied' });
    // The shortest pauses that may be drawn.
    const kept = await connectServer(place, { bytes: (count) => new Uint8Array(count) });
    try {
      let reconnected = 0;
      kept.onReconnected(() => {
        reconnected += 1;
      });
      await guarded.kill();
      guarded.configure(config('another'));
      await guarded.run();
      const refusals = async (): Promise<number> => {
        const log = await readFile(path.join(guarded.folder, 'nats.log'), 'utf8');
        return log.split('authentication error').length - 1;
      };
      await vi.waitFor(async () => expect(await refusals()).toBeGreaterThan(2), {
        timeout: 20_000,
        interval: 100,
      });
      await guarded.kill();
      guarded.configure(config('right'));
      await guarded.run();
      await vi.waitFor(() => expect(reconnected).toBe(1), { timeout: 20_000 });
      expect(kept.core.isClosed()).toBe(false);
    } finally {
      await kept.close();
      await guarded.dispose();
    }
    expect(await kept.ended).toBeUndefined();
  });

  it('[NAT-55] a connection that ended by itself tells why', async () => {
    const lost = await connectServer({ servers: [server.url] }, systemEntropy);
    await lost.core.close();
    expect(await lost.ended).toMatchObject({ code: 'unreachable' });
  });

  it('[NAT-57] an input that is closed while its watch is made leaves none behind', async () => {
    for (let round = 0; round < 5; round += 1) {
      const log = await openNatsInputLog({
        connection,
        tenant: 'watched',
        hash: nodeCrypto.sha256,
        clock: systemClock,
        timer: systemTimer,
        entropy: systemEntropy,
        envelopeEntry: (_sender, envelope) => envelope,
        bytesMax: 1024 * 1024,
      });
      await log.close();
      // Asked on the same connection, behind everything that the watch asked for.
      const names = await connection.core.request('$JS.API.CONSUMER.NAMES.OPS-watched-1');
      expect(names.json()).toMatchObject({ total: 0 });
    }
  });
});
