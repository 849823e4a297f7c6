import type { InputLog } from '@tidemark/ports';
import type { MergerOptions } from '@tidemark/merger';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { copyOf, newFolder, Rewinding, syncAll } from './rewinding.js';
import { Disk, World } from './world.js';

let rewinding: Rewinding;
let world: World;

const open = async (...options: ConstructorParameters<typeof Rewinding>): Promise<void> => {
  rewinding = new Rewinding(...options);
  world = await rewinding.open();
};

beforeEach(() => open());
afterEach(() => world.close());

const serve: Rewinding['serve'] = (...args) => rewinding.serve(...args);
const expectEqual: Rewinding['expectEqual'] = (...devices) => rewinding.expectEqual(...devices);
const rewinds: Rewinding['rewinds'] = () => rewinding.rewinds();

async function* none(): AsyncGenerator<Uint8Array, void, undefined> {}

const fill = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i += 500)
    await world.write(
      ...Array.from({ length: Math.min(500, count - i) }, (_, k) => ({
        kind: 'upsert' as const,
        table: 1,
        id: `v${String(i + k).padStart(6, '0')}`,
        fields: { 1: `visit ${i + k}`, 2: 'planned', 3: 0 },
      })),
    );
};

const movedIn = (log: { readonly tables: readonly { readonly upserts: number }[] }): number =>
  log.tables.reduce((sum, { upserts }) => sum + upserts, 0);

describe('a server whose whole folder was put back', () => {
  test('[SRV-70] is detected by the first cursor of what it lacks; nothing is lost or doubled', async () => {
    const folder = newFolder();
    await serve(folder, true);
    await fill(3_000);
    const a = await world.device({ user: 'user-1' });
    const id = await a.replica.create('visits', { subject: 'kept', count: 1 });
    await syncAll(a);
    const backup = await copyOf(folder);
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await serve(backup);
    await a.replica.increment('visits', id, 'count', 100);
    const log = await a.replica.sync();
    expect(log, JSON.stringify(a.replica.status.error)).toMatchObject({ result: 'synced' });
    expect(rewinds()).toHaveLength(1);
    expect(rewinds()[0]).toMatchObject({ incarnation: 2, by: 'cursor', shown: { incarnation: 1 } });
    await syncAll(a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(111);
    expect(movedIn(log)).toBeLessThan(2_200);
    await expectEqual(a);
  });

  test('[SRV-71] is detected after other devices passed the lost versions, by a device with equal numbers', async () => {
    const folder = newFolder();
    await serve(folder, true);
    await fill(3_000);
    const a = await world.device({ user: 'user-1' });
    const b = await world.device({ user: 'user-2' });
    const id = await a.replica.create('visits', { subject: 'kept', count: 1 });
    await syncAll(a, b);
    const backup = await copyOf(folder);
    // A restart in between: what is lost is of a life that the copy has never heard of.
    await serve(folder);
    await b.replica.close();
    const n = world.merger.state().n;
    for (let i = 0; i < 5; i += 1) {
      await a.replica.update('visits', `v00000${i}`, { subject: `user-1 ${i}` });
      await a.replica.increment('visits', id, 'count', 10);
    }
    await world.write({ kind: 'upsert', table: 1, id: 'gone', fields: { 1: 'a lost write' } });
    await syncAll(a);
    const seen = world.merger.state().n;
    expect(seen).toBeGreaterThan(n + 5);

    await serve(backup);
    await world.reopen(b, { user: 'user-2' });
    // The same numbers now mean other content, of the same records too.
    for (let i = 0; i < 10; i += 1) {
      await b.replica.update('visits', `v00000${9 - i}`, { subject: `user-2 ${i}` });
      await b.replica.increment('visits', id, 'count', 100);
      await syncAll(b);
    }
    expect(world.merger.state().n).toBeGreaterThan(seen);
    expect(rewinds()).toEqual([]);

    await a.replica.increment('visits', id, 'count', 1_000);
    const log = await a.replica.sync();
    expect(log, JSON.stringify(a.replica.status.error)).toMatchObject({ result: 'synced' });
    expect(rewinds()).toHaveLength(1);
    expect(world.merger.state().incarnation).toBe(2);
    // No full download: the ranges that hold what changed since, of three.
    expect(movedIn(log)).toBeLessThan(2_200);
    await syncAll(b, a, b, a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(2_051);
    expect((await world.rows(1)).has('gone')).toBe(false);
    expect(await a.replica.get('visits', 'gone')).toBeUndefined();
    await expectEqual(a, b);
    const subjects = [...(await world.rows(1))].map(([, { fields }]) => String(fields[1]));
    expect(subjects.filter((one) => one.startsWith('user-2'))).toHaveLength(10);
    expect(a.events).toContainEqual({ type: 'incarnation', previous: 1, incarnation: 2 });
    // Detected once: cursors of before do not begin incarnations again.
    await serve(backup);
    await syncAll(a, b);
    expect(rewinds()).toHaveLength(1);
  });

  test('[SRV-72] a server that has not folded its input yet is behind, not rewound', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    await a.replica.create('visits', { subject: 'one' });
    await syncAll(a);
    await a.replica.create('visits', { subject: 'two' });
    await syncAll(a, a);
    await world.stopServer();
    const gate: { held: Promise<void>; release: () => void } = {
      held: Promise.resolve(),
      release: () => undefined,
    };
    gate.held = new Promise((resolve) => {
      gate.release = resolve;
    });
    const [input] = await rewinding.openFolder(folder);
    // The store is lost: everything is folded again, slowly.
    const slow = await World.open({
      validate: async () => {
        await gate.held;
        return undefined;
      },
      onEvent: (event) => rewinding.events.push(event),
    });
    await slow.stopServer();
    await slow.startServer(input, await slow.newStore());
    await a.replica.close();
    await world.reopen(a, { transport: slow.transport });
    expect(await a.replica.sync({ mode: 'background' })).toMatchObject({ error: 'behind' });
    gate.release();
    await syncAll(a);
    expect(rewinds()).toEqual([]);
    expect(slow.merger.state().incarnation).toBe(1);
    await slow.close();
  });

  test('[SRV-73] a checkpoint of what is missing shows it at the opening', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const backup = await copyOf(folder);
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await world.merger.checkpoint();
    await serve(backup);
    expect(rewinds()).toMatchObject([{ incarnation: 2, by: 'checkpoint' }]);
    await syncAll(a, a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(11);
    await expectEqual(a);
    await serve(backup);
    expect(rewinds()).toHaveLength(1);
  });

  test('[SRV-73] so does one of a new incarnation that begins where the store that was put back stands', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const cut = await folder.input.copy();
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await world.stopServer();
    const store = await folder.store.copy();
    // The input lost its end: it goes on with a new incarnation from the store.
    await serve({ store: folder.store, input: cut });
    expect(world.merger.state()).toMatchObject({ incarnation: 2, position: { generation: 2 } });
    const input = await cut.copy();
    await a.replica.increment('visits', id, 'count', 100);
    await syncAll(a, a);
    await world.merger.checkpoint();
    await serve({ store, input });
    expect(rewinds()).toMatchObject([{ incarnation: 3, by: 'checkpoint' }]);
    await syncAll(a, a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(111);
    await expectEqual(a);
  });

  test('[SRV-57] a store from before a new incarnation, or none, takes the checkpoint that the trimmed input stands on', async () => {
    await world.close();
    await open({}, { keep: 1, trimInput: true });
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const [backup, old] = [await copyOf(folder), await copyOf(folder)];
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await serve(backup);
    await syncAll(a, a);
    expect(world.merger.state().incarnation).toBe(2);
    // What the new generation began with is trimmed, too.
    await a.replica.increment('visits', id, 'count', 100);
    await syncAll(a);
    await world.merger.checkpoint();
    const { generation, first } = await world.input.extent();
    expect([generation, first > 1]).toEqual([2, true]);
    for (const store of [new Disk(), old.store]) {
      rewinding.events.length = 0;
      await serve({ store, input: backup.input });
      expect(rewinding.events.map(({ type }) => type)).toContain('checkpoint-loaded');
      await syncAll(a);
      expect((await world.rows(1)).get(id)?.fields[3]).toBe(111);
      expect(world.merger.state().incarnation).toBe(2);
    }
    await expectEqual(a);
  });

  test('[SRV-57] so does a store whose line the input left at a message that it holds no more', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const [old, backup] = [await folder.store.copy(), await copyOf(folder)];
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await world.merger.checkpoint();
    // The input lost that, and holds other messages under the same numbers and above.
    rewinding.hidden = await rewinding.checkpoints.list();
    await serve(backup);
    for (const subject of ['other', 'and more', 'and more still'])
      await world.write({ kind: 'upsert', table: 1, id: 'w', fields: { 1: subject } });
    rewinding.hidden = [];
    await serve({ store: new Disk(), input: backup.input });
    expect(world.merger.state()).toMatchObject({ incarnation: 2, position: { generation: 2 } });
    await a.replica.increment('visits', id, 'count', 100);
    await syncAll(a);
    rewinding.events.length = 0;
    await serve({ store: old, input: backup.input });
    expect(rewinding.events.map(({ type }) => type)).toContain('checkpoint-loaded');
    expect(rewinding.events.map(({ type }) => type)).not.toContain('fold-failed');
    await syncAll(a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(111);
    await expectEqual(a);
  });

  test('[SRV-57] so does a store in whose line the input held more before it went on from that checkpoint', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const [old, backup] = [await folder.store.copy(), await copyOf(folder)];
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await world.merger.checkpoint();
    // Input that the checkpoint holds is lost, and so is the store: the input goes on from the checkpoint.
    await serve({ store: new Disk(), input: backup.input });
    expect(world.merger.state()).toMatchObject({ incarnation: 2, position: { generation: 2 } });
    await a.replica.increment('visits', id, 'count', 100);
    await syncAll(a);
    rewinding.events.length = 0;
    // Its last message is the input's still, and what follows does not build on it.
    await serve({ store: old, input: backup.input });
    expect(rewinding.events.map(({ type }) => type)).toContain('checkpoint-loaded');
    await syncAll(a);
    expect(world.merger.state().incarnation).toBe(2);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(111);
    await expectEqual(a);
  });

  test('[SRV-74] an incarnation that was given before is never given again', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const backup = await copyOf(folder);
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    for (const by of [100, 1_000]) {
      // The same copy again and again: what happened since is lost each time.
      await serve(await copyOf(backup));
      await a.replica.increment('visits', id, 'count', by);
      await syncAll(a, a);
      await expectEqual(a);
    }
    expect(world.merger.state().incarnation).toBe(3);
    expect(rewinds()).toHaveLength(2);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(1_111);
  });

  test('[SRV-74] nor is one that only the name of a damaged checkpoint tells of', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    await a.replica.create('visits', { subject: 'one' });
    await syncAll(a);
    const [backup, cut] = [await copyOf(folder), await folder.input.copy()];
    await a.replica.create('visits', { subject: 'two' });
    await syncAll(a);
    const damaged = (incarnation: number): Promise<void> =>
      rewinding.checkpoints.write(`00000${incarnation}-000000000000001`, new Uint8Array(3), none());
    await world.merger.checkpoint();
    await damaged(4);
    await world.stopServer();
    const store = await folder.store.copy();
    // Input that the store holds is missing.
    await serve({ store, input: cut });
    expect(world.merger.state().incarnation).toBe(5);
    await syncAll(a, a);
    await damaged(7);
    // A cursor shows that the server was put back.
    await serve(backup);
    await syncAll(a, a);
    expect(rewinds()).toMatchObject([{ incarnation: 8 }]);
    await expectEqual(a);
  });

  test('[SYN-32] a log that was trimmed beyond what an old copy knows goes on above the gap', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const backup = await copyOf(folder);
    for (let i = 0; i < 20; i += 1) await a.replica.increment('visits', id, 'count', 1);
    await syncAll(a);
    await world.merger.checkpoint();
    await syncAll(a);
    expect(a.replica.status.archived).toEqual({ to: 21, complete: true });
    await a.replica.increment('visits', id, 'count', 100);
    await serve(backup);
    await syncAll(a);
    const lost = a.events.filter(({ type }) => type === 'lost');
    expect(lost).toEqual([{ type: 'lost', from: 2, to: 21, operations: 20 }]);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(101);
    const other = await a.replica.create('visits', { subject: 'after' });
    await syncAll(a, a);
    expect((await world.rows(1)).has(other)).toBe(true);
    expect(a.events.filter(({ type }) => type === 'lost')).toHaveLength(1);
    await expectEqual(a);
    await a.replica.close();
    await world.reopen(a);
    await a.replica.increment('visits', id, 'count', 1_000);
    await syncAll(a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(1_101);
  });

  test('[SYN-32] a copy of the folder from right above the gap is agreed with, too', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device({ user: 'user-1' });
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const backup = await copyOf(folder);
    for (let i = 0; i < 20; i += 1) await a.replica.increment('visits', id, 'count', 1);
    await syncAll(a);
    await world.merger.checkpoint();
    await syncAll(a);
    await serve(backup);
    await syncAll(a);
    await a.replica.close();
    const disk = await a.disk.copy();
    await world.reopen(a, { user: 'user-1' });
    await a.replica.increment('visits', id, 'count', 100);
    await syncAll(a);
    await a.replica.close();
    const old = await world.device({ user: 'user-1', disk });
    await old.replica.increment('visits', id, 'count', 1_000);
    await syncAll(old);
    expect(old.replica.status.pending.operations).toBe(0);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(1_101);
    await expectEqual(old);
  });

  test('[SYN-32] so does a log of a replica that the old copy has never seen', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const backup = await copyOf(folder);
    const a = await world.device();
    await a.replica.create('visits', { subject: 'one' });
    await syncAll(a);
    await world.merger.checkpoint();
    await syncAll(a, a);
    await serve(backup);
    const kept = await a.replica.create('visits', { subject: 'two' });
    await syncAll(a, a);
    expect(a.events).toContainEqual({ type: 'lost', from: 1, to: 1, operations: 1 });
    expect([...(await world.rows(1)).keys()]).toEqual([kept]);
    await expectEqual(a);
  });

  test('[SYN-33] a clone that an old copy does not know offers its own part only', async () => {
    // Without checkpoints the logs keep everything.
    await world.close();
    await open({ checkpoints: undefined } as unknown as Partial<MergerOptions>);
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'shared', count: 1 });
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await a.replica.close();
    const backup = await copyOf(folder);
    const b = await world.device({ disk: await a.disk.copy() });
    await world.reopen(a);
    await a.replica.increment('visits', id, 'count', 100);
    await syncAll(a);
    await b.replica.increment('visits', id, 'count', 1_000);
    await syncAll(b);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(1_111);
    await serve(backup);
    await syncAll(b, a, b, a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(1_111);
    await expectEqual(a, b);
    // Not even the origin is known: both offer their own part, whoever comes first.
    const empty = newFolder();
    await serve(empty, true);
    await syncAll(b, a, b, a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(1_111);
    await expectEqual(a, b);
  });

  test('[SRV-75] [SRV-96] a checkpoint of a later generation opens on an empty input, also after a cut opening', async () => {
    const folder = newFolder();
    await serve(folder, true);
    const a = await world.device();
    const id = await a.replica.create('visits', { subject: 'one', count: 1 });
    await syncAll(a);
    const backup = await copyOf(folder);
    await a.replica.increment('visits', id, 'count', 10);
    await syncAll(a);
    await serve(backup);
    await syncAll(a);
    await world.merger.checkpoint();
    const { generation } = world.merger.state().position;
    expect(generation).toBe(2);
    await world.stopServer();
    const [input, store] = await rewinding.openFolder(newFolder());
    // The opening is cut after it has stored the first message of the new generation.
    let cut = true;
    const cutInput: InputLog = {
      ...input,
      startGeneration: async (expected, first) => {
        const position = await input.startGeneration(expected, first);
        if (expected.generation === generation && cut) throw new Error('cut by the test');
        return position;
      },
    };
    rewinding.events.length = 0;
    await expect(world.startServer(cutInput, store)).rejects.toThrow('cut by the test');
    const told = (): readonly string[] =>
      rewinding.events.map(({ type }) => type).filter((type) => type.startsWith('incarnation'));
    // Whoever began the incarnation never said so.
    expect(told()).toEqual([]);
    cut = false;
    await world.startServer(input, store);
    expect(told()).toEqual(['incarnation-folded']);
    expect(world.merger.state()).toMatchObject({ incarnation: 3, position: { generation: 3 } });
    await syncAll(a, a);
    expect((await world.rows(1)).get(id)?.fields[3]).toBe(11);
    await expectEqual(a);
  });
});
