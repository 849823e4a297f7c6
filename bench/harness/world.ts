import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { systemEntropy } from '@tidemark/node';
import { connectServer, removeInput } from '@tidemark/server';
import { Actor } from './actor.js';
import type { DataName } from './dataset.js';
import type { BenchOptions } from './options.js';
import type { Place } from './server-part.js';
import type { HotFunction, Usage } from './usage.js';

let tenants = 0;

const ticksPerSecond = 100;

/** Processor time of a process by its id, on Linux; undefined elsewhere. */
const cpuSecondsOf = (pid: number | undefined): number | undefined => {
  if (pid === undefined || process.platform !== 'linux') return undefined;
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  } catch {
    return undefined;
  }
};

/** What the processes of a world used during a timed part. */
export interface Spent {
  readonly peakRssMb: { readonly device: number; readonly server: number };
  readonly cpuSeconds: {
    readonly device: number;
    readonly server: number;
    readonly nats: number | null;
  };
}

/** Functions that took most of the processor's time in each process. */
export interface Profiles {
  readonly device: readonly HotFunction[];
  readonly server: readonly HotFunction[];
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

/**
 * Server and device of one run in a temporary folder. Over NATS each is a process of its own; without, both
 * share one, and its memory is told for both.
 */
export class BenchWorld {
  server = new Actor();
  device: Actor;
  readonly folder: string;
  readonly #options: BenchOptions;
  readonly #tenant: string;
  readonly #data: DataName;
  readonly #told: (profiles: Profiles) => void;
  #hasCheckpoints = false;
  #before: { device: Usage; server: Usage; nats: number | undefined } | undefined;

  private constructor(
    options: BenchOptions,
    folder: string,
    data: DataName,
    told: (profiles: Profiles) => void,
  ) {
    tenants += 1;
    this.#options = options;
    this.#tenant = `bench-${process.pid}-${tenants}`;
    this.#data = data;
    this.#told = told;
    this.folder = folder;
    this.device = options.natsUrl === undefined ? this.server : new Actor();
  }

  /** Opens the server of a new world. `told` hears the profiles of timed parts, where they are asked for. */
  static async open(
    options: BenchOptions,
    {
      data = 'crm',
      hasCheckpoints = false,
      told = () => undefined,
    }: {
      readonly data?: DataName | undefined;
      readonly hasCheckpoints?: boolean | undefined;
      readonly told?: (profiles: Profiles) => void;
    } = {},
  ): Promise<BenchWorld> {
    const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-bench-'));
    const world = new BenchWorld(options, folder, data, told);
    world.#hasCheckpoints = hasCheckpoints;
    await world.server.call('openServer', world.place('server'));
    return world;
  }

  /** Place of a part by its name. */
  place(name: string): Place {
    const { natsUrl } = this.#options;
    return {
      folder: path.join(this.folder, name),
      tenant: this.#tenant,
      natsUrl,
      data: this.#data,
      ...(this.#hasCheckpoints ? { checkpoints: path.join(this.folder, 'checkpoints') } : {}),
    };
  }

  /** Ends the server's process and opens its folder in a new one, whose memory begins anew; returns seconds. */
  async reopenServer({ withoutStore = false } = {}): Promise<number> {
    const alone = this.device === this.server;
    if (withoutStore) await this.server.call('loseStore', this.place('server'));
    await this.server.end();
    this.server = new Actor();
    if (alone) this.device = this.server;
    if (this.#before !== undefined)
      this.#before = { ...this.#before, server: { peakRssMb: 0, cpuSeconds: 0 } };
    return this.server.call('openServer', this.place('server'));
  }

  /** Opens a device in a folder of that name; returns seconds. */
  openDevice(name: string, firstRound = 0): Promise<number> {
    return this.device.call('openDevice', this.place(name), firstRound);
  }

  /** Closes the device and takes another process for the next one. */
  async renewDevice(): Promise<void> {
    await this.device.call('closeDevice');
    if (this.device === this.server) return;
    await this.device.end();
    this.device = new Actor();
  }

  /** Ends the device's process in the middle of its work; over NATS only. */
  async killDevice(): Promise<void> {
    await this.device.kill();
    this.device = new Actor();
  }

  /** True when the device can be killed without its server. */
  get isApart(): boolean {
    return this.device !== this.server;
  }

  /** Begins to count what is used. */
  async start(): Promise<void> {
    if (this.#options.profile)
      for (const actor of new Set([this.device, this.server])) await actor.call('beginProfile');
    this.#before = {
      device: await this.device.call('resetUsage'),
      server: await this.server.call('resetUsage'),
      nats: cpuSecondsOf(this.#options.natsPid),
    };
  }

  /** What was used since `start`. */
  async spent(): Promise<Spent> {
    const before = this.#before;
    if (before === undefined) throw new Error('start comes first');
    const device = await this.device.call('usage');
    const server = await this.server.call('usage');
    const nats = cpuSecondsOf(this.#options.natsPid);
    if (this.#options.profile) {
      const ofDevice = await this.device.call('endProfile');
      const ofServer = this.isApart ? await this.server.call('endProfile') : [];
      this.#told({ device: ofDevice, server: ofServer });
    }
    return {
      peakRssMb: { device: device.peakRssMb, server: server.peakRssMb },
      cpuSeconds: {
        device: rounded(device.cpuSeconds - before.device.cpuSeconds),
        server: rounded(server.cpuSeconds - before.server.cpuSeconds),
        nats: nats === undefined || before.nats === undefined ? null : rounded(nats - before.nats),
      },
    };
  }

  /** Tells whether server and device hold the same records. */
  async isEqual(): Promise<boolean> {
    const [ours, theirs] = [
      await this.device.call('deviceFingerprint'),
      await this.server.call('serverFingerprint'),
    ];
    return ours === theirs;
  }

  async close(): Promise<void> {
    try {
      if (this.isApart) await this.device.end();
      await this.server.end();
      await this.#removeInput();
    } finally {
      await rm(this.folder, { recursive: true, force: true });
    }
  }

  async #removeInput(): Promise<void> {
    const { natsUrl } = this.#options;
    if (natsUrl === undefined) return;
    const connection = await connectServer({ servers: [natsUrl] }, systemEntropy);
    try {
      await removeInput(connection, this.#tenant);
    } finally {
      await connection.close();
    }
  }
}
