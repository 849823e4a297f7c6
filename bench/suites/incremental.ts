import { setTimeout as sleep } from 'node:timers/promises';
import type { Suite } from '../harness/suite.js';
import type { BenchWorld } from '../harness/world.js';

const recordsDefault = 100_000;
const smallest = 10_000;
const changes = [0, 1, 100, 5_000];
const changesAfterFolding = 100;
/** Syncs without changes that let the device fold what it has. */
const restingSyncs = 20;

/** Pause before a timed sync: garbage and compaction that comparing all rows left behind are none of its work. */
const pauseMs = 1_000;

/** Sizes from ten thousand on, ten times as many each, up to the most. */
const sizesUpTo = (most: number): readonly number[] => {
  const sizes = [];
  for (let size = smallest; size < most; size *= 10) sizes.push(size);
  return [...sizes, most];
};

/** A sync after so many records changed: its time must not grow with the records that did not. */
export const incremental: Suite = {
  name: 'incremental',
  run: async (bench) => {
    const sizes = sizesUpTo(bench.options.records ?? recordsDefault);
    for (const records of sizes)
      await bench.inWorld(async (world) => {
        await world.server.call('import', 0, records);
        await world.openDevice('device');
        await world.device.call('sync');
        await world.renewDevice();
        await world.reopenServer();
        await world.openDevice('device');
        let round = 0;
        const measure = (name: string, count: number): Promise<void> =>
          bench.measure(
            { case: name, records, moved: count },
            {
              sample: async () => {
                round += 1;
                if (count > 0) await world.server.call('change', count, records, round);
                await sleep(pauseMs);
                await world.start();
                const { seconds, bytes } = await world.device.call('sync');
                const spent = await world.spent();
                return { seconds, wireBytes: bytes, verified: await world.isEqual(), ...spent };
              },
              ...(records === sizes[0] ? {} : { against: { case: name, records: sizes[0] ?? 0 } }),
            },
          );
        for (const count of changes.filter((one) => one <= records))
          await measure(`${count} changed`, count);
        await rest(world);
        await measure(`${changesAfterFolding} changed, after folding`, changesAfterFolding);
      });
  },
};

const rest = async (world: BenchWorld): Promise<void> => {
  await world.device.call('restingSyncs', restingSyncs);
};
