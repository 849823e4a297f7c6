import type { Suite } from '../harness/suite.js';

const recordsDefault = 100_000;
const changes = [0, 1, 100, 5_000];

/** A sync after so many records changed: its time must not grow with the records that did not. */
export const incremental: Suite = {
  name: 'incremental',
  run: async (bench) => {
    const most = bench.options.records ?? recordsDefault;
    for (const records of [...new Set([Math.min(10_000, most), most])])
      await bench.inWorld(async (world) => {
        await world.server.call('import', 0, records);
        await world.openDevice('device');
        await world.device.call('sync');
        let round = 0;
        for (const count of changes.filter((one) => one <= records))
          await bench.measure(
            { case: `${count} changed`, records, moved: count },
            {
              sample: async () => {
                round += 1;
                if (count > 0) await world.server.call('change', count, records, round);
                await world.start();
                const { seconds, bytes } = await world.device.call('sync');
                const spent = await world.spent();
                return { seconds, wireBytes: bytes, verified: await world.isEqual(), ...spent };
              },
            },
          );
      });
  },
};
