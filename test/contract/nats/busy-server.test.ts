import { systemClock, systemEntropy, systemTimer } from '@tidemark/node';
import type { Service } from '@tidemark/ports';
import { tcpTransport } from '@tidemark/transport-nats/node';
import {
  callsInFlightMax,
  callsWaitingMax,
  connectServer,
  serveTenant,
} from '@tidemark/transport-nats/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NatsServer } from '../../processes/nats-server.js';
import { describeOnNats } from '../../processes/on-nats.js';

const devices = 20;

describeOnNats('a server with more calls than it works on', () => {
  let nats: NatsServer;
  beforeAll(async () => {
    nats = await NatsServer.start();
  });
  afterAll(() => nats.dispose());

  /** A server that answers each call with its body, once it is let go. */
  const begin = async (tenant: string) => {
    let letGo: () => void = () => undefined;
    const free = new Promise<void>((resolve) => (letGo = resolve));
    let [working, most] = [0, 0];
    const service: Service = {
      publish: () => Promise.resolve(),
      answer: async (_caller, _endpoint, body) => {
        working += 1;
        most = Math.max(most, working);
        await free;
        await systemTimer.sleep(1);
        working -= 1;
        return body;
      },
      onTick: () => () => undefined,
    };
    const connection = await connectServer({ servers: [nats.url] }, systemEntropy);
    const served = await serveTenant({
      ...{ connection, tenant, service, timer: systemTimer },
      generation: () => Promise.resolve(1),
    });
    const transport = tcpTransport({
      ...{ clock: systemClock, timer: systemTimer, entropy: systemEntropy, servers: [nats.url] },
    });
    const open = (_: unknown, i: number) =>
      transport.open({ tenant, replica: `r${i}`, user: `user-${i}` });
    const links = await Promise.all(Array.from({ length: devices }, open));
    const ask = (count: number) =>
      Array.from({ length: count }, (_, i) => {
        const body = Uint8Array.of(i % 256, i >>> 8, 7);
        const call = links[i % devices]?.request('pull', body) ?? Promise.reject(new Error());
        return call.then(
          (answer) => (Buffer.compare(answer, body) === 0 ? 'own' : 'of another'),
          (cause: unknown) => String(cause),
        );
      });
    return {
      letGo: () => letGo(),
      ask,
      served,
      most: () => most,
      close: async () => {
        await Promise.all(links.map((link) => link.close()));
        await transport.disconnect();
        await served.close();
        await connection.close();
      },
    };
  };

  it('[NAT-88] works on so many at once, and answers those that waited their turn with what is theirs', async () => {
    const world = await begin('busy-1');
    const calls = world.ask(3 * callsInFlightMax);
    // Longer than the silence after which a device gives a server up.
    await systemTimer.sleep(5_000);
    expect(world.served.calls()).toBe(3 * callsInFlightMax);
    world.letGo();
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['own']));
    expect(world.most()).toBe(callsInFlightMax);
    await world.close();
  });

  it('[NAT-88] refuses at once what comes behind those that may wait', async () => {
    const world = await begin('busy-2');
    const beyond = 10;
    const calls = world.ask(callsInFlightMax + callsWaitingMax + beyond);
    const first = await Promise.race(calls);
    expect(first).toContain('the server is busy');
    world.letGo();
    const outcomes = await Promise.all(calls);
    expect(outcomes.filter((one) => one === 'of another')).toEqual([]);
    expect(outcomes.filter((one) => one !== 'own').length).toBeGreaterThan(0);
    expect(outcomes.filter((one) => one !== 'own').length).toBeLessThanOrEqual(beyond);
    await world.close();
  });
});
