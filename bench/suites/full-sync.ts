import { scramble } from '../harness/crm.js';
import type { DataName } from '../harness/dataset.js';
import { flightsMax } from '../harness/flights.js';
import { pageFloorSeconds } from '../harness/floors.js';
import type { Bench, Suite } from '../harness/suite.js';
import type { BenchWorld } from '../harness/world.js';

const recordsDefault = 100_000;
const interruptions = 5;

/** Both sides hold the same, and it is what was imported. */
const verify = async (
  world: BenchWorld,
  { records, data }: { readonly records: number; readonly data: DataName },
  isLast: boolean,
): Promise<boolean> => {
  if (!(await world.isEqual())) return false;
  if (data !== 'flights') return world.device.call('verify', records);
  if ((await world.server.call('serverCount')) !== records) return false;
  // Reading the flights again takes memory that no other run shall be charged with.
  return !isLast || world.server.call('verifyImported', records);
};

/** Parts of the whole at which a download is killed, in order. */
const killPoints = (run: number): readonly number[] =>
  Array.from({ length: interruptions }, (_, i) => scramble(run * interruptions + i) / 2 ** 32).sort(
    (a, b) => a - b,
  );

/** First syncs of a whole table by devices that begin with nothing. */
const firstSyncs = async (
  bench: Bench,
  named: { readonly case: string; readonly data: DataName; readonly records: number },
): Promise<void> => {
  const { case: name, data, records } = named;
  const wantsInterrupted = name === 'first sync' && bench.wants('interrupted');
  if (!bench.wants(name) && !wantsInterrupted) return;
  await bench.inWorld(
    async (world) => {
      await world.server.call('import', 0, records);
      await world.reopenServer();
      await bench.measure(
        { case: name, records, moved: records },
        {
          sample: async ({ run, isLast }) => {
            await world.openDevice(`device-${run}`);
            await world.start();
            const { seconds, bytes, firstReadable } = await world.device.call('sync');
            const spent = await world.spent();
            const verified = await verify(world, named, isLast);
            await world.renewDevice();
            return {
              seconds,
              wireBytes: bytes,
              verified,
              ...spent,
              settings: { firstReadableSeconds: Number((firstReadable ?? 0).toFixed(3)) },
            };
          },
          ...(data === 'flights' ? {} : { floor: () => pageFloorSeconds(records) }),
          ...(data === 'crm' ? {} : { against: { case: 'first sync' } }),
        },
      );
      // A device that shares its process with the server cannot be killed alone.
      if (wantsInterrupted && world.isApart) await interrupted(bench, world, records);
    },
    { data },
  );
};

/** First syncs of devices that are killed at five random points; each goes on where it was. */
const interrupted = (bench: Bench, world: BenchWorld, records: number): Promise<void> =>
  bench.measure(
    { case: 'interrupted', records, moved: records },
    {
      sample: async ({ run }) => {
        const name = `interrupted-${run}`;
        let seconds = 0;
        const resumedAt: (number | string)[] = [];
        let isResumed = true;
        let before = 0;
        await world.start();
        for (const part of killPoints(run)) {
          await world.openDevice(name);
          const target = Math.floor(part * records);
          const reached = await world.device.call('syncUntil', target);
          seconds += reached.seconds;
          resumedAt.push(reached.begunAt ?? 'all');
          // What was stored before the kill is not fetched again, apart from pages that were on their way.
          isResumed &&=
            reached.begunAt === null || reached.begunAt >= Math.min(before, target) - records / 4;
          before = reached.done;
          await world.killDevice();
        }
        await world.openDevice(name);
        const last = await world.device.call('sync');
        seconds += last.seconds;
        const { peakRssMb, cpuSeconds } = await world.spent();
        const verified = isResumed && (await verify(world, { records, data: 'crm' }, true));
        await world.renewDevice();
        return {
          seconds,
          wireBytes: null,
          verified,
          peakRssMb,
          // The processes that were killed cannot tell what they used.
          cpuSeconds: { ...cpuSeconds, device: 0 },
          settings: {
            interruptions,
            recordsAtResume: resumedAt.join(' '),
            bytesOfLastPart: last.bytes,
          },
        };
      },
      against: { case: 'first sync' },
    },
  );

/** A device's first sync of a whole table; and how soon the first record can be read. */
export const fullSync: Suite = {
  name: 'full-sync',
  run: async (bench) => {
    const records = bench.options.records ?? recordsDefault;
    await firstSyncs(bench, { case: 'first sync', data: 'crm', records });
    await firstSyncs(bench, { case: 'first sync, two indexes', data: 'crm-indexed', records });
    if (bench.options.flights)
      await firstSyncs(bench, {
        case: 'first sync, flights',
        data: 'flights',
        records: Math.min(records, flightsMax),
      });
  },
};
