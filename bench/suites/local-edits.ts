import { editFloorSeconds } from '../harness/floors.js';
import type { Suite } from '../harness/suite.js';

const recordsDefault = 20_000;
const awaited = 5_000;
const inTransactions = 20_000;
const concurrent = 10_000;
const writers = 100;
const liveResults = 1_000;
const liveEdits = 1_000;

/** Edits on a device that holds all records and has no network. */
export const localEdits: Suite = {
  name: 'local-edits',
  run: async (bench) => {
    const records = bench.options.records ?? recordsDefault;
    await bench.inWorld(async (world) => {
      await world.server.call('import', 0, records);
      await world.openDevice('device');
      await world.device.call('sync');
      await world.renewDevice();
      await world.reopenServer();
      await world.openDevice('device');
      const measure = (
        named: { readonly case: string; readonly moved: number; readonly perBatch?: number },
        edit: () => Promise<number>,
        settings: Readonly<Record<string, string | number>> = {},
        against?: { readonly case: string },
      ): Promise<void> => {
        const { perBatch, ...shown } = named;
        return bench.measure(
          { ...shown, records },
          {
            sample: async () => {
              await world.start();
              const seconds = await edit();
              const spent = await world.spent();
              await world.device.call('upload');
              return {
                seconds,
                wireBytes: null,
                verified: await world.isEqual(),
                ...spent,
                settings,
              };
            },
            ...(perBatch === undefined
              ? {}
              : {
                  floor: () =>
                    editFloorSeconds(
                      named.moved,
                      records,
                      perBatch,
                      settings['durability'] === 'disk',
                    ),
                }),
            ...(against === undefined ? {} : { against }),
          },
        );
      };
      await measure({ case: 'one by one', moved: awaited, perBatch: 1 }, () =>
        world.device.call('editOneByOne', awaited, records),
      );
      await measure({ case: 'transactions of 100', moved: inTransactions, perBatch: 100 }, () =>
        world.device.call('editTimed', inTransactions, records),
      );
      for (const durability of ['os', 'disk'] as const)
        await measure(
          { case: `${writers} writers, ${durability}`, moved: concurrent, perBatch: writers },
          () => world.device.call('editConcurrently', concurrent, records, writers, durability),
          { durability },
          durability === 'disk' ? { case: `${writers} writers, os` } : undefined,
        );
      await measure(
        { case: 'live query', moved: 1 },
        () => world.device.call('seeEdits', liveResults, records),
        { results: Math.min(liveResults, records), edits: liveEdits },
      );
    });
  },
};
