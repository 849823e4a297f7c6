import { Actor } from '../harness/actor.js';
import { siteAt, sites } from '../harness/crm.js';
import { uploadFloorSeconds } from '../harness/floors.js';
import type { Bench, Suite } from '../harness/suite.js';
import type { BenchWorld, Spent } from '../harness/world.js';

const recordsDefault = 20_000;
/** At a million records every site has its device. */
const recordsPerDevice = 1_000;
const devicesMin = 20;
const processes = 4;
const opsPerDevice = 100;
/** Devices of a process that sync at once where each one's time is measured. */
const small = { atATime: 1, all: 1_000 };
const openAtATime = 4;

/** Processes that play many devices, each with the records of one site. */
class Crowd {
  readonly #world: BenchWorld;
  readonly #actors: readonly Actor[];
  readonly devices: number;

  constructor(world: BenchWorld, devices: number) {
    this.#world = world;
    this.devices = devices;
    this.#actors = world.isApart
      ? Array.from({ length: processes }, () => new Actor())
      : [world.server];
  }

  #share(at: number): readonly [number, number] {
    const each = Math.ceil(this.devices / this.#actors.length);
    return [at * each, Math.min(this.devices, (at + 1) * each)];
  }

  async open(): Promise<void> {
    await this.each((actor, at) =>
      actor.call('openCrowd', this.#world.place('crowd'), ...this.#share(at), openAtATime),
    );
  }

  /** Does something with each process at once. */
  each<T>(work: (actor: Actor, at: number) => Promise<T>): Promise<readonly T[]> {
    return Promise.all(this.#actors.map(work));
  }

  /** Syncs every device; returns the seconds of each, sorted. */
  async sync(atATime: number): Promise<readonly number[]> {
    const times = await this.each((actor) => actor.call('syncCrowd', atATime));
    return times.flat().sort((a, b) => a - b);
  }

  /** Counts what the work uses, in the processes of the devices and of the server. */
  async measured<T>(
    work: () => Promise<T>,
  ): Promise<{ readonly seconds: number; readonly result: T; readonly spent: Spent }> {
    const before = await this.each((actor) => actor.call('resetUsage'));
    await this.#world.start();
    const started = performance.now();
    const result = await work();
    const seconds = (performance.now() - started) / 1_000;
    const spent = await this.#world.spent();
    const after = await this.each((actor) => actor.call('usage'));
    const cpu = after.reduce(
      (sum, one, i) => sum + one.cpuSeconds - (before[i]?.cpuSeconds ?? 0),
      0,
    );
    return {
      seconds,
      result,
      spent: {
        peakRssMb: {
          device: Math.max(...after.map((one) => one.peakRssMb)),
          server: spent.peakRssMb.server,
        },
        cpuSeconds: { ...spent.cpuSeconds, device: Math.round(cpu * 100) / 100 },
      },
    };
  }

  /**
   * Tells whether the first device of each process holds exactly what the server has of its site, and all
   * together as many records as their sites have.
   */
  async isEqual(records: number): Promise<boolean> {
    const counts = await this.each((actor) => actor.call('crowdCount'));
    let wanted = 0;
    for (let i = 0; i < records; i += 1) if (siteAt(i) < this.devices) wanted += 1;
    if (counts.reduce((sum, one) => sum + one, 0) !== wanted) return false;
    const held = await this.each(async (actor, i) => {
      const print = await actor.call('crowdFingerprint');
      return print === (await this.#world.server.call('siteFingerprint', this.#share(i)[0]));
    });
    return held.every(Boolean);
  }

  async end(): Promise<void> {
    if (this.#world.isApart) await this.each((actor) => actor.end());
    else await this.each((actor) => actor.call('disband'));
  }
}

const at = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;

const rounded = (value: number): number => Number(value.toFixed(4));

const uploads = async (bench: Bench, crowd: Crowd, records: number): Promise<void> => {
  const settings = { devices: crowd.devices, processes, operationsPerDevice: opsPerDevice };
  const moved = crowd.devices * opsPerDevice;
  await bench.measure(
    { case: 'upload', records, moved },
    {
      sample: async () => {
        await crowd.each((actor) => actor.call('editCrowd', opsPerDevice));
        const { seconds, result, spent } = await crowd.measured(() => crowd.sync(small.all));
        const p99 = rounded(at(result, 0.99));
        const verified = await crowd.isEqual(records);
        return {
          seconds,
          wireBytes: null,
          verified,
          ...spent,
          settings: { ...settings, allAtOnce: 1, p99SyncSeconds: p99 },
        };
      },
      floor: () => uploadFloorSeconds(moved, Math.min(records, moved)),
    },
  );
  await bench.measure(
    { case: 'small sync, p99', records, moved: 1 },
    {
      sample: async () => {
        await crowd.each((actor) => actor.call('editCrowd', 1));
        const { result, spent } = await crowd.measured(() => crowd.sync(small.atATime));
        const settingsOfRun = { ...settings, medianSeconds: rounded(at(result, 0.5)) };
        const verified = await crowd.isEqual(records);
        return {
          seconds: at(result, 0.99),
          wireBytes: null,
          verified,
          ...spent,
          settings: { ...settingsOfRun, atATime: processes * small.atATime },
        };
      },
    },
  );
};

/** What a pull costs after others changed what is not of its site. */
const foreignPulls = async (
  bench: Bench,
  world: BenchWorld,
  crowd: Crowd,
  records: number,
): Promise<void> => {
  const fewer = Math.max(10, Math.floor(records / 1_000));
  const more = Math.max(1_000, Math.floor(records / 10));
  let round = 0;
  for (const count of [fewer, more])
    await bench.measure(
      {
        case: `pull after foreign changes, ${count === fewer ? 'few' : 'many'}`,
        records,
        moved: count,
      },
      {
        sample: async () => {
          round += 1;
          await world.server.call('changeForeign', count, records, crowd.devices, round * 1_000);
          const { result, spent } = await crowd.measured(() => crowd.sync(small.atATime));
          const verified = await crowd.isEqual(records);
          return {
            seconds: at(result, 0.5),
            wireBytes: null,
            verified,
            ...spent,
            settings: { devices: crowd.devices, changes: count },
          };
        },
        ...(count === fewer ? {} : { against: { case: 'pull after foreign changes, few' } }),
      },
    );
};

/** Every device lives on while the server is away; the time until each shows what came after it. */
const restart = async (
  bench: Bench,
  world: BenchWorld,
  crowd: Crowd,
  records: number,
): Promise<void> => {
  await crowd.each((actor) => actor.call('connectCrowd'));
  let round = 0;
  await bench.measure(
    { case: 'server restart', records, moved: crowd.devices },
    {
      sample: async () => {
        round += 1;
        const stage = `restart ${round}`;
        await world.server.call('closeServer');
        const { seconds, result, spent } = await crowd.measured(async () => {
          const opened = await world.reopenServer();
          await world.server.call('touchSites', crowd.devices, stage);
          await crowd.each((actor) => actor.call('awaitCrowd', stage));
          return opened;
        });
        return {
          seconds,
          wireBytes: null,
          verified: await crowd.isEqual(records),
          ...spent,
          settings: { devices: crowd.devices, secondsToOpen: rounded(result) },
        };
      },
    },
  );
};

/** Many devices that each hold the records of one site. */
export const devices: Suite = {
  name: 'devices',
  run: async (bench) => {
    // Every site has a record.
    const records = Math.max(sites, bench.options.records ?? recordsDefault);
    const count = Math.min(sites, Math.max(devicesMin, Math.floor(records / recordsPerDevice)));
    await bench.inWorld(async (world) => {
      await world.server.call('import', 0, records);
      await world.reopenServer();
      const crowd = new Crowd(world, count);
      try {
        await crowd.open();
        await uploads(bench, crowd, records);
        await foreignPulls(bench, world, crowd, records);
        // The server of one process cannot restart without its devices.
        if (world.isApart) await restart(bench, world, crowd, records);
      } finally {
        await crowd.end();
      }
    });
  },
};
