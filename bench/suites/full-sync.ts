import { pageFloorSeconds } from '../harness/floors.js';
import type { Suite } from '../harness/suite.js';

const recordsDefault = 100_000;

/** A device's first sync of a whole table; and how soon the first record can be read. */
export const fullSync: Suite = {
  name: 'full-sync',
  run: async (bench) => {
    const records = bench.options.records ?? recordsDefault;
    await bench.inWorld(async (world) => {
      await world.server.call('import', 0, records);
      await world.reopenServer();
      let run = 0;
      await bench.measure(
        { case: 'first sync', records, moved: records },
        {
          sample: async () => {
            run += 1;
            await world.openDevice(`device-${run}`);
            await world.start();
            const { seconds, bytes, firstReadable } = await world.device.call('sync');
            const spent = await world.spent();
            const verified =
              (await world.device.call('verify', records)) && (await world.isEqual());
            await world.renewDevice();
            return {
              seconds,
              wireBytes: bytes,
              verified,
              ...spent,
              settings: { firstReadableSeconds: Number((firstReadable ?? 0).toFixed(3)) },
            };
          },
          floor: () => pageFloorSeconds(records),
        },
      );
    });
  },
};
