import type { Suite } from '../harness/suite.js';

const recordsDefault = 100_000;
const pendingOnDevice = 20_000;

/** How long a server with all records, and a device with 20,000 pending operations, take to open. */
export const coldStart: Suite = {
  name: 'cold-start',
  run: async (bench) => {
    const records = bench.options.records ?? recordsDefault;
    await bench.inWorld(async (world) => {
      await world.server.call('import', 0, records);
      await world.openDevice('device');
      await world.device.call('sync');
      await world.device.call('edit', pendingOnDevice, records, records, true);
      await bench.measure(
        { case: 'device with 20,000 pending', records, moved: pendingOnDevice },
        {
          sample: async () => {
            await world.renewDevice();
            await world.start();
            const seconds = await world.openDevice('device');
            const spent = await world.spent();
            return {
              seconds,
              wireBytes: null,
              verified: await world.device.call('verify', records, 20),
              ...spent,
            };
          },
        },
      );
      await world.device.call('upload');
      await bench.measure(
        { case: 'server', records, moved: records },
        {
          sample: async () => {
            await world.renewDevice();
            const seconds = await world.reopenServer();
            await world.start();
            const spent = await world.spent();
            await world.openDevice('device');
            await world.device.call('sync');
            return { seconds, wireBytes: null, verified: await world.isEqual(), ...spent };
          },
        },
      );
    });
  },
};
