import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { natsTransport, openReplica } from '@tidemark/node';
import { openServer } from '@tidemark/server';
import { expect } from 'vitest';
import { SeededRandom } from '../convergence/seeded-random.js';
import { Child } from '../processes/child.js';
import { schema, serverStep, tallyId, tenant } from '../processes/kill-schema.js';
import { NatsServer } from '../processes/nats-server.js';
import { testOnNats } from '../processes/on-nats.js';
import type { NatsVictimSaying } from '../processes/nats-victim.js';
import { buildProgram } from '../processes/program.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const rounds = 8;
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

testOnNats(
  '[NAT-26] servers and nats-server killed at any moment keep what was promised, once',
  async () => {
    console.log(`kills on NATS, seed ${seed}`);
    const random = new SeededRandom(seed);
    const program = await buildProgram('nats-victim');
    const nats = await NatsServer.start();
    const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-nats-kills-'));
    const devices = [];
    const transports = [];
    for (const user of ['ana', 'ben']) {
      const transport = natsTransport({ servers: [nats.url], name: user });
      transports.push(transport);
      const place = { folder: path.join(folder, user), tenant, user, schema, transport };
      devices.push(await openReplica(place));
    }
    const start = (name: string) => new Child<NatsVictimSaying>(program, [folder, nats.url, name]);
    const victims = [start('one'), start('two')];
    const written = new Set<number>();
    let edits = 0;
    try {
      for (const victim of victims) await victim.hear('open');
      await devices[0]?.create('tally', { total: 0 }, { id: tallyId });
      for (const device of devices) await device.sync();
      for (let round = 0; round < rounds; round += 1) {
        victims[round % 2]?.channel.send({ say: 'write', batch: round });
        for (const device of devices)
          for (let i = 0; i < 30; i += 1) {
            await device.increment('tally', tallyId, 'total', 1);
            edits += 1;
          }
        const running = devices.map((device) => device.sync());
        await wait(random.below(120));
        const at = random.below(3);
        if (at === 2) {
          await nats.kill();
          await nats.run();
        } else {
          const name = at === 0 ? 'one' : 'two';
          for (const { batch } of victims[at]?.heard.filter((one) => one.say === 'written') ?? [])
            written.add(batch);
          await victims[at]?.kill();
          victims[at] = start(name);
        }
        await Promise.all(running);
      }
      for (const victim of victims) {
        await victim.hear('open');
        for (const one of victim.heard) if (one.say === 'written') written.add(one.batch);
      }
      // What was asked for may still be on its way; a fresh server of this process sees everything.
      for (const victim of victims) await victim.kill();
      const server = await openServer({
        tenant,
        schema,
        folder: path.join(folder, 'three'),
        cursorKey: new Uint8Array(32).fill(3),
        nats: { connection: { servers: [nats.url] } },
      });
      for (let round = 0; round < 2; round += 1)
        for (const device of devices)
          expect(await device.sync(), JSON.stringify(device.status.error)).toMatchObject({
            result: 'synced',
          });
      await server.settle();
      for (const table of ['visits', 'tally'] as const) {
        const print = await server.fingerprint(table);
        for (const device of devices) expect(await device.fingerprint(table)).toBe(print);
      }
      const batches = (await server.query('visits')).map(({ id }) => id);
      for (const batch of written) expect(batches).toContain(`batch-${batch}`);
      const total = (await server.get('tally', tallyId))?.total ?? 0;
      expect(total % serverStep).toBe(edits);
      expect(Math.floor(total / serverStep)).toBe(batches.length);
      await server.close();
    } finally {
      for (const victim of victims) await victim.kill();
      for (const device of devices) await device.close();
      for (const transport of transports) await transport.disconnect();
      await nats.dispose();
      await rm(folder, { recursive: true, force: true });
    }
  },
);
