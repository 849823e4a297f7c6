import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  natsTransport,
  openReplica,
  type NatsTransport,
  type Replica,
  type Transport,
} from '@tidemark/node';
import { Child } from './child.js';
import { schema, tallyId, tenant } from './kill-schema.js';
import type { NatsServer } from './nats-server.js';
import type { NatsVictimOptions, NatsVictimSaying } from './nats-victim.js';
import { buildProgram } from './program.js';

/** Device of a stream world. */
export type StreamDevice = Replica<typeof schema>;
/** Server process of a stream world. */
export type StreamServer = Child<NatsVictimSaying>;
type StateSaying = Extract<NatsVictimSaying, { readonly say: 'state' }>;

const pollMs = 50;
const answerMsMax = 120_000;
const askAgainMs = 2_000;

/** Waits a while. */
export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** Server processes and devices around nats-servers that run. */
export class StreamWorld {
  readonly folder: string;
  readonly servers: StreamServer[] = [];
  readonly devices: StreamDevice[] = [];
  readonly #urls: readonly string[];
  readonly #program: string;
  readonly #options: NatsVictimOptions;
  readonly #transports: NatsTransport[] = [];
  #asks = 0;

  private constructor(
    folder: string,
    program: string,
    urls: readonly string[],
    options: NatsVictimOptions,
  ) {
    this.folder = folder;
    this.#program = program;
    this.#urls = urls;
    this.#options = options;
  }

  static async open(
    nats: readonly NatsServer[],
    options: Omit<NatsVictimOptions, 'checkpoints'> = {},
  ): Promise<StreamWorld> {
    const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-stream-'));
    const program = await buildProgram('nats-victim');
    const urls = nats.map(({ url }) => url);
    const checkpoints = path.join(folder, 'checkpoints');
    return new StreamWorld(folder, program, urls, { ...options, checkpoints });
  }

  /** Starts a server on a folder of its own; `servers` holds those that live. */
  async serve(name: string): Promise<StreamServer> {
    const options = JSON.stringify(this.#options);
    const server: StreamServer = new Child(this.#program, [
      this.folder,
      this.#urls.join(','),
      name,
      options,
    ]);
    this.servers.push(server);
    if ((await server.hear('open')) === undefined)
      throw new Error(`${name} did not open: ${server.errorText}`);
    return server;
  }

  /** kill -9. */
  async kill(server: StreamServer): Promise<void> {
    this.servers.splice(this.servers.indexOf(server), 1);
    await server.kill();
  }

  /** What a server holds once everything that is stored is applied. */
  async state(server: StreamServer): Promise<StateSaying> {
    for (let waited = 0; waited < answerMsMax; waited += pollMs) {
      if (waited % askAgainMs === 0) {
        this.#asks += 1;
        server.tell({ say: 'state', ask: this.#asks } as never);
      }
      const found = server.heard.find(
        (one): one is StateSaying => one.say === 'state' && one.ask === this.#asks,
      );
      if (found !== undefined) return found;
      await pause(pollMs);
    }
    throw new Error(`a server does not say what it holds: ${server.errorText}`);
  }

  /** Opens a device; `wrap` may put something between it and its transport. */
  async device(
    name: string,
    wrap: (transport: Transport) => Transport = (transport) => transport,
  ): Promise<StreamDevice> {
    const inner = natsTransport({ servers: [...this.#urls], name });
    this.#transports.push(inner);
    const transport = wrap(inner);
    const folder = path.join(this.folder, name);
    const device = await openReplica({ folder, tenant, user: name, schema, transport });
    this.devices.push(device);
    return device;
  }

  /** What differs between servers, devices and what was promised, once all are at rest; empty when nothing does. */
  async differences(counted: number): Promise<readonly string[]> {
    const problems: string[] = [];
    const states: StateSaying[] = [];
    for (const server of this.servers) states.push(await this.state(server));
    const digests = new Set(states.map(({ digest }) => digest));
    if (digests.size > 1) problems.push(`${digests.size} digests`);
    const prints = new Set(states.map(({ fingerprints }) => fingerprints.join()));
    for (const device of this.devices)
      prints.add([await device.fingerprint('visits'), await device.fingerprint('tally')].join());
    if (prints.size > 1) problems.push(`${prints.size} fingerprints`);
    for (const { tally } of states)
      if (tally !== counted) problems.push(`${tally} counted by a server, ${counted} promised`);
    return problems;
  }

  async close(): Promise<void> {
    for (const server of [...this.servers]) {
      server.channel.kill('SIGCONT');
      await this.kill(server);
    }
    for (const device of this.devices) await device.close();
    for (const transport of this.#transports) await transport.disconnect();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Notes each time a device shows less of the tally than it has shown before. */
export class TallyWatch {
  readonly older: string[] = [];
  samples = 0;
  #isOver = false;
  readonly #running: Promise<void>;

  constructor(device: StreamDevice, name: string) {
    this.#running = this.#watch(device, name);
  }

  async #watch(device: StreamDevice, name: string): Promise<void> {
    let seen = 0;
    while (!this.#isOver) {
      const total = (await device.get('tally', tallyId))?.total ?? 0;
      this.samples += 1;
      if (total < seen) this.older.push(`${name} showed ${total} after ${seen}`);
      seen = Math.max(seen, total);
      await pause(5);
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }
}
