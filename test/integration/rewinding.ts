import { openInputLog, openServerStore } from '@tidemark/store-level';
import type { CheckpointFolder, InputLog, ServerStore } from '@tidemark/ports';
import type { MergerOptions, ServerEvent } from '@tidemark/merger';
import { createMemoryCheckpoints } from '@tidemark/testkit';
import { expect } from 'vitest';
import { Disk, nodeCrypto, schema, World, type DeviceHandle } from './world.js';

/** Disks of a server's store and input. */
export interface Folder {
  readonly store: Disk;
  readonly input: Disk;
}

export const newFolder = (): Folder => ({ store: new Disk(), input: new Disk() });

export const copyOf = async ({ store, input }: Folder): Promise<Folder> => ({
  store: await store.copy(),
  input: await input.copy(),
});

/** World whose server is put back to older folders of its own. */
export class Rewinding {
  readonly events: ServerEvent[] = [];
  /** Checkpoints that nobody sees who lists them: as for a server that went on without an opening. */
  hidden: readonly string[] = [];
  /** No checkpoint can be written. */
  failing = false;
  readonly checkpoints: CheckpointFolder;
  readonly #options: Partial<MergerOptions>;
  world!: World;

  constructor(
    options: Partial<MergerOptions> = {},
    keeping: { readonly keep?: number; readonly trimInput?: boolean } = {},
  ) {
    const memory = createMemoryCheckpoints();
    this.checkpoints = {
      ...memory,
      list: async () => (await memory.list()).filter((name) => !this.hidden.includes(name)),
      write: (...args) =>
        this.failing ? Promise.reject(new Error('no room')) : memory.write(...args),
    };
    this.#options = {
      onEvent: (event) => this.events.push(event),
      checkpoints: { folder: this.checkpoints, ...keeping },
      ...options,
    };
  }

  async open(): Promise<World> {
    this.world = await World.open(this.#options);
    return this.world;
  }

  async openFolder({ store, input }: Folder): Promise<readonly [InputLog, ServerStore]> {
    return [
      await openInputLog({
        database: input.open(),
        marker: input.markerPort,
        hash: nodeCrypto.sha256,
        clock: this.world.clock,
      }),
      await openServerStore({
        database: store.open(),
        marker: store.markerPort,
        hash: nodeCrypto.sha256,
      }),
    ];
  }

  /** Starts the server on a folder, in place of the one that runs. */
  async serve(folder: Folder, publish = false): Promise<void> {
    await this.world.stopServer();
    await this.world.startServer(...(await this.openFolder(folder)));
    if (publish) await this.world.merger.publish(schema.customization, 'admin');
  }

  rewinds(): readonly ServerEvent[] {
    return this.events.filter(({ type }) => type === 'rewound');
  }

  async expectEqual(...devices: readonly DeviceHandle[]): Promise<void> {
    const prints = await this.world.fingerprints(...devices);
    expect(new Set(prints).size, prints.join('\n')).toBe(1);
  }
}

export const syncAll = async (...devices: readonly DeviceHandle[]): Promise<void> => {
  for (const { replica } of devices) {
    const log = await replica.sync();
    expect(log, JSON.stringify(replica.status.error)).toMatchObject({ result: 'synced' });
  }
};
