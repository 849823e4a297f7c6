import { uploadFloorSeconds } from '../harness/floors.js';
import type { Edited } from '../harness/server-part.js';
import type { Suite, Turn } from '../harness/suite.js';
import type { BenchWorld } from '../harness/world.js';

const recordsDefault = 20_000;
const hotRecords = 1_000;
const questions = 100;
/** Questions after runs that are not the last one. */
const questionsBetween = 3;

/** Compares what server and device hold, asks for histories, and lets a fresh device download everything. */
const verify = async (world: BenchWorld, edited: Edited, { isLast }: Turn): Promise<boolean> => {
  const asked = Math.min(isLast ? questions : questionsBetween, edited.count);
  if (!(await world.isEqual())) return false;
  if ((await world.server.call('explainedRight', edited, asked)) !== asked) return false;
  if (!isLast) return true;
  await world.renewDevice();
  await world.openDevice(`fresh-${edited.round}`);
  await world.device.call('sync');
  const isEqual = await world.isEqual();
  await world.renewDevice();
  await world.openDevice('device', edited.round);
  return isEqual;
};

/** Pending edits of one device, from the upload to the stored receipt of the last one. */
export const uploadMerge: Suite = {
  name: 'upload-merge',
  run: async (bench) => {
    const records = bench.options.records ?? recordsDefault;
    const part = Math.max(100, Math.floor(records / 10));
    const cases = [
      { case: 'uniform-100k', operations: part, hot: records },
      { case: 'uniform-1m', operations: records, hot: records },
      { case: 'hot-set', operations: part, hot: hotRecords },
      { case: 'conflicts-10', operations: part, hot: records, conflictEvery: 10 },
    ];
    await bench.inWorld(async (world) => {
      await world.server.call('import', 0, records);
      await world.openDevice('device');
      await world.device.call('sync');
      // What importing and filling took in memory is not the upload's.
      await world.renewDevice();
      await world.reopenServer();
      await world.openDevice('device');
      for (const { operations, hot, conflictEvery = 0, ...named } of cases)
        await bench.measure(
          { ...named, records, moved: operations },
          {
            sample: async (turn) => {
              const made = await world.device.call('edit', operations, records, hot);
              const edited = { ...made, conflictEvery };
              if (conflictEvery > 0) await world.server.call('interfere', edited);
              await world.start();
              const { seconds, secondsWithDownload, bytes, runs } =
                await world.device.call('upload');
              const spent = await world.spent();
              const verified = await verify(world, edited, turn);
              const settings = {
                secondsWithDownload: Number(secondsWithDownload.toFixed(3)),
                syncRuns: runs,
                operationsPerTransaction: 100,
              };
              return { seconds, wireBytes: bytes, verified, ...spent, settings };
            },
            floor: () => uploadFloorSeconds(operations, Math.min(hot, records)),
            ...(conflictEvery > 0 ? { against: { case: 'uniform-100k' } } : {}),
          },
        );
    });
  },
};
