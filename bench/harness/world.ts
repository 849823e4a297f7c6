import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Actor } from './actor.js';
import type { Place } from './actor-calls.js';
import type { BenchOptions } from './options.js';
import type { Usage } from './usage.js';

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
  #before: { device: Usage; server: Usage; nats: number | undefined } | undefined;

  private constructor(options: BenchOptions, folder: string) {
    tenants += 1;
    this.#options = options;
    this.#tenant = `bench-${tenants}`;
    this.folder = folder;
    this.device = options.natsUrl === undefined ? this.server : new Actor();
  }

  static async open(options: BenchOptions): Promise<BenchWorld> {
    const world = new BenchWorld(options, await mkdtemp(path.join(tmpdir(), 'tidemark-bench-')));
    await world.server.call('openServer', world.#place('server'));
    return world;
  }

  #place(name: string): Place {
    const { natsUrl } = this.#options;
    return { folder: path.join(this.folder, name), tenant: this.#tenant, natsUrl };
  }

  /** Ends the server's process and opens its folder in a new one, whose memory begins anew; returns seconds. */
  async reopenServer(): Promise<number> {
    const alone = this.device === this.server;
    await this.server.end();
    this.server = new Actor();
    if (alone) this.device = this.server;
    return this.server.call('openServer', this.#place('server'));
  }

  /** Opens a device in a folder of that name; returns seconds. */
  openDevice(name: string): Promise<number> {
    return this.device.call('openDevice', this.#place(name));
  }

  /** Closes the device and takes another process for the next one. */
  async renewDevice(): Promise<void> {
    await this.device.call('closeDevice');
    if (this.device === this.server) return;
    await this.device.end();
    this.device = new Actor();
  }

  /** Begins to count what is used. */
  async start(): Promise<void> {
    this.#before = {
      device: await this.device.call('usage'),
      server: await this.server.call('usage'),
      nats: cpuSecondsOf(this.#options.natsPid),
    };
  }

  /** What was used since `start`; peaks are those of the whole life of each process. */
  async spent(): Promise<Spent> {
    const before = this.#before;
    if (before === undefined) throw new Error('start comes first');
    const device = await this.device.call('usage');
    const server = await this.server.call('usage');
    const nats = cpuSecondsOf(this.#options.natsPid);
    const rounded = (value: number): number => Math.round(value * 100) / 100;
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
    if (this.device !== this.server) await this.device.end();
    await this.server.end();
    await rm(this.folder, { recursive: true, force: true });
  }
}
