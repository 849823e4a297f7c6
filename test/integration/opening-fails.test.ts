import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import {
  checkpointRetryMs,
  openMerger,
  type InputEntry,
  type Merger,
  type ServerEvent,
} from '@tidemark/merger';
import { decodeRow, TidemarkError } from '@tidemark/model';
import { systemTimer } from '@tidemark/node';
import type { CheckpointFolder, InputLog, ServerStore } from '@tidemark/ports';
import { openInputLog } from '@tidemark/store-level';
import { createMemoryCheckpoints } from '@tidemark/testkit';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Disk, nodeCrypto, schema, seededEntropy, World } from './world.js';

const id = 'visit';
type Write = Extract<InputEntry, { readonly kind: 'write' }>['ops'][number];
const create: Write = {
  kind: 'upsert',
  table: 1,
  id,
  fields: { 1: 'subject', 3: 0 },
};
const increment: Write = { kind: 'increment', table: 1, id, by: { 3: 1 } };

/** Input that several may follow, as on a network; what it refuses is set from outside. */
interface SharedInput {
  inner: InputLog;
  refuses: TidemarkError | undefined;
  /** False: nobody is told that it grew. */
  tells: boolean;
  readonly listeners: Set<() => void>;
  readonly log: InputLog;
}

const sharedInput = (inner: InputLog): SharedInput => {
  const listeners = new Set<() => void>();
  const input: SharedInput = {
    inner,
    refuses: undefined,
    tells: true,
    listeners,
    log: {
      damage: [],
      append: async (messages) => {
        if (input.refuses !== undefined) throw input.refuses;
        const stored = await input.inner.append(messages);
        if (input.tells) for (const listener of [...listeners]) listener();
        return stored;
      },
      read: (after, bounds) => input.inner.read(after, bounds),
      extent: () => input.inner.extent(),
      endOf: (generation) => input.inner.endOf(generation),
      hashAt: (position) => input.inner.hashAt(position),
      startGeneration: (expected, first) => input.inner.startGeneration(expected, first),
      trim: (position) => input.inner.trim(position),
      close: () => input.inner.close(),
      onGrown: (callback) => {
        listeners.add(callback);
        return () => listeners.delete(callback);
      },
    },
  };
  return input;
};

describe('a merger whose opening fails half-way', () => {
  let world: World;
  let store: ServerStore;
  let input: SharedInput;
  const events: ServerEvent[] = [];
  const mergers: Merger[] = [];
  let openings = 0;
  beforeEach(async () => {
    events.length = 0;
    world = await World.open();
    store = await world.newStore();
    input = sharedInput(await newInput());
  });
  afterEach(async () => {
    for (const merger of mergers.splice(0)) await merger.close();
    await world.close();
  });

  const newInput = (): Promise<InputLog> => {
    const disk = new Disk();
    const { clock } = world;
    const hash = nodeCrypto.sha256;
    return openInputLog({ database: disk.open(), marker: disk.markerPort, hash, clock });
  };
  const open = async (checkpoints: CheckpointFolder = createMemoryCheckpoints()) => {
    openings += 1;
    const merger = await openMerger({
      tenant: 'acme',
      store,
      input: input.log,
      crypto: nodeCrypto,
      clock: world.clock,
      timer: systemTimer,
      entropy: seededEntropy(`opening-${openings}`),
      crdt: () => loadAutomergeCrdt({ hash: nodeCrypto.sha256 }),
      cursorKey: new Uint8Array(32).fill(7),
      checkpoints: { folder: checkpoints },
      onEvent: (event) => events.push(event),
    });
    mergers.push(merger);
    return merger;
  };
  const write = (merger: Merger, ...ops: readonly Write[]) =>
    merger.submit({ kind: 'write', user: 'office', ops });
  const count = async (): Promise<unknown> => {
    const { records } = await store.scanRecords(1, { maxBytes: 1e6, maxRecords: 10 });
    return records[0] === undefined ? undefined : decodeRow(records[0].row).fields[3];
  };
  const end = async (merger: Merger): Promise<void> => {
    mergers.splice(mergers.indexOf(merger), 1);
    await merger.close();
  };
  const fill = async (): Promise<void> => {
    const first = await open();
    await first.publish(schema.customization, 'admin');
    await write(first, create);
    await write(first, increment);
    await end(first);
  };

  test('[SRV-77] leaves nothing that folds: the next opening is alone on the store', async () => {
    await fill();
    input.refuses = new TidemarkError('unreachable', 'the network is away');
    for (let tries = 0; tries < 3; tries += 1)
      await expect(open()).rejects.toMatchObject({ code: 'unreachable' });
    expect(input.listeners.size).toBe(0);
    input.refuses = undefined;
    const merger = await open();
    for (let i = 0; i < 5; i += 1) await write(merger, increment);
    expect(merger.status().failure).toBeUndefined();
    expect(await count()).toBe(6);
  });

  test('[SRV-78] of two mergers on one store the second to apply refuses, and nothing counts twice', async () => {
    await fill();
    const one = await open();
    await one.settle();
    input.tells = false;
    const two = await open();
    await two.settle();
    await expect(write(one, increment)).rejects.toMatchObject({ code: 'input-mismatch' });
    expect(events).toContainEqual({ type: 'fold-failed', code: 'input-mismatch', halted: true });
    await write(two, increment);
    expect(await count()).toBe(3);
    await end(one);
    await end(two);
    const three = await open();
    await three.settle();
    expect(await count()).toBe(3);
    expect(three.status().failure).toBeUndefined();
  });

  test('[SRV-79] a checkpoint that fails at the opening of an incarnation is told, and written later', async () => {
    await fill();
    input.inner = await newInput();
    const folder = createMemoryCheckpoints();
    let isFull = true;
    const merger = await open({
      ...folder,
      write: (...parts) =>
        isFull
          ? Promise.reject(new TidemarkError('storage-unavailable', 'the disk is full'))
          : folder.write(...parts),
    });
    const failed = expect.objectContaining({
      type: 'background-failed',
      code: 'storage-unavailable',
    }) as ServerEvent;
    expect(events).toContainEqual(failed);
    expect(merger.state().incarnation).toBe(2);
    await write(merger, increment);
    expect(await count()).toBe(2);
    expect(await folder.list()).toEqual([]);
    isFull = false;
    world.clock.now += checkpointRetryMs;
    await write(merger, increment);
    await vi.waitFor(async () => expect(await folder.list()).toHaveLength(1));
    expect(await count()).toBe(3);
  });
});
