import { headers } from '@nats-io/nats-core';
import { systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import type { Service, Timer } from '@tidemark/ports';
import { tcpTransport } from '@tidemark/transport-nats/node';
import { connectServer, serveTenant } from '@tidemark/transport-nats/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NatsServer, Wire } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

/** A device whose 4 s of silence are 800 ms. */
const quick: Timer = { sleep: (ms, signal) => systemTimer.sleep(ms / 5, signal) };
const silenceMs = 790;
const minuteMs = 60_000;

describeOnNats('a server that falls silent', () => {
  let nats: NatsServer;
  let tenants = 0;
  beforeAll(async () => {
    nats = await NatsServer.start();
  });
  afterAll(() => nats.dispose());

  /** A server that answers each call with a byte of its own. */
  const serveOn = async (tenant: string, url: string, mark: number, name: string | undefined) => {
    const service: Service = {
      publish: () => Promise.resolve(),
      answer: () => Promise.resolve(Uint8Array.of(mark)),
      onTick: () => () => undefined,
    };
    const connection = await connectServer({ servers: [url] }, systemEntropy);
    const generation = (): Promise<number> => Promise.resolve(1);
    const served = await serveTenant({
      ...{ connection, tenant, service, generation, timer: systemTimer },
      ...(name === undefined ? {} : { name }),
    });
    return async () => {
      await served.close();
      await connection.close();
    };
  };

  const begin = async (names: readonly (string | undefined)[]) => {
    tenants += 1;
    const tenant = `silent-${tenants}`;
    const paused = await Wire.open(nats.port);
    const stopFirst = await serveOn(tenant, nats.url, 1, names[0]);
    const stopSecond = await serveOn(tenant, paused.url, 2, names[1]);
    let aheadMs = 0;
    const clock = { nowMs: () => systemClock.nowMs() + aheadMs };
    const transport = tcpTransport({
      ...{ clock, timer: quick, entropy: systemEntropy, servers: [nats.url] },
    });
    const open = () => transport.open({ tenant, replica: 'r1', user: 'ann' });
    let link = await open();
    const call = async () => {
      const beganMs = performance.now();
      const [mark] = await link.request('pull', Uint8Array.of(0));
      return { mark, isSlow: performance.now() - beganMs > silenceMs };
    };
    const calls = async (count: number) => {
      const all = [];
      for (let i = 0; i < count; i += 1) all.push(await call());
      return all;
    };
    return {
      tenant,
      paused,
      stopFirst,
      calls,
      pass: (ms: number) => {
        aheadMs += ms;
      },
      reopen: async () => {
        await link.close();
        link = await open();
      },
      close: async () => {
        paused.letGo();
        await link.close();
        await stopFirst();
        await stopSecond();
        await paused.close();
      },
    };
  };
  const slowOf = (all: readonly { readonly isSlow: boolean }[]): number =>
    all.filter(({ isSlow }) => isSlow).length;
  const marksOf = (all: readonly { readonly mark: number | undefined }[]) =>
    new Set(all.map(({ mark }) => mark));

  it('[NAT-85] costs a device one silence, and not one of each second call', async () => {
    const world = await begin(['a1', 'b2']);
    expect(marksOf(await world.calls(40))).toEqual(new Set([1, 2]));
    world.paused.stopAfter(0);
    // The first call that reaches the paused one waits; then the device has found the other one.
    expect(slowOf(await world.calls(60))).toBe(1);
    // The next link of the device knows it, too.
    await world.reopen();
    expect(slowOf(await world.calls(20))).toBe(0);
    // After a minute NATS chooses again: another silence, as long as it is paused.
    world.pass(minuteMs);
    expect(slowOf(await world.calls(60))).toBe(1);
    world.paused.letGo();
    world.pass(minuteMs);
    expect(marksOf(await world.calls(40))).toEqual(new Set([1, 2]));
    await world.close();
  });

  it('[NAT-85] a named server that is gone costs nothing, and the others are called', async () => {
    const world = await begin(['a1', 'b2']);
    await world.calls(4);
    world.paused.stopAfter(0);
    await world.calls(20);
    expect(marksOf(await world.calls(10))).toEqual(new Set([1]));
    world.paused.letGo();
    await world.stopFirst();
    const rest = await world.calls(20);
    expect(slowOf(rest)).toBe(0);
    expect(marksOf(rest)).toEqual(new Set([2]));
    await world.close();
  });

  it('[NAT-85] a named call that a server without names takes for one of no endpoint is made again to any', async () => {
    const world = await begin(['a1', 'b2']);
    await world.calls(4);
    world.paused.stopAfter(0);
    // Until the paused one got a call: from then on a1 is called by its name.
    expect(slowOf(await world.calls(60))).toBe(1);
    world.paused.letGo();
    const older = await connectServer({ servers: [nats.url] }, systemEntropy);
    const refusal = headers();
    refusal.set('Tidemark-Error', 'malformed-message');
    older.core.subscribe(`tm.${world.tenant}.ask.*.*.*`, {
      queue: 'servers',
      callback: (_error, message) => {
        if (message.subject.includes('~')) message.respond(new Uint8Array(0), { headers: refusal });
        else message.respond(Uint8Array.of(3));
      },
    });
    await older.core.flush();
    expect(slowOf(await world.calls(20))).toBe(0);
    await world.stopFirst();
    const rest = await world.calls(20);
    expect(slowOf(rest)).toBe(0);
    expect(marksOf(rest).has(1)).toBe(false);
    await older.close();
    await world.close();
  });

  it('[NAT-85] servers that tell no name are called as before', async () => {
    const world = await begin([undefined, undefined]);
    const all = await world.calls(40);
    expect([slowOf(all), marksOf(all)]).toEqual([0, new Set([1, 2])]);
    await world.close();
  });
});
