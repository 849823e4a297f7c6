import { createFellows, encodeInputEntry, type CheckpointManifest } from '@tidemark/merger';
import { TidemarkError, utf8Decode } from '@tidemark/model';
import type { InputLog, ServerStore } from '@tidemark/ports';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { copyOf, newFolder, Rewinding, syncAll, type Folder } from './rewinding.js';
import { Disk, fastTimer, type DeviceHandle, type World } from './world.js';

let rewinding: Rewinding;
let world: World;

beforeEach(async () => {
  const alone = { say: () => undefined, onWord: () => () => undefined };
  const fellows = createFellows(alone, { nowMs: () => 0 }, 'one');
  rewinding = new Rewinding({ fellows, timer: fastTimer }, { trimInput: true, keep: 1 });
  world = await rewinding.open();
});
afterEach(() => world.close());

const visit = (id: string, subject = 'kept'): Promise<unknown> =>
  world.write({ kind: 'upsert', table: 1, id, fields: { 1: subject } });

const visits = async (prefix: string): Promise<readonly string[]> =>
  [...(await world.rows(1)).keys()].filter((id) => id.startsWith(prefix));

/** Opens a folder whose generation has ended by its size. */
const openRolled = async (folder: Folder): Promise<readonly [InputLog, ServerStore]> => {
  const opened = await rewinding.openFolder(folder);
  const [input] = opened;
  const { generation, last } = await input.extent();
  await input.startGeneration({ generation, last }, encodeInputEntry({ kind: 'generation' }));
  return opened;
};

/** A folder whose store holds lost input with a checkpoint, while its input went on from before. */
const fork = async (
  lostWrites: number,
  keptWrites: number,
  checkpoint: 'checkpoint' | 'no checkpoint' = 'checkpoint',
): Promise<{
  readonly lost: CheckpointManifest | undefined;
  readonly kept: CheckpointManifest | undefined;
  readonly old: Folder;
  readonly folder: Folder;
  readonly a: DeviceHandle;
}> => {
  const folder = newFolder();
  await rewinding.serve(folder, true);
  const a = await world.device();
  await a.replica.create('visits', { subject: 'lost' });
  const before = await copyOf(folder);
  for (let i = 0; i < 30; i += 1) await a.replica.create('visits', { subject: `lost ${i}` });
  await syncAll(a);
  for (let i = 0; i < lostWrites; i += 1) await visit(`lost ${i}`);
  const lost = await world.merger.checkpoint();
  await visit('back');
  rewinding.hidden = await rewinding.checkpoints.list();
  await rewinding.serve(before);
  for (let i = 0; i < keptWrites; i += 1) await visit(`v${i}`);
  if (checkpoint === 'checkpoint') await world.merger.checkpoint();
  await visit('v0', 'newest');
  const kept = checkpoint === 'checkpoint' ? await world.merger.checkpoint() : undefined;
  rewinding.hidden = [];
  await world.stopServer();
  return { lost, kept, old: folder, folder: before, a };
};

describe('a server among others whose input lost its end and went on without an opening', () => {
  test('[SRV-57] [SRV-73] [SRV-103] a lost store takes the newest checkpoint that leads on, and goes above the newest', async () => {
    // Fewer versions in more messages.
    const { lost, kept, folder, a } = await fork(0, 10);
    expect(kept?.n).toBeLessThan(lost?.n ?? 0);
    expect((await world.input.extent()).first).toBeGreaterThan((lost?.position.seq ?? 0) + 1);
    await rewinding.serve({ store: new Disk(), input: folder.input });
    expect(rewinding.rewinds()).toMatchObject([
      { incarnation: 2, by: 'checkpoint', shown: { n: lost?.n } },
    ]);
    expect(await visits('v')).toHaveLength(10);
    await syncAll(a, a);
    await rewinding.expectEqual(a);
  });

  test('[SRV-104] a lost store joins the line that was cut above the fork, and not the newest checkpoint', async () => {
    const { lost, folder, a } = await fork(20, 2);
    const { first, last } = await world.input.extent();
    expect(first).toBeGreaterThan(1);
    expect(last).toBeLessThan(lost?.position.seq ?? 0);
    await rewinding.serve({ store: new Disk(), input: folder.input });
    expect(rewinding.rewinds()).toMatchObject([
      { incarnation: 2, by: 'checkpoint', shown: { n: lost?.n } },
    ]);
    expect(await visits('v')).toEqual(['v0', 'v1']);
    await syncAll(a, a);
    await rewinding.expectEqual(a);
  });

  test('[SRV-104] so does a store that stands on the lost line, and what it keeps of that comes again', async () => {
    const { old, folder, a } = await fork(20, 2);
    await rewinding.serve({ store: old.store, input: folder.input });
    await world.merger.settle();
    expect(rewinding.rewinds()).toMatchObject([{ incarnation: 2, by: 'store' }]);
    expect(await visits('v')).toEqual(['v0', 'v1']);
    expect(await visits('back')).toEqual(['back']);
    await syncAll(a, a);
    await rewinding.expectEqual(a);
  });

  test('[SRV-57] a store ahead of every checkpoint of the line that the input left it for takes an older one in the end', async () => {
    const { kept, old, folder, a } = await fork(20, 2);
    const [lost] = (await rewinding.checkpoints.list()).slice(-1);
    rewinding.hidden = [lost as string];
    await rewinding.serve(folder);
    // Whoever began the new incarnation died before its first checkpoint.
    rewinding.failing = true;
    await syncAll(a, a);
    expect(rewinding.rewinds()).toMatchObject([{ incarnation: 2, by: 'cursor' }]);
    await world.stopServer();
    [rewinding.failing, rewinding.hidden] = [false, []];
    rewinding.events.length = 0;
    await rewinding.serve({ store: old.store, input: folder.input });
    expect(rewinding.events).toContainEqual(
      expect.objectContaining({ type: 'checkpoint-loaded', n: kept?.n }),
    );
    await world.merger.settle();
    expect(await visits('v')).toEqual(['v0', 'v1']);
    expect(await visits('back')).toEqual(['back']);
    await syncAll(a, a);
    await rewinding.expectEqual(a);
  });

  test('[SRV-105] so does one whose lost end nobody missed before its generation ended by its size', async () => {
    const { old, folder, a } = await fork(20, 2);
    const [input, store] = await openRolled(folder);
    rewinding.hidden = (await rewinding.checkpoints.list()).slice(-1);
    await world.startServer(input, store);
    await visit('v2');
    await world.stopServer();
    rewinding.hidden = [];
    await rewinding.serve({ store: old.store, input: folder.input });
    await world.merger.settle();
    expect(rewinding.rewinds()).toMatchObject([{ incarnation: 2, by: 'store' }]);
    expect(await visits('v')).toEqual(['v0', 'v1', 'v2']);
    expect(await visits('back')).toEqual(['back']);
    await syncAll(a, a);
    await rewinding.expectEqual(a);
  });

  test('[SRV-105] a server behind an ended generation writes the checkpoint that others need, if there is none', async () => {
    const { old, folder, a } = await fork(20, 2, 'no checkpoint');
    const [input, store] = await openRolled(folder);
    rewinding.hidden = await rewinding.checkpoints.list();
    await world.startServer(input, store);
    await visit('v2');
    await vi.waitFor(async () => expect(await rewinding.checkpoints.list()).toHaveLength(1));
    await world.stopServer();
    rewinding.hidden = [];
    await rewinding.serve({ store: old.store, input: folder.input });
    await world.merger.settle();
    expect(rewinding.rewinds()).toHaveLength(1);
    expect(await visits('v')).toEqual(['v0', 'v1', 'v2']);
    expect(await visits('back')).toEqual(['back']);
    await syncAll(a, a);
    await rewinding.expectEqual(a);
  });

  test('[SRV-104] where nothing is cut the newest checkpoint goes on, and what the input holds comes again', async () => {
    const { lost, folder, a } = await fork(20, 2, 'no checkpoint');
    expect((await world.input.extent()).first).toBe(1);
    await rewinding.serve({ store: new Disk(), input: folder.input });
    await world.merger.settle();
    expect(rewinding.rewinds()).toEqual([]);
    expect(world.merger.state().incarnation).toBe(2);
    expect(world.merger.state().n).toBeGreaterThan(lost?.n ?? 0);
    expect(await visits('v')).toEqual(['v0', 'v1']);
    await syncAll(a, a);
    expect((await world.rows(1)).size).toBe(53);
    await rewinding.expectEqual(a);
  });

  test('[SRV-104] what finds no room in a full input is set aside, does not keep it full, and comes again later', async () => {
    const { folder, a } = await fork(20, 2, 'no checkpoint');
    const [input, store] = await rewinding.openFolder({ store: new Disk(), input: folder.input });
    const appended: string[] = [];
    const stillFull = async (): Promise<boolean> =>
      (await input.extent()).generation === 2 && appended.length > 0 && !trimmed;
    let trimmed = false;
    const full: InputLog = {
      ...input,
      append: async (messages) => {
        if (await stillFull()) throw new TidemarkError('input-full', 'the input is full');
        appended.push(...messages.map(utf8Decode));
        return input.append(messages);
      },
      trim: async (position) => {
        trimmed ||= position.generation === 2;
        await input.trim(position);
      },
    };
    await world.startServer(full, store);
    expect(rewinding.events).toContainEqual(
      expect.objectContaining({ type: 'background-failed', code: 'input-full' }),
    );
    expect(await visits('v')).toEqual([]);
    await world.merger.checkpoint();
    expect(trimmed).toBe(true);
    await world.stopServer();
    await world.startServer(full, store);
    await world.merger.settle();
    expect(rewinding.events).toContainEqual({ type: 'input-brought-back', messages: 3, tooOld: 0 });
    expect(await visits('v')).toEqual(['v0', 'v1']);
    await syncAll(a, a);
    await rewinding.expectEqual(a);
  });

  test('[SRV-104] an opening that is cut after it changed the line begins a new incarnation with the next one', async () => {
    const { lost, old, folder } = await fork(20, 2);
    const ofLost = (await rewinding.checkpoints.list()).at(-1) ?? '';
    await rewinding.checkpoints.remove(ofLost);
    const [input, store] = await rewinding.openFolder({ store: old.store, input: folder.input });
    const cut: InputLog = {
      ...input,
      append: () => Promise.reject(new Error('cut by the test')),
    };
    await expect(world.startServer(cut, store)).rejects.toThrow('cut by the test');
    expect(rewinding.events.map(({ type }) => type)).toContain('checkpoint-loaded');
    await world.startServer(input, store);
    expect(rewinding.rewinds()).toMatchObject([
      { incarnation: 2, by: 'store', shown: { incarnation: 1, n: (lost?.n ?? 0) + 1 } },
    ]);
    // Once: the note is of a line that is behind now.
    await world.stopServer();
    await world.startServer(input, store);
    expect(rewinding.rewinds()).toHaveLength(1);
  });
});
