import { uploadFloorSeconds } from '../harness/floors.js';
import type { Suite } from '../harness/suite.js';

const recordsDefault = 100_000;
const hotRecords = 1_000;
const perCase = 100_000;

/** Pending edits of one device, from the upload to the stored receipt of the last one. */
export const uploadMerge: Suite = {
  name: 'upload-merge',
  run: async (bench) => {
    const records = bench.options.records ?? recordsDefault;
    const cases = [
      { case: 'uniform', operations: Math.min(records, perCase), hot: records },
      { case: 'hot-set', operations: Math.min(records, perCase), hot: hotRecords },
    ];
    if (records > perCase) cases.push({ case: 'uniform-all', operations: records, hot: records });
    await bench.inWorld(async (world) => {
      await world.server.call('import', 0, records);
      await world.openDevice('device');
      await world.device.call('sync');
      for (const { operations, hot, ...named } of cases)
        await bench.measure(
          { ...named, records, moved: operations },
          {
            sample: async () => {
              await world.device.call('edit', operations, records, hot);
              await world.start();
              const seconds = await world.device.call('upload');
              const spent = await world.spent();
              return { seconds, wireBytes: null, verified: await world.isEqual(), ...spent };
            },
            floor: () => uploadFloorSeconds(operations, hot),
          },
        );
    });
  },
};
