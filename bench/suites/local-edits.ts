import type { Suite } from '../harness/suite.js';

const recordsDefault = 100_000;
const awaited = 10_000;
const inTransactions = 50_000;

/** Edits on a device that holds all records and has no network. */
export const localEdits: Suite = {
  name: 'local-edits',
  run: async (bench) => {
    const records = bench.options.records ?? recordsDefault;
    await bench.inWorld(async (world) => {
      await world.server.call('import', 0, records);
      await world.openDevice('device');
      await world.device.call('sync');
      const sample = (edit: () => Promise<number>) => async () => {
        await world.start();
        const seconds = await edit();
        const spent = await world.spent();
        await world.device.call('upload');
        return { seconds, wireBytes: null, verified: await world.isEqual(), ...spent };
      };
      await bench.measure(
        { case: 'one by one', records, moved: awaited },
        {
          sample: sample(() => world.device.call('editOneByOne', awaited, records)),
        },
      );
      await bench.measure(
        { case: 'transactions of 100', records, moved: inTransactions },
        {
          sample: sample(() => world.device.call('edit', inTransactions, records, records)),
        },
      );
    });
  },
};
