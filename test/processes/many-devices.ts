import { tallyId } from './kill-schema.js';
import { NatsServer } from './nats-server.js';
import { pause, StreamWorld, type StreamDevice } from './stream-world.js';

/** How a server came back to many devices. */
export interface ManyDevices {
  readonly settledMs: number;
  readonly serverMemoryBytes: number;
  readonly problems: readonly string[];
}

const settleMsMax = 60_000;
/** Devices that open or close at once. */
const atOnce = 20;

const inGroups = async <A>(
  all: readonly A[],
  work: (one: A, at: number) => Promise<unknown>,
): Promise<void> => {
  for (let at = 0; at < all.length; at += atOnce)
    await Promise.all(all.slice(at, at + atOnce).map((one, i) => work(one, at + i)));
};

/** Connects many devices, kills the server, lets each device edit, and starts the server again. */
export const connectMany = async (count: number): Promise<ManyDevices> => {
  const nats = await NatsServer.start();
  const world = await StreamWorld.open([nats]);
  const problems: string[] = [];
  try {
    const first = await world.serve('one');
    await inGroups(
      Array.from({ length: count }, (_, i) => i),
      (i) => world.device(`device-${i}`),
    );
    const [ana] = world.devices as [StreamDevice];
    await ana.create('tally', { total: 0 }, { id: tallyId });
    await ana.sync();
    await inGroups(world.devices, (device) => device.sync());
    for (const device of world.devices) device.connect();
    const isOnline = ({ status }: StreamDevice): boolean => status.connection === 'online';
    for (let waited = 0; !world.devices.every(isOnline); waited += 50) {
      if (waited > settleMsMax) throw new Error('not every device came online');
      await pause(50);
    }
    await world.kill(first);
    await inGroups(world.devices, (device) => device.increment('tally', tallyId, 'total', 1));
    const second = await world.serve('one');
    const beganMs = Date.now();
    const isSettled = async (device: StreamDevice): Promise<boolean> =>
      device.status.pending.operations === 0 &&
      (await device.get('tally', tallyId))?.total === count;
    let settled = 0;
    for (;;) {
      settled = 0;
      for (const device of world.devices) if (await isSettled(device)) settled += 1;
      if (settled === count || Date.now() - beganMs > settleMsMax) break;
      await pause(50);
    }
    const settledMs = Date.now() - beganMs;
    if (settled < count) problems.push(`${settled} of ${count} devices settled in time`);
    await inGroups(world.devices, (device) => device.disconnect());
    const { memoryBytes } = await world.state(second);
    problems.push(...(await world.differences(count)));
    return { settledMs, serverMemoryBytes: memoryBytes, problems };
  } finally {
    await world.close();
    await nats.dispose();
  }
};
