import { pageFloorSeconds, uploadFloorSeconds } from '../harness/floors.js';
import type { Suite } from '../harness/suite.js';

const recordsDefault = 20_000;
const pendingOnDevice = 20_000;

/** How long a server and a device take until they answer, and a server that lost its store until it is back. */
export const coldStart: Suite = {
  name: 'cold-start',
  run: async (bench) => {
    const records = bench.options.records ?? recordsDefault;
    const pending = Math.min(records, pendingOnDevice);
    await bench.inWorld(
      async (world) => {
        await world.server.call('import', 0, records);
        await world.openDevice('device');
        await world.device.call('sync');
        await world.device.call('edit', pending, records, records, true);
        await bench.measure(
          { case: 'device with 20,000 pending', records, moved: pending },
          {
            sample: async () => {
              await world.renewDevice();
              await world.start();
              const seconds = await world.openDevice('device', 1);
              const spent = await world.spent();
              const verified =
                (await world.device.call('pending')) === pending &&
                (await world.device.call('verify', records, 20));
              return { seconds, wireBytes: null, verified, ...spent };
            },
          },
        );
        if (!bench.wants('server') && !bench.wants('rebuild')) return;
        await world.device.call('upload');
        await world.server.call('checkpoint');
        // From here on every record is edited once: the input behind the checkpoint.
        await world.device.call('edit', records, records, records);
        await world.device.call('upload');
        await world.renewDevice();
        const answers = async (): Promise<boolean> => {
          await world.openDevice('device', 2);
          await world.device.call('sync');
          const isEqual = await world.isEqual();
          await world.renewDevice();
          return isEqual;
        };
        await bench.measure(
          { case: 'server', records, moved: records },
          {
            sample: async () => {
              const seconds = await world.reopenServer();
              await world.start();
              const spent = await world.spent();
              return { seconds, wireBytes: null, verified: await answers(), ...spent };
            },
          },
        );
        await bench.measure(
          { case: 'rebuild', records, moved: records },
          {
            sample: async () => {
              const seconds = await world.reopenServer({ withoutStore: true });
              await world.start();
              const spent = await world.spent();
              return {
                seconds,
                wireBytes: null,
                verified: await answers(),
                ...spent,
                settings: { recordsInCheckpoint: records },
              };
            },
            floor: async () =>
              (await pageFloorSeconds(records)) + (await uploadFloorSeconds(records, records)),
          },
        );
      },
      { hasCheckpoints: true },
    );
  },
};
