import type { Transport } from '@tidemark/node';
import { SeededRandom } from '../convergence/seeded-random.js';
import { tallyId } from './kill-schema.js';
import { NatsServer } from './nats-server.js';
import { pause, StreamWorld, TallyWatch, type StreamDevice } from './stream-world.js';

/** What a campaign with a paused server met, and how it ended. */
export interface PausedServer {
  readonly edits: number;
  readonly samples: number;
  /** Edits of others that a device saw while one of two servers was paused. */
  readonly seenWhilePaused: number;
  /** Calls that devices made meanwhile, and those of them that waited for the paused server. */
  readonly callsWhilePaused: number;
  readonly slowCalls: number;
  readonly problems: readonly string[];
}

const settleMsMax = 60_000;
const phaseMs = 1_500;
/** A call that met the paused server took longer: the silence after which a server counts as gone. */
const slowMs = 3_900;

/**
 * Two servers on one stream, three live devices that count at random; one server is paused, goes on, is
 * killed and replaced by a fresh one that begins from a checkpoint.
 */
export const pauseServer = async (options: {
  readonly seed: number;
  readonly pauseMs: number;
}): Promise<PausedServer> => {
  const random = new SeededRandom(options.seed);
  const nats = await NatsServer.start();
  const world = await StreamWorld.open([nats]);
  const problems: string[] = [];
  let edits = 0;
  const calls: { readonly atMs: number; readonly ms: number }[] = [];
  const timed = (transport: Transport): Transport => ({
    open: async (caller, signal) => {
      const atMs = performance.now();
      const link = await transport.open(caller, signal);
      calls.push({ atMs, ms: performance.now() - atMs });
      return {
        ...link,
        request: async (...call) => {
          const beganMs = performance.now();
          try {
            return await link.request(...call);
          } finally {
            calls.push({ atMs: beganMs, ms: performance.now() - beganMs });
          }
        },
      };
    },
  });
  try {
    const [one, two] = [await world.serve('one'), await world.serve('two')];
    const devices: StreamDevice[] = [];
    for (const name of ['ana', 'ben', 'cyd']) devices.push(await world.device(name, timed));
    const [ana] = devices as [StreamDevice];
    await ana.create('tally', { total: 0 }, { id: tallyId });
    for (const device of devices) await device.sync();
    const watches = devices.map((device, i) => new TallyWatch(device, `device ${i}`));
    for (const device of devices) device.connect();
    let isOver = false;
    const work = async (device: StreamDevice): Promise<void> => {
      while (!isOver) {
        await device.increment('tally', tallyId, 'total', 1);
        edits += 1;
        await pause(random.below(120));
      }
    };
    const total = async (device: StreamDevice): Promise<number> =>
      (await device.get('tally', tallyId))?.total ?? 0;
    const working = devices.map(work);
    await pause(phaseMs);
    two.channel.kill('SIGSTOP');
    const pausedAtMs = performance.now();
    // What is on its way to the paused one may still come.
    await pause(phaseMs);
    const before = await total(ana);
    await pause(options.pauseMs);
    const seenWhilePaused = (await total(ana)) - before;
    const meanwhile = calls.filter(({ atMs }) => atMs > pausedAtMs);
    const slowCalls = meanwhile.filter(({ ms }) => ms >= slowMs).length;
    two.channel.kill('SIGCONT');
    await pause(phaseMs);
    one.tell({ say: 'checkpoint' } as never);
    await world.kill(two);
    await pause(phaseMs);
    const three = await world.serve('three');
    const loaded = three.heard.some(
      (one) => one.say === 'event' && one.event.type === 'checkpoint-loaded',
    );
    if (!loaded) problems.push('the fresh server did not begin from the checkpoint');
    await pause(phaseMs);
    isOver = true;
    await Promise.all(working);
    const endsAtMs = Date.now() + settleMsMax;
    for (;;) {
      const totals = await Promise.all(devices.map(total));
      if (totals.every((one) => one === edits)) break;
      if (Date.now() > endsAtMs) {
        problems.push(`devices show ${totals.join(', ')} of ${edits} edits`);
        break;
      }
      await pause(50);
    }
    for (const watch of watches) await watch.stop();
    for (const device of devices) await device.disconnect();
    for (const device of devices) {
      const { result, error } = await device.sync();
      if (result !== 'synced') problems.push(`a last run ended ${result} ${error ?? ''}`);
    }
    problems.push(...(await world.differences(edits)));
    problems.push(...watches.flatMap(({ older }) => older));
    const samples = watches.reduce((sum, watch) => sum + watch.samples, 0);
    const callsWhilePaused = meanwhile.length;
    return { edits, samples, seenWhilePaused, callsWhilePaused, slowCalls, problems };
  } finally {
    await world.close();
    await nats.dispose();
  }
};
