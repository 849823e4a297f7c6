import { cp } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import { NatsWorld, type TestDevice } from '../integration/nats-world.js';
import { killClusterNodes } from '../processes/cluster-kill.js';
import { connectMany } from '../processes/many-devices.js';
import { testOnNats } from '../processes/on-nats.js';
import { pauseServer } from '../processes/paused-server.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 6);
/** A run that is short of time pauses for less, and kills fewer nodes. */
const pauseSeconds = minutes < 4 ? 10 : 60;
const nodesKilled = minutes < 4 ? 3 : 12;
const devicesWanted = 200;

const megabyte = 1024 * 1024;
const memoryBytesMax = 512 * megabyte;

testOnNats(
  '[NAT-75] with a server paused, killed and replaced downloads go on, and no device sees an older state',
  async () => {
    const { problems, ...counts } = await pauseServer({ seed, pauseMs: pauseSeconds * 1_000 });
    console.log(`paused server, seed ${seed}: ${JSON.stringify(counts)}`);
    console.log(`DEEP paused-server-seconds ${pauseSeconds}/60`);
    console.log(`DEEP paused-server problems ${problems.length}/0`);
    expect(problems.join('\n')).toBe('');
    expect(counts.seenWhilePaused).toBeGreaterThan(0);
    expect(counts.samples).toBeGreaterThan(100);
  },
);

testOnNats(
  '[NAT-77] 200 connected devices settle within a minute after their server was killed and started again',
  async () => {
    const { problems, settledMs, serverMemoryBytes } = await connectMany(devicesWanted);
    const memory = Math.round(serverMemoryBytes / megabyte);
    console.log(`${devicesWanted} devices settled in ${settledMs} ms; server ${memory} MB`);
    console.log(`DEEP connected-devices ${devicesWanted}/200`);
    console.log(`DEEP connected-devices problems ${problems.length}/0`);
    expect(problems.join('\n')).toBe('');
    expect(serverMemoryBytes).toBeLessThan(memoryBytesMax);
  },
);

testOnNats(
  '[NAT-78] nodes of a cluster killed and brought back while devices upload lose and double nothing',
  async () => {
    const endsAtMs = Date.now() + minutes * 20_000;
    const { problems, ...counts } = await killClusterNodes({ seed, kills: nodesKilled, endsAtMs });
    console.log(`cluster of three, seed ${seed}: ${JSON.stringify(counts)}`);
    console.log(`DEEP cluster-nodes-killed ${counts.kills}/12`);
    console.log(`DEEP cluster-nodes-killed problems ${problems.length}/0`);
    expect(problems.join('\n')).toBe('');
    expect(counts.kills).toBeGreaterThan(0);
  },
);

testOnNats(
  '[NAT-79] a backup taken while it runs is restored with the stream, and without: nothing is lost or doubled',
  async () => {
    const world = await NatsWorld.open();
    const records = 6_000;
    const operations = 10_000;
    const perTransaction = 100;
    const moved = (log: Awaited<ReturnType<TestDevice['sync']>>): number =>
      log.tables.reduce((sum, { upserts }) => sum + upserts, 0);
    try {
      const server = await world.serve('one', {}, { checkpoints: 'checkpoints' });
      const ids = Array.from({ length: records }, (_, i) => `v${String(i).padStart(5, '0')}`);
      await server.write(
        (writer) => {
          for (const id of ids) writer.put('visits', id, { subject: id, count: 0 });
        },
        { user: 'office' },
      );
      const devices: TestDevice[] = [];
      for (const name of ['ana', 'ben', 'cyd']) devices.push(await world.device(name));
      await world.sync(...devices);
      let done = 0;
      const work = async (device: TestDevice, upTo: number): Promise<void> => {
        while (done < upTo) {
          done += perTransaction;
          await device.transaction(async (edits) => {
            for (let k = 0; k < perTransaction; k += 1)
              await edits.increment('visits', ids[(done * 7 + k) % 60] as string, 'count', 1);
          });
        }
      };
      const before = 1_000;
      const running = devices.map(async (device) => {
        await work(device, before);
        return device.sync();
      });
      await server.checkpoint();
      await cp(path.join(world.folder, 'checkpoints'), path.join(world.folder, 'backup'), {
        recursive: true,
      });
      await cp(path.join(world.folder, 'backup'), path.join(world.folder, 'backup-again'), {
        recursive: true,
      });
      await Promise.all(running);
      await Promise.all(devices.map((device) => work(device, before + operations)));
      await world.sync(...devices, ...devices);
      await world.expectEqual();
      const total = async (): Promise<number> =>
        (await world.servers[0]?.query('visits', { limit: 100 }))?.reduce(
          (sum, { count }) => sum + Number(count),
          0,
        ) ?? 0;
      expect(await total()).toBe(done);
      const { digest } = server.status().state;

      await world.end(server);
      const folded = await world.serve('folded', {}, { checkpoints: 'backup' });
      await folded.settle();
      expect(folded.status().state.incarnation).toBe(1);
      expect(folded.status().state.digest).toBe(digest);
      const [loaded] = world.events.filter(({ type }) => type === 'checkpoint-loaded');
      expect(loaded).toMatchObject({ of: 'folded' });
      for (const device of devices) expect(moved(await device.sync())).toBe(0);
      await world.expectEqual();

      await world.end(folded);
      await world.deleteStream(1);
      const begun = await world.serve('begun', {}, { checkpoints: 'backup-again' });
      expect(begun.status().state.incarnation).toBe(2);
      let upserts = 0;
      for (const device of [...devices, ...devices]) {
        const log = await device.sync();
        expect(log, JSON.stringify(device.status.error)).toMatchObject({ result: 'synced' });
        upserts += moved(log);
      }
      await world.expectEqual();
      expect(await total()).toBe(done);
      console.log(
        `restored without the stream: ${upserts} upserts for 3 devices of ${records} records`,
      );
      expect(upserts).toBeLessThan((devices.length * records) / 2);
      console.log(`DEEP restored-operations ${operations}/10000`);
    } finally {
      await world.close();
    }
  },
);
