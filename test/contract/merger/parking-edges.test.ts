import { resolutionFields, type ResolutionAction, type ResolutionRow } from '@tidemark/model';
import { encodeInputEntry } from '@tidemark/merger';
import { sketchTransaction } from '@tidemark/testkit';
import { describe, expect, it } from 'vitest';
import { Device, FoldWorld, set } from './fold-world.js';

const visit = { table: 1, record: 'v1' } as const;

let ids = 0;
const resolveCentrally = async (
  world: FoldWorld,
  root: string,
  action: ResolutionAction,
  more: Partial<ResolutionRow> = {},
): Promise<string> => {
  ids += 1;
  const id = `s${ids}`;
  const resolution = { root, action, shown: [], choices: [], ...more };
  await world.give({ kind: 'resolution', by: 'boss', id, resolution });
  return (await world.stored(60_002, id))?.row.fields[5] as string;
};

/** Create of a row of `resolutions`, as a device writes it. */
const resolutionRow = (record: string, root: string, action: ResolutionAction) =>
  ({
    table: 60_002,
    record,
    kind: 'create',
    set: Object.entries(resolutionFields({ root, action, shown: [], choices: [] })).map(
      ([field, after]) => ({ field: Number(field), before: null, after: after ?? null }),
    ),
  }) as const;

const errorOf = async (world: FoldWorld, root: string) =>
  (await world.syncErrors()).find((row) => row.root === root);

/** A record with a manual conflict on its status: the device's edit is parked. */
const parkStatus = async (world: FoldWorld, a: Device): Promise<string> => {
  const base = await world.base(1, 'v1');
  const patch = { kind: 'patch', table: 1, id: 'v1', fields: { 2: 'server' } } as const;
  await world.give({ kind: 'write', user: 'boss', ops: [patch] });
  const index = a.write({ ...visit, kind: 'update', base, set: set({ 2: ['new', 'mine'] }) });
  await world.give(a.envelope(index));
  return a.op(index);
};

const createVisit = (a: Device, more: Parameters<typeof set>[0] = {}) =>
  a.send({ ...visit, kind: 'create', set: set({ 1: [null, 'north'], 2: [null, 'new'], ...more }) });

/** Clone of a device from everything that it has merged, under a replica id of its own. */
const cloneOf = async (world: FoldWorld, of: Device, replica: string): Promise<Device> => {
  const clone = new Device(of.log.copy({ replica, epoch: 1 }));
  const continues = { index: clone.log.lastIndex, head: clone.log.headTextAt(clone.log.lastIndex) };
  const origin = { replica: of.log.replica, epoch: of.log.epoch };
  await world.give(clone.grant({ epoch: 0, provisional: `q-${replica}`, continues, origin }));
  expect(await world.replica(replica)).toMatchObject({ epoch: 1, mergedTo: clone.log.lastIndex });
  return clone;
};

/** Continues a device's log under the next epoch, at its end. */
const nextEpoch = async (world: FoldWorld, a: Device): Promise<void> => {
  const { epoch, lastIndex } = a.log;
  const continues = { index: lastIndex, head: a.log.headTextAt(lastIndex) };
  await world.give(a.grant({ epoch, provisional: `n-${epoch}`, continues }));
  a.log.epoch = epoch + 1;
  expect((await world.replica(a.log.replica))?.epoch).toBe(epoch + 1);
};

describe('system tables', () => {
  for (const action of ['retry', 'split', 'merge'] as const)
    it(`[ERR-5] refuses a device's write on system tables also after ${action}`, async () => {
      const world = await FoldWorld.open();
      const a = await world.enrol('a', 'user-1');
      await world.give(createVisit(a));
      const root = await parkStatus(world, a);
      const index = a.write(
        { table: 60_001, record: root, kind: 'update', set: set({ 4: ['open', 'resolved'] }) },
        { table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'x'] }) },
      );
      await world.give(a.envelope(index));
      expect(await errorOf(world, a.op(index))).toMatchObject({ kind: 'rejected' });
      await world.give(a.send(resolutionRow(`own-${action}`, a.op(index), action)));
      expect((await world.stored(60_002, `own-${action}`))?.row.fields[5]).toBe('still-parked');
      expect(await errorOf(world, root)).toMatchObject({ state: 'open' });
    });

  it('[ERR-5] does not let a correction carry a write on system tables', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a));
    const root = await parkStatus(world, a);
    const target = { table: 60_001, record: root, kind: 'update' } as const;
    const index = a.write({ ...target, set: set({ 4: ['open', 'resolved'] }) });
    a.write({ ...target, prev: 1, set: set({ 4: ['resolved', 'ignored'] }) });
    await world.give(a.envelope(index));
    expect(await errorOf(world, root)).toMatchObject({ state: 'open' });
    expect(await errorOf(world, a.op(index))).toMatchObject({ state: 'open', kind: 'rejected' });
  });
});

describe('corrections', () => {
  it('[ERR-10] composes a refused operation with a correction of the next epoch', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a, { 6: [null, 'too long'] }));
    const root = a.op(1);
    expect(await errorOf(world, root)).toMatchObject({ kind: 'invalid' });
    await nextEpoch(world, a);
    await world.give(
      a.send({ ...visit, kind: 'update', prev: 1, set: set({ 6: ['too long', 'ok'] }) }),
    );
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'north', 2: 'new', 6: 'ok' });
    expect((await world.stored(1, 'v1'))?.row.born).toBe('a/1/1');
    expect(await errorOf(world, root)).toMatchObject({ state: 'resolved' });
    expect(await world.space('parked')).toEqual([]);
  });

  it('[ERR-10] composes them on a retry when the correction did not pass at first', async () => {
    let open = false;
    const world = await FoldWorld.open({ validate: () => (open ? undefined : 'closed') });
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a, { 6: [null, 'too long'] }));
    const root = a.op(1);
    expect(await errorOf(world, root)).toMatchObject({ kind: 'invalid' });
    await world.give(
      a.send({ ...visit, kind: 'update', prev: 1, set: set({ 6: ['too long', 'ok'] }) }),
    );
    expect((await errorOf(world, root))?.ranges).toHaveLength(2);
    open = true;
    expect(await resolveCentrally(world, root, 'retry')).toBe('done');
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'north', 2: 'new', 6: 'ok' });
    expect(await errorOf(world, root)).toMatchObject({ state: 'resolved', disposition: 'applied' });
    expect(await world.space('parked')).toEqual([]);
  });

  it('[ERR-10] is not held up by a dependent that has a conflict of its own', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(
      a.send({ table: 1, record: 'v2', kind: 'create', set: set({ 2: [null, 'b'] }) }),
    );
    const base = await world.base(1, 'v2');
    const patch = { kind: 'patch', table: 1, id: 'v2', fields: { 2: 'server' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    await world.give(createVisit(a, { 6: [null, 'too long'] }));
    const root = a.op(2);
    const child = a.write(
      { table: 2, record: 'n1', kind: 'create', set: set({ 1: [null, 'v1'] }) },
      { table: 1, record: 'v2', kind: 'update', base, set: set({ 2: ['b', 'mine'] }) },
    );
    const fix = a.write({ ...visit, kind: 'update', prev: 3, set: set({ 6: ['too long', 'ok'] }) });
    await world.give(a.envelope(child, fix));
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'north', 2: 'new', 6: 'ok' });
    expect(await errorOf(world, root)).toMatchObject({ state: 'resolved', disposition: 'applied' });
    expect(await errorOf(world, a.op(child))).toMatchObject({ state: 'open', record: 'v2' });
  });

  it('[ERR-14] asks the hook about the parts of a correction that stand alone', async () => {
    const world = await FoldWorld.open({
      validate: ({ operations }) =>
        operations.some(({ record }) => record === 'n1') ? 'no n1' : undefined,
    });
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a, { 6: [null, 'too long'] }));
    a.log.append(
      sketchTransaction(
        [
          { ...visit, kind: 'update', prev: 1, set: set({ 6: ['too long', 'longer'] }) },
          { table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'x'] }) },
        ],
        { atomicity: 'per-record' },
      ),
    );
    await world.give(a.envelope(2));
    expect(await world.fields(2, 'n1')).toBeUndefined();
  });

  it('[SRV-14] asks the hook about what a split would apply beside an invalid record', async () => {
    const world = await FoldWorld.open({
      validate: ({ operations }) =>
        operations.some(({ record }) => record === 'n1') ? 'no n1' : undefined,
    });
    const a = await world.enrol('a', 'user-1');
    await world.give(
      a.send(
        { ...visit, kind: 'create', set: set({ 6: [null, 'too long'] }) },
        { table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'x'] }) },
      ),
    );
    expect(await resolveCentrally(world, a.op(1), 'split')).toBe('still-parked');
    expect(await world.fields(2, 'n1')).toBeUndefined();
  });

  it('[ERR-14] gives a part of a correction that conflicts on its own a root of its own', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(
      a.send({ table: 1, record: 'v2', kind: 'create', set: set({ 2: [null, 'b'] }) }),
    );
    const base = await world.base(1, 'v2');
    const patch = { kind: 'patch', table: 1, id: 'v2', fields: { 2: 'server' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    await world.give(createVisit(a, { 6: [null, 'too long'] }));
    a.log.append(
      sketchTransaction(
        [
          { ...visit, kind: 'update', prev: 1, set: set({ 6: ['too long', 'longer'] }) },
          { table: 1, record: 'v2', kind: 'update', base, set: set({ 2: ['b', 'mine'] }) },
        ],
        { atomicity: 'per-record' },
      ),
    );
    await world.give(a.envelope(3));
    expect(await errorOf(world, a.op(4))).toMatchObject({ kind: 'conflict', record: 'v2' });
    expect((await errorOf(world, a.op(2)))?.ranges).toEqual([
      { epoch: 1, from: 2, to: 2 },
      { epoch: 1, from: 3, to: 3 },
    ]);
  });

  it('[ERR-14] waits when it also builds on an operation that waits under another root', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(
      a.send({ table: 1, record: 'v2', kind: 'create', set: set({ 2: [null, 'b'] }) }),
    );
    const base = await world.base(1, 'v2');
    const patch = { kind: 'patch', table: 1, id: 'v2', fields: { 2: 'server' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    const conflict = { table: 1, record: 'v2', kind: 'update', base } as const;
    await world.give(a.send({ ...conflict, set: set({ 2: ['b', 'mine'] }) }));
    await world.give(createVisit(a, { 6: [null, 'too long'] }));
    await world.give(
      a.send(
        { ...visit, kind: 'update', prev: 1, set: set({ 6: ['too long', 'ok'] }) },
        { ...conflict, prev: 3, inc: [{ field: 3, by: 1 }] },
      ),
    );
    expect((await world.fields(1, 'v2'))?.[3]).toBeUndefined();
    expect(await resolveCentrally(world, a.op(2), 'take-server')).toBe('done');
    expect(await resolveCentrally(world, a.op(3), 'retry')).toBe('done');
    expect(await world.fields(1, 'v1')).toMatchObject({ 6: 'ok' });
    expect((await world.fields(1, 'v2'))?.[3]).toBe(1);
    expect(await world.space('parked')).toEqual([]);
  });
});

describe('clones', () => {
  it('[SRV-10, ERR-69] waits with what its origin parked in an earlier epoch', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a));
    const root = await parkStatus(world, a);
    await nextEpoch(world, a);
    await world.give(
      a.send({ table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'x'] }) }),
    );
    const base = await world.base(1, 'v1');
    const c = await cloneOf(world, a, 'c');
    const index = c.write({ ...visit, kind: 'update', base, prev: 2, inc: [{ field: 3, by: 4 }] });
    expect(index).toBe(4);
    await world.give(c.envelope(index));
    expect((await world.fields(1, 'v1'))?.[3]).toBeUndefined();
    expect((await errorOf(world, root))?.ranges).toEqual([
      { epoch: 1, from: 2, to: 2 },
      { epoch: 1, from: 4, to: 4, replica: 'c' },
    ]);
    const shown = [{ ...visit, incarnation: base?.incarnation ?? 0, n: base?.n ?? 0 }];
    const choices = [{ ...visit, field: 2, pick: 'mine' }] as const;
    expect(await resolveCentrally(world, root, 'merge', { shown, choices })).toBe('done');
    expect(await world.fields(1, 'v1')).toMatchObject({ 2: 'mine', 3: 4 });
    expect(await world.space('parked')).toEqual([]);
    expect(await world.replica('c')).toMatchObject({ parked: 0 });
  });

  it('[SRV-10] does not take what its origin did after they parted for its own', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a));
    const base = await world.base(1, 'v1');
    const backup = a.log.copy();
    await world.give(
      a.send({ table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'x'] }) }),
    );
    const c = await cloneOf(world, a, 'c');
    a.log = backup;
    const continues = { index: 1, head: backup.headTextAt(1) };
    await world.give(a.grant({ epoch: 1, provisional: 'x', continues }));
    a.log.epoch = 2;
    await world.give(a.send({ ...visit, kind: 'update', base, set: set({ 2: ['new', 'other'] }) }));
    expect((await world.fields(1, 'v1'))?.[2]).toBe('other');
    await world.give(c.send({ ...visit, kind: 'delete', base }));
    expect(await world.fields(1, 'v1')).toMatchObject({ 2: 'other' });
  });

  it('[SRV-10] knows the log of a clone of a clone from its start', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a));
    const root = await parkStatus(world, a);
    const base = await world.base(1, 'v1');
    const c = await cloneOf(world, a, 'c');
    await world.give(
      c.send({ table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'x'] }) }),
    );
    const d = await cloneOf(world, c, 'd');
    await world.give(
      d.send({ ...visit, kind: 'update', base, prev: 2, inc: [{ field: 3, by: 4 }] }),
    );
    expect((await world.fields(1, 'v1'))?.[3]).toBeUndefined();
    expect((await errorOf(world, root))?.ranges).toHaveLength(2);
    await world.give(d.send(resolutionRow('by-d', root, 'take-server')));
    expect((await world.stored(60_002, 'by-d'))?.row.fields[5]).toBe('done');
    await world.give(
      d.send({ ...visit, kind: 'update', base, prev: 2, inc: [{ field: 3, by: 2 }] }),
    );
    expect((await world.fields(1, 'v1'))?.[3]).toBe(2);
  });

  it('[SRV-10] corrects what its origin parked, apart from what the origin did since', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a, { 6: [null, 'too long'] }));
    const root = a.op(1);
    const c = await cloneOf(world, a, 'c');
    await world.give(
      a.send({ ...visit, kind: 'update', prev: 1, set: set({ 1: ['north', 'south'] }) }),
      c.send({ ...visit, kind: 'update', prev: 1, set: set({ 6: ['too long', 'ok'] }) }),
    );
    expect(await world.fields(1, 'v1')).toMatchObject({ 2: 'new', 6: 'ok' });
    expect((await world.stored(1, 'v1'))?.row.born).toBe(root);
    expect(await errorOf(world, root)).toMatchObject({ state: 'resolved', disposition: 'applied' });
    expect(await world.space('parked')).toEqual([]);
    expect(await world.replica('a')).toMatchObject({ parked: 0 });
  });
});

describe('resolutions that wait themselves', () => {
  it('[ERR-15] carries out a resolution once the transaction that holds it is decided', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(
      a.send({ table: 1, record: 'v2', kind: 'create', set: set({ 2: [null, 'b'] }) }),
      createVisit(a),
    );
    const other = await world.base(1, 'v2');
    const first = await parkStatus(world, a);
    const base = await world.base(1, 'v1');
    const patch = { kind: 'patch', table: 1, id: 'v2', fields: { 2: 'server' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    const conflict = { table: 1, record: 'v2', kind: 'update', base: other } as const;
    const index = a.write({ ...conflict, set: set({ 2: ['b', 'mine'] }) });
    await world.give(a.envelope(index));
    const second = a.op(index);
    // The resolution of the second root waits under the first.
    await world.give(
      a.send(
        { ...visit, kind: 'update', base, prev: 2, inc: [{ field: 3, by: 1 }] },
        resolutionRow('waiting', second, 'take-server'),
      ),
    );
    expect(await world.stored(60_002, 'waiting')).toBeUndefined();
    const shown = [{ ...visit, incarnation: base?.incarnation ?? 0, n: base?.n ?? 0 }];
    const choices = [{ ...visit, field: 2, pick: 'mine' }] as const;
    expect(await resolveCentrally(world, first, 'merge', { shown, choices })).toBe('done');
    expect((await world.fields(1, 'v1'))?.[3]).toBe(1);
    expect((await world.stored(60_002, 'waiting'))?.row.fields[5]).toBe('done');
    expect(await errorOf(world, second)).toMatchObject({ state: 'resolved' });
    expect(await world.space('parked')).toEqual([]);
  });
});

describe('parts', () => {
  it('[MRG-5] lets a part wait under a create that comes later in the transaction', async () => {
    let open = false;
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(
      a.send({ ...visit, kind: 'create', set: set({ 2: [null, 'taken'] }) }),
      a.send({ ...visit, kind: 'delete', prev: 1 }),
    );
    expect(open).toBe(false);
    open = true;
    a.log.append(
      sketchTransaction(
        [
          { table: 2, record: 'n1', kind: 'create', set: set({ 1: [null, 'v9'] }) },
          { table: 1, record: 'v9', kind: 'create', set: set({ 6: [null, 'too long'] }) },
        ],
        { atomicity: 'per-record' },
      ),
    );
    await world.give(a.envelope(3));
    expect((await world.syncErrors()).map(({ root }) => root)).toEqual(['a/1/4']);
    await world.give(
      a.send({
        table: 1,
        record: 'v9',
        kind: 'update',
        prev: 1,
        set: set({ 6: ['too long', 'ok'] }),
      }),
    );
    expect(await world.fields(1, 'v9')).toEqual({ 6: 'ok' });
    expect(await world.fields(2, 'n1')).toEqual({ 1: 'v9' });
  });
});

describe('several roots', () => {
  it('[MRG-4] lets what refers to a record wait while one of its parked creates does', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const put = (id: string) =>
      ({ kind: 'upsert', table: 1, id, fields: { 1: 'north', 2: 'server' } }) as const;
    await world.give({ kind: 'write', user: 'boss', ops: [put('v1'), put('v2')] });
    const create = (record: string, prev: number) =>
      ({
        table: 1,
        record,
        kind: 'create',
        prev,
        set: set({ 1: [null, 'north'], 2: [null, 'mine'] }),
      }) as const;
    await world.give(a.send(create('v1', 0)));
    await world.give(a.send(create('v2', 0)));
    // Waits under the root of v2, and holds a second create of v1.
    const third = a.write({ ...create('v2', 1), kind: 'delete', set: [] }, create('v1', 3));
    await world.give(a.envelope(third));
    const note = (record: string) =>
      ({ table: 2, record, kind: 'create', set: set({ 1: [null, 'v1'] }) }) as const;
    await world.give(a.send(note('n1')));
    expect(await resolveCentrally(world, a.op(2), 'take-server')).toBe('done');
    await world.give(a.send(note('n2')));
    expect((await errorOf(world, a.op(1)))?.ranges).toEqual([
      { epoch: 1, from: 1, to: 1 },
      { epoch: 1, from: 5, to: 6 },
    ]);
    expect(await resolveCentrally(world, a.op(1), 'take-server')).toBe('done');
    await world.give(a.send(note('n3')));
    expect(await world.fields(2, 'n3')).toEqual({ 1: 'v1' });
  });
});

describe('input', () => {
  it('[SRV-27] folds everything before an entry of a newer format', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.append(createVisit(a));
    const newer = encodeInputEntry(createVisit(a)).slice();
    newer[1] = 99;
    await world.input.append([newer]);
    await expect(world.fold.advance()).rejects.toMatchObject({ code: 'newer-format' });
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'north', 2: 'new' });
    await expect(world.fold.advance()).rejects.toMatchObject({ code: 'newer-format' });
  });
});

describe('bounds', () => {
  it('[ERR-16] keeps the row of a root small however its dependents are spread', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(createVisit(a));
    const root = await parkStatus(world, a);
    const base = await world.base(1, 'v1');
    const from = a.log.lastIndex + 1;
    for (let i = 0; i < 1_500; i += 1) {
      a.write({
        ...visit,
        kind: 'update',
        base,
        prev: i === 0 ? 1 : 2,
        inc: [{ field: 3, by: 1 }],
      });
      a.write({ table: 2, record: `n${i}`, kind: 'create', set: set({ 2: [null, 'free'] }) });
    }
    await world.give(a.envelope(from));
    expect(await world.fields(2, 'n1499')).toEqual({ 2: 'free' });
    const rows = await world.syncErrors();
    for (const row of rows) expect(row.ranges.length).toBeLessThanOrEqual(512);
    expect(await errorOf(world, root)).toMatchObject({ state: 'open' });
  });
});
