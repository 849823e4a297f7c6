import { createHash } from 'node:crypto';
import {
  openLocalReplica,
  replicaOn,
  type CompressionMode,
  type LocalReplica,
  type Replica,
  type ReplicaEvent,
} from '@tidemark/client';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCompression, nodeCrypto } from '@tidemark/crypto-node';
import type { Scope } from '@tidemark/filter';
import { openMerger, type InputEntry, type Merger, type MergerOptions } from '@tidemark/merger';
import { decodeRow, defineSchema, field, type Row } from '@tidemark/model';
import { systemTimer } from '@tidemark/node';
import type {
  CheckpointFolder,
  Clock,
  Entropy,
  InputLog,
  Link,
  Marker,
  ServerStore,
  Timer,
  Transport,
} from '@tidemark/ports';
import { contentFingerprint } from '@tidemark/protocol';
import { openInputLog, openReplicaStore, openServerStore } from '@tidemark/store-level';
import { createMemoryCheckpoints } from '@tidemark/testkit';
import { createLocalTransport, type LocalTransport } from '@tidemark/transport-local';
import { MemoryLevel } from 'memory-level';

/** Schema of the integration tests. */
export const schema = defineSchema({
  version: 1,
  tables: {
    visits: {
      id: 1,
      indexes: { byStatus: ['status'] },
      fields: {
        subject: field.string(1, { required: true }),
        status: field.string(2, { rule: 'manual' }),
        count: field.counter(3),
        note: field.text(4),
        rank: field.number(5, { rule: 'latest-wins' }),
      },
    },
    tasks: {
      id: 2,
      onDelete: 'manual',
      fields: {
        visit: field.reference(1, 'visits'),
        title: field.string(2, { maxLength: 40 }),
      },
    },
  },
});

export type Device = Replica<typeof schema>;

type ServerWrite = Extract<InputEntry, { readonly kind: 'write' }>['ops'][number];

export { nodeCrypto };

type Level = MemoryLevel<Uint8Array, Uint8Array>;

/** Database in memory that remembers what was fsynced last, and can be copied. */
export class Disk {
  level: Level = Disk.#empty();
  marker: Uint8Array | undefined;
  #synced: readonly (readonly [Uint8Array, Uint8Array])[] = [];

  static #empty(): Level {
    return new MemoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });
  }

  async #entries(): Promise<readonly (readonly [Uint8Array, Uint8Array])[]> {
    await this.level.open();
    return this.level.iterator().all();
  }

  /** The database as stores use it: a batch with `sync` makes everything so far durable. */
  open(): Level {
    const { level } = this;
    const remember = async (): Promise<void> => {
      this.#synced = await level.iterator().all();
    };
    return new Proxy(level, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        const call = value as (...args: unknown[]) => unknown;
        if (name !== 'batch') return call.bind(target);
        return (...args: unknown[]) => {
          if (args.length === 0) return watchChain(call.call(target) as object, remember);
          const options = args[1] as { readonly sync?: boolean } | undefined;
          const done = call.apply(target, args) as Promise<void>;
          return options?.sync === true ? done.then(remember) : done;
        };
      },
    });
  }

  readonly markerPort: Marker = {
    read: () => Promise.resolve(this.marker),
    write: (bytes) => {
      this.marker = bytes.slice();
      return Promise.resolve();
    },
  };

  async #replaceBy(entries: readonly (readonly [Uint8Array, Uint8Array])[]): Promise<void> {
    const next = Disk.#empty();
    await next.batch(entries.map(([key, value]) => ({ type: 'put' as const, key, value })));
    this.level = next;
    this.#synced = entries;
  }

  /** Loses everything that was not fsynced. */
  powerCut(): Promise<void> {
    return this.#replaceBy(this.#synced);
  }

  /** Another disk with the same content. */
  async copy(): Promise<Disk> {
    const disk = new Disk();
    await disk.#replaceBy(await this.#entries());
    disk.marker = this.marker?.slice();
    return disk;
  }

  /** Puts the database (not the marker) back to what another disk holds. */
  async restoreDatabaseFrom(older: Disk): Promise<void> {
    await this.#replaceBy(await older.#entries());
  }
}

const watchChain = (chain: object, remember: () => Promise<void>): object =>
  new Proxy(chain, {
    get: (target, name, self) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const call = value as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        const result = call.apply(target, args);
        if (name === 'write') {
          const options = args[0] as { readonly sync?: boolean } | undefined;
          const done = result as Promise<void>;
          return options?.sync === true ? done.then(remember) : done;
        }
        return result === target ? (self as unknown) : result;
      };
    },
  });

/** Entropy from a seed: the hash of a counter. */
export const seededEntropy = (seed: string): Entropy => {
  let counter = 0;
  return {
    bytes: (count) => {
      const out = new Uint8Array(count);
      for (let at = 0; at < count; at += 32) {
        counter += 1;
        const block = createHash('sha256').update(`${seed}/${counter}`).digest();
        out.set(block.subarray(0, Math.min(32, count - at)), at);
      }
      return out;
    },
  };
};

/** Timer for pauses: a twentieth of the time, so that back-off does not slow the tests. */
export const fastTimer: Timer = { sleep: (ms, signal) => systemTimer.sleep(ms / 20, signal) };

/** A device with its disk; `replica` is replaced at each opening. */
export interface DeviceHandle {
  readonly disk: Disk;
  replica: Device;
  local: LocalReplica;
  readonly events: ReplicaEvent[];
}

/** One tenant: a server in this process, its devices, and ways to harm them. */
export class World {
  readonly clock: Clock & { now: number };
  readonly transport: LocalTransport;
  readonly checkpoints: CheckpointFolder = createMemoryCheckpoints();
  readonly #opened: DeviceHandle[] = [];
  readonly #options: Partial<MergerOptions>;
  #devices = 0;
  #openings = 0;
  input!: InputLog;
  store!: ServerStore;
  merger!: Merger;

  private constructor(options: Partial<MergerOptions>) {
    const clock = {
      now: 1_700_000_000_000,
      nowMs: () => {
        clock.now += 1;
        return clock.now;
      },
    };
    this.clock = clock;
    this.#options = options;
    this.transport = createLocalTransport({ service: null, timer: systemTimer });
  }

  static async open(options: Partial<MergerOptions> = {}): Promise<World> {
    const world = new World(options);
    await world.startServer(await world.newInput(), await world.newStore());
    await world.merger.publish(schema.customization, 'admin');
    return world;
  }

  newInput(): Promise<InputLog> {
    const disk = new Disk();
    return openInputLog({
      database: disk.open(),
      marker: disk.markerPort,
      hash: nodeCrypto.sha256,
      clock: this.clock,
    });
  }

  newStore(): Promise<ServerStore> {
    const disk = new Disk();
    return openServerStore({
      database: disk.open(),
      marker: disk.markerPort,
      hash: nodeCrypto.sha256,
    });
  }

  /** Starts a server on an input and a store; devices reach it from now on. */
  async startServer(input: InputLog, store: ServerStore): Promise<void> {
    this.input = input;
    this.store = store;
    this.#openings += 1;
    this.merger = await openMerger({
      tenant: 'acme',
      store,
      input,
      crypto: nodeCrypto,
      compression: nodeCompression,
      clock: this.clock,
      timer: systemTimer,
      entropy: seededEntropy(`server-${this.#openings}`),
      crdt: () => loadAutomergeCrdt({ hash: nodeCrypto.sha256 }),
      cursorKey: new Uint8Array(32).fill(7),
      checkpoints: { folder: this.checkpoints },
      ...this.#options,
    });
    this.transport.setService(this.merger.service);
  }

  async stopServer(): Promise<void> {
    this.transport.setService(null);
    await this.merger.close();
  }

  /** Opens a device on a new disk, or on the given one. */
  async device(
    options: {
      readonly user?: string;
      readonly disk?: Disk;
      readonly scope?: Scope;
      readonly transport?: Transport;
      readonly compress?: CompressionMode;
    } = {},
  ): Promise<DeviceHandle> {
    const handle = {
      disk: options.disk ?? new Disk(),
      events: [] as ReplicaEvent[],
    } as unknown as DeviceHandle;
    this.#opened.push(handle);
    await this.reopen(handle, options);
    return handle;
  }

  /** Opens the device again on its disk, as after a restart. */
  async reopen(
    handle: DeviceHandle,
    options: {
      readonly user?: string;
      readonly scope?: Scope;
      readonly transport?: Transport;
      readonly compress?: CompressionMode;
    } = {},
  ): Promise<void> {
    this.#devices += 1;
    const entropy = seededEntropy(`device-${this.#devices}`);
    const { store, marker } = await openReplicaStore({
      database: handle.disk.open(),
      marker: handle.disk.markerPort,
      hash: nodeCrypto.sha256,
      newId: entropy.bytes(16),
    });
    const local = await openLocalReplica({
      tenant: 'acme',
      user: options.user ?? 'user-1',
      customization: schema.customization,
      store,
      marker,
      clock: this.clock,
      entropy,
      crypto: nodeCrypto,
      crdt: () => loadAutomergeCrdt({ hash: nodeCrypto.sha256 }),
    });
    handle.local = local;
    handle.replica = await replicaOn<typeof schema>({
      local,
      transport: options.transport ?? this.transport,
      clock: this.clock,
      entropy,
      timer: fastTimer,
      crypto: nodeCrypto,
      compression: nodeCompression,
      ...(options.compress === undefined ? {} : { compress: options.compress }),
      onEvent: (event) => handle.events.push(event),
      onClosed: () => store.close(),
      ...(options.scope === undefined ? {} : { scope: options.scope }),
    });
  }

  write(...ops: readonly ServerWrite[]): Promise<unknown> {
    return this.merger.submit({ kind: 'write', user: 'office', ops });
  }

  /** Live rows of a table of the server, by id. */
  async rows(table: number): Promise<ReadonlyMap<string, Row>> {
    const { records } = await this.store.scanRecords(table, { maxBytes: 1e9, maxRecords: 1e6 });
    return new Map(
      records.filter(({ deleted }) => !deleted).map(({ id, row }) => [id, decodeRow(row)]),
    );
  }

  async fingerprint(table: number): Promise<string> {
    const rows = [...(await this.rows(table))].map(([id, { fields }]) => ({ id, fields }));
    return contentFingerprint(rows, nodeCrypto.sha256);
  }

  /** Fingerprints of both tables on the server and on each device: all equal when all agree. */
  async fingerprints(...devices: readonly DeviceHandle[]): Promise<readonly string[]> {
    const prints = [`${await this.fingerprint(1)} ${await this.fingerprint(2)}`];
    for (const { replica } of devices)
      prints.push(`${await replica.fingerprint('visits')} ${await replica.fingerprint('tasks')}`);
    return prints;
  }

  async close(): Promise<void> {
    for (const { replica } of this.#opened) await replica?.close();
    await this.merger.close();
  }
}

/** Transport whose calls can be counted and made to fail. */
export const faultyTransport = (
  inner: Transport,
  fault: (endpoint: string, call: number) => Error | undefined,
): Transport & { readonly calls: ReadonlyMap<string, number> } => {
  const calls = new Map<string, number>();
  const check = (endpoint: string): void => {
    const call = (calls.get(endpoint) ?? 0) + 1;
    calls.set(endpoint, call);
    const error = fault(endpoint, call);
    if (error !== undefined) throw error;
  };
  return {
    calls,
    open: async (caller, signal) => {
      check('open');
      const link = await inner.open(caller, signal);
      return {
        ...link,
        publish: async (envelope, abort) => {
          check('publish');
          await link.publish(envelope, abort);
        },
        request: async (endpoint, body, abort) => {
          check(endpoint);
          return link.request(endpoint, body, abort);
        },
        waitForTick: link.waitForTick,
        onLost: link.onLost,
        close: link.close,
      } satisfies Link;
    },
  };
};
