import { openLocalReplica, replicaOn, type LocalReplica, type Replica } from '@tidemark/client';
import type { Scope } from '@tidemark/filter';
import { openMerger, type Merger, type WindowBounds } from '@tidemark/merger';
import { decodeRow, type Customization, type Row, type SyncLog } from '@tidemark/model';
import type { CheckpointFolder, InputLog, InputMessage, ServerStore } from '@tidemark/ports';
import { openInputLog, openReplicaStore, openServerStore } from '@tidemark/store-level';
import { createMemoryCheckpoints } from '@tidemark/testkit';
import { createFaultyTransport, type FaultyTransport } from './faulty-transport.js';
import { crdt, crypto, memoryDatabase, memoryMarker } from './memory-parts.js';
import type { SeededRandom } from './seeded-random.js';
import { VirtualTime } from './virtual-time.js';

/** Tenant of every history. */
export const tenant = 'acme';
const startMs = 1_800_000_000_000;
const readBytes = 64 * 1024 * 1024;

/** What a device is given. */
export interface DeviceSetup {
  readonly name: string;
  readonly scope: Scope;
  /** Error of its clock in ms. */
  readonly clockOffsetMs: number;
  readonly customization: Customization;
}

/** Device with its own memory: it can be closed and opened again. */
export class Device {
  readonly setup: DeviceSetup;
  readonly transport: FaultyTransport;
  replica!: Replica;
  local!: LocalReplica;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #database = memoryDatabase();
  readonly #marker = memoryMarker();

  constructor(setup: DeviceSetup, time: VirtualTime, random: SeededRandom) {
    this.setup = setup;
    this.#time = time;
    this.#random = random;
    this.transport = createFaultyTransport(time);
  }

  get name(): string {
    return this.setup.name;
  }

  async open(): Promise<void> {
    await this.#database.open();
    const { store, marker } = await openReplicaStore({
      database: this.#database,
      marker: this.#marker,
      hash: crypto.sha256,
      newId: this.#random.bytes(16),
    });
    const clock = this.#time.clock(this.setup.clockOffsetMs);
    const entropy = { bytes: (count: number) => this.#random.bytes(count) };
    this.local = await openLocalReplica({
      tenant,
      user: `user-of-${this.name}`,
      replica: this.name,
      customization: this.setup.customization,
      store,
      marker,
      clock,
      entropy,
      crypto,
      crdt,
    });
    this.replica = await replicaOn({
      local: this.local,
      transport: this.transport,
      scope: this.setup.scope,
      clock,
      entropy,
      timer: this.#time.timer,
      crypto,
    });
  }
}

/** One server with its devices, in one process and in virtual time. */
export class World {
  readonly time = new VirtualTime(startMs);
  readonly devices: Device[] = [];
  readonly checkpoints: CheckpointFolder = createMemoryCheckpoints();
  merger!: Merger;
  input!: InputLog;
  store!: ServerStore;
  readonly #random: SeededRandom;
  readonly #store = { database: memoryDatabase(), marker: memoryMarker() };
  readonly #input = { database: memoryDatabase(), marker: memoryMarker() };
  readonly #cursorKey = new Uint8Array(32).fill(7);

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  async openServer(window: Partial<WindowBounds>): Promise<void> {
    await this.#store.database.open();
    await this.#input.database.open();
    this.store = await openServerStore({ ...this.#store, hash: crypto.sha256 });
    this.input = await openInputLog({
      ...this.#input,
      hash: crypto.sha256,
      clock: this.time.clock(),
    });
    this.merger = await openMerger({
      tenant,
      store: this.store,
      input: this.input,
      crypto,
      clock: this.time.clock(),
      timer: this.time.timer,
      entropy: { bytes: (count) => this.#random.bytes(count) },
      crdt,
      cursorKey: this.#cursorKey,
      window,
      // Also the few rows of these histories come in blocks, which are soon out of date.
      prepared: { bytesMin: 1, stepBytes: 400, staleBytesMin: 3_000 },
      checkpoints: { folder: this.checkpoints, keep: 2 },
    });
    for (const { transport } of this.devices) transport.local.setService(this.merger.service);
  }

  async closeServer(): Promise<void> {
    for (const { transport } of this.devices) transport.local.setService(null);
    await this.time.run(this.merger.close());
    await this.store.close();
    await this.input.close();
  }

  async addDevice(setup: DeviceSetup): Promise<Device> {
    const device = new Device(setup, this.time, this.#random.fork());
    this.devices.push(device);
    device.transport.local.setService(this.merger.service);
    await device.open();
    return device;
  }

  sync(device: Device): Promise<SyncLog> {
    return this.time.run(device.replica.sync({ mode: 'foreground' }));
  }

  async close(): Promise<void> {
    for (const { replica } of this.devices) await this.time.run(replica.close());
    await this.closeServer();
  }

  /** Every message of the input. */
  async messages(): Promise<readonly InputMessage[]> {
    return readInput(this.input);
  }

  /** Live rows of a table of the server in id order. */
  async rows(table: number): Promise<ReadonlyMap<string, Row>> {
    return new Map(
      (await storedRecords(this.store, table)).flatMap(({ id, row, deleted }) =>
        deleted ? [] : [[id, row] as const],
      ),
    );
  }
}

/** Every message of an input. */
export const readInput = async (input: InputLog): Promise<readonly InputMessage[]> => {
  const all: InputMessage[] = [];
  let after = { generation: 1, seq: 0 };
  for (;;) {
    const page = await input.read(after, { maxBytes: readBytes, maxMessages: 10_000 });
    all.push(...page);
    const last = page[page.length - 1];
    if (last === undefined) return all;
    after = last.position;
  }
};

/** Every record of a table of a server store, tombstones too. */
export const storedRecords = async (
  store: ServerStore,
  table: number,
): Promise<readonly { readonly id: string; readonly row: Row; readonly deleted: boolean }[]> => {
  const bounds = { maxBytes: readBytes, maxRecords: 1_000_000 };
  const { records } = await store.scanRecords(table, bounds);
  return records.map(({ id, row, deleted }) => ({ id, row: decodeRow(row), deleted }));
};
