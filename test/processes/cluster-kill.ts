import { SeededRandom } from '../convergence/seeded-random.js';
import { tallyId } from './kill-schema.js';
import { NatsServer } from './nats-server.js';
import { pause, StreamWorld, type StreamDevice } from './stream-world.js';

/** What became of edits while nodes of a cluster were killed. */
export interface ClusterKill {
  readonly kills: number;
  readonly edits: number;
  readonly problems: readonly string[];
}

const nodes = 3;
const settleMsMax = 90_000;
const startMsMax = 60_000;

const untilServing = async (world: StreamWorld, name: string) => {
  // A cluster that has just started elects its leaders first.
  for (const beganMs = Date.now(); ;) {
    try {
      return await world.serve(name);
    } catch (cause) {
      for (const server of [...world.servers])
        if (server.endedBy !== undefined) await world.kill(server);
      if (Date.now() - beganMs > startMsMax) throw cause;
      await pause(500);
    }
  }
};

/**
 * Three nodes that all store each message, one server, three devices that edit and upload; one node after
 * the other is killed and brought back meanwhile.
 */
export const killClusterNodes = async (options: {
  readonly seed: number;
  readonly kills: number;
  readonly endsAtMs: number;
}): Promise<ClusterKill> => {
  const random = new SeededRandom(options.seed);
  const cluster = await NatsServer.startCluster(nodes);
  const world = await StreamWorld.open(cluster, { replicas: nodes });
  const problems: string[] = [];
  let kills = 0;
  let edits = 0;
  try {
    await untilServing(world, 'one');
    const devices: StreamDevice[] = [];
    for (const name of ['ana', 'ben', 'cyd']) devices.push(await world.device(name));
    const [ana] = devices as [StreamDevice];
    await ana.create('tally', { total: 0 }, { id: tallyId });
    for (const device of devices) await device.sync();
    let isOver = false;
    const work = async (device: StreamDevice): Promise<void> => {
      while (!isOver) {
        await device.increment('tally', tallyId, 'total', 1);
        edits += 1;
        if (random.chance(30)) await device.sync();
        await pause(random.below(60));
      }
    };
    const working = devices.map(work);
    while (kills < options.kills && Date.now() < options.endsAtMs) {
      await pause(500 + random.below(1_500));
      const node = cluster[random.below(nodes)];
      await node?.kill();
      await pause(500 + random.below(2_500));
      await node?.run();
      // Two of three nodes must know everything before the next one may go.
      await pause(3_000);
      kills += 1;
    }
    isOver = true;
    await Promise.all(working);
    const endsAtMs = Date.now() + settleMsMax;
    for (const device of [...devices, ...devices])
      for (;;) {
        const { result, error } = await device.sync();
        if (result === 'synced') break;
        if (Date.now() > endsAtMs) {
          problems.push(`a last run ended ${result} ${error ?? ''}`);
          break;
        }
        await pause(500);
      }
    problems.push(...(await world.differences(edits)));
    return { kills, edits, problems };
  } finally {
    await world.close();
    for (const node of cluster) await node.dispose();
  }
};
