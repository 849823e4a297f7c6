import { resolutionFields, type ResolutionAction, type ResolutionRow } from '@tidemark/model';
import { describe, expect, it } from 'vitest';
import { FoldWorld, set, type Device } from './fold-world.js';

const visit = { table: 1, record: 'v1' } as const;

interface Parked {
  readonly world: FoldWorld;
  readonly a: Device;
  /** Index of the first operation of the parked transaction. */
  readonly index: number;
  readonly root: string;
}

/** A device's status edit meets the server's: parked under a manual rule, with a second device beside. */
const parkConflict = async (
  options: Parameters<typeof FoldWorld.open>[0] = {},
): Promise<Parked> => {
  const world = await FoldWorld.open(options);
  const a = await world.enrol('a', 'user-1');
  const fields = set({ 1: [null, 'north'], 2: [null, 'new'] });
  await world.give(a.send({ ...visit, kind: 'create', set: fields }));
  const base = await world.base(1, 'v1');
  const patch = { kind: 'patch', table: 1, id: 'v1', fields: { 2: 'server' } } as const;
  await world.give({ kind: 'write', user: 'boss', ops: [patch] });
  const index = a.log.lastIndex + 1;
  await world.give(a.send({ ...visit, kind: 'update', base, set: set({ 2: ['new', 'mine'] }) }));
  return { world, a, index, root: a.op(index) };
};

const shownNow = async (world: FoldWorld): Promise<ResolutionRow['shown']> => {
  const base = await world.base(1, 'v1');
  return [{ ...visit, incarnation: base?.incarnation ?? 0, n: base?.n ?? 0 }];
};

let ids = 0;
const resolveCentrally = async (
  { world, root }: Pick<Parked, 'world' | 'root'>,
  action: ResolutionAction,
  more: Partial<ResolutionRow> = {},
): Promise<string> => {
  ids += 1;
  const id = `r${ids}`;
  const resolution = { root, action, shown: [], choices: [], ...more };
  await world.give({ kind: 'resolution', by: 'boss', id, resolution });
  return (await world.stored(60_002, id))?.row.fields[5] as string;
};

const errorOf = async ({ world, root }: Pick<Parked, 'world' | 'root'>) =>
  (await world.syncErrors()).find((row) => row.root === root);

const lookups = async (world: FoldWorld): Promise<number> => (await world.space('parked')).length;

describe('resolutions', () => {
  it('[ERR-1] parks a conflict as a row of sync_errors with base and ours', async () => {
    const parked = await parkConflict();
    expect(await errorOf(parked)).toMatchObject({
      replica: 'a',
      user: 'user-1',
      kind: 'conflict',
      state: 'open',
      table: 1,
      record: 'v1',
      ranges: [{ epoch: 1, from: 2, to: 2 }],
      conflicts: [{ field: 2, base: 'new', ours: 'mine', rule: 'manual' }],
    });
    expect((await parked.world.stored(60_001, parked.root))?.row.owner).toBe('user-1');
  });

  it('[ERR-2] merges by field: mine, theirs or a value', async () => {
    for (const [choice, expected, disposition] of [
      [{ pick: 'mine' }, 'mine', 'applied'],
      [{ pick: 'theirs' }, 'server', 'superseded'],
      [{ pick: 'value', value: 'both' }, 'both', 'applied'],
    ] as const) {
      const parked = await parkConflict();
      const shown = await shownNow(parked.world);
      const choices = [{ ...visit, field: 2, ...choice }];
      expect(await resolveCentrally(parked, 'merge', { shown, choices })).toBe('done');
      expect((await parked.world.fields(1, 'v1'))?.[2]).toBe(expected);
      expect(await errorOf(parked)).toMatchObject({ state: 'resolved', disposition });
      expect(await lookups(parked.world)).toBe(0);
      expect((await parked.world.replica('a'))?.parked).toBe(0);
    }
  });

  it('[ERR-3] refuses a stale, a doubled and a misfit resolution', async () => {
    const parked = await parkConflict();
    const { world } = parked;
    const shown = await shownNow(world);
    const patch = { kind: 'patch', table: 1, id: 'v1', fields: { 6: 'x' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    const mine = [{ ...visit, field: 2, pick: 'mine' }] as const;
    expect(await resolveCentrally(parked, 'merge', { shown, choices: mine })).toBe('stale');
    expect(await errorOf(parked)).toMatchObject({
      state: 'open',
      lastResolution: { verdict: 'stale' },
    });
    expect(await resolveCentrally(parked, 'merge', { choices: mine })).toBe('invalid');
    expect(await resolveCentrally({ world, root: 'nobody/1/1' }, 'ignore')).toBe('invalid');
    expect(await resolveCentrally(parked, 'retry')).toBe('still-parked');
    expect(await resolveCentrally(parked, 'un-ignore')).toBe('duplicate');
    expect(await resolveCentrally(parked, 'take-server')).toBe('done');
    expect(await resolveCentrally(parked, 'take-server')).toBe('duplicate');
  });

  it('[ERR-4] lets a device resolve its own sync errors only, in order with its other operations', async () => {
    const parked = await parkConflict();
    const { world, a, root } = parked;
    const b = await world.enrol('b', 'user-2');
    const resolution = { root, action: 'take-server', shown: [], choices: [] } as const;
    const row = (record: string) =>
      ({
        table: 60_002,
        record,
        kind: 'create',
        set: Object.entries(resolutionFields(resolution)).map(([field, after]) => ({
          field: Number(field),
          before: null,
          after,
        })),
      }) as const;
    await world.give(b.send(row('theirs')));
    expect((await world.stored(60_002, 'theirs'))?.row.fields[5]).toBe('invalid');
    expect((await errorOf(parked))?.state).toBe('open');
    await world.give(a.send(row('own')));
    expect((await world.stored(60_002, 'own'))?.row.fields[5]).toBe('done');
    expect(await errorOf(parked)).toMatchObject({ state: 'resolved', resolvedBy: 'user-1' });
  });

  it('[ERR-5] refuses every other write of a device on system tables', async () => {
    const { world, a, root } = await parkConflict();
    const forged = {
      table: 60_001,
      record: root,
      kind: 'update',
      set: set({ 4: ['open', 'resolved'] }),
    };
    const index = a.write(forged as never);
    await world.give(a.envelope(index));
    expect(await errorOf({ world, root: a.op(index) })).toMatchObject({ kind: 'rejected' });
    expect((await errorOf({ world, root }))?.state).toBe('open');
  });

  it('[ERR-6] takes dependents along: they resume when the root is applied', async () => {
    const parked = await parkConflict();
    const { world, a } = parked;
    const base = await world.base(1, 'v1');
    await world.give(
      a.send({ ...visit, kind: 'update', base, prev: 1, inc: [{ field: 3, by: 4 }] }),
      a.send({ table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'free'] }) }),
    );
    expect((await errorOf(parked))?.ranges).toHaveLength(2);
    expect((await world.fields(1, 'v1'))?.[3]).toBeUndefined();
    expect(await world.fields(2, 'n1')).toEqual({ 2: 'free' });
    const shown = await shownNow(world);
    const choices = [{ ...visit, field: 2, pick: 'mine' }] as const;
    expect(await resolveCentrally(parked, 'merge', { shown, choices })).toBe('done');
    expect(await world.fields(1, 'v1')).toMatchObject({ 2: 'mine', 3: 4 });
    expect(await world.syncErrors()).toHaveLength(1);
    expect(await lookups(world)).toBe(0);
  });

  it('[ERR-7] ignores and brings back, with all that waits under the root', async () => {
    const parked = await parkConflict();
    expect(await resolveCentrally(parked, 'ignore')).toBe('done');
    expect(await errorOf(parked)).toMatchObject({ state: 'ignored', disposition: 'ignored' });
    expect(await resolveCentrally(parked, 'take-server')).toBe('duplicate');
    expect(await resolveCentrally(parked, 'un-ignore')).toBe('done');
    expect(await errorOf(parked)).toMatchObject({ state: 'open', disposition: null });
    const { world } = parked;
    const shown = await shownNow(world);
    const choices = [{ ...visit, field: 2, pick: 'mine' }] as const;
    expect(await resolveCentrally(parked, 'merge', { shown, choices })).toBe('done');
    expect((await world.fields(1, 'v1'))?.[2]).toBe('mine');
  });

  it('[ERR-8] opens an ignored root again when a dependent arrives', async () => {
    const parked = await parkConflict();
    const { world, a } = parked;
    await resolveCentrally(parked, 'ignore');
    const base = await world.base(1, 'v1');
    await world.give(
      a.send({ ...visit, kind: 'update', base, prev: 1, set: set({ 6: [null, 'z'] }) }),
    );
    expect(await errorOf(parked)).toMatchObject({ state: 'open' });
    expect((await errorOf(parked))?.ranges).toHaveLength(2);
  });

  it('[ERR-9] parks a child with the create of its parent, and decides both on a retry', async () => {
    let open = false;
    const world = await FoldWorld.open({
      validate: ({ operations }) =>
        !open && operations.some(({ table }) => table === 'visits') ? 'closed' : undefined,
    });
    const a = await world.enrol('a', 'user-1');
    const root = a.op(1);
    await world.give(
      a.send({ ...visit, kind: 'create', set: set({ 1: [null, 'north'] }) }),
      a.send({ table: 2, record: 'n1', kind: 'create', set: set({ 1: [null, 'v1'] }) }),
    );
    expect((await errorOf({ world, root }))?.ranges).toHaveLength(2);
    expect(await world.fields(2, 'n1')).toBeUndefined();
    open = true;
    expect(await resolveCentrally({ world, root }, 'retry')).toBe('done');
    expect(await world.fields(2, 'n1')).toEqual({ 1: 'v1' });
    expect(await errorOf({ world, root })).toMatchObject({ disposition: 'applied' });
  });

  it('[ERR-10] decides a refused transaction and its correction as one', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(
      a.send({ ...visit, kind: 'create', set: set({ 1: [null, 'north'], 6: [null, 'too long'] }) }),
    );
    const root = a.op(1);
    expect(await errorOf({ world, root })).toMatchObject({ kind: 'invalid' });
    await world.give(
      a.send({ ...visit, kind: 'update', prev: 1, set: set({ 6: ['too long', 'longer'] }) }),
    );
    expect((await errorOf({ world, root }))?.ranges).toHaveLength(2);
    expect(await world.syncErrors()).toHaveLength(1);
    await world.give(
      a.send({ ...visit, kind: 'update', prev: 1, set: set({ 6: ['longer', 'ok'] }) }),
    );
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'north', 6: 'ok' });
    expect(await errorOf({ world, root })).toMatchObject({
      state: 'resolved',
      disposition: 'applied',
    });
    expect(await lookups(world)).toBe(0);
  });

  it('[ERR-11] splits a transaction: untroubled records apply, troubled ones stay', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(a.send({ ...visit, kind: 'create', set: set({ 2: [null, 'new'] }) }));
    const base = await world.base(1, 'v1');
    const patch = { kind: 'patch', table: 1, id: 'v1', fields: { 2: 'server' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    const note = { table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'x'] }) } as const;
    const edit = { ...visit, kind: 'update', base, set: set({ 2: ['new', 'mine'] }) } as const;
    await world.give(a.send(note, edit));
    const root = a.op(2);
    expect(await world.fields(2, 'n1')).toBeUndefined();
    expect(await resolveCentrally({ world, root }, 'split')).toBe('done');
    expect(await world.fields(2, 'n1')).toEqual({ 2: 'x' });
    expect(await errorOf({ world, root })).toMatchObject({
      state: 'resolved',
      disposition: 'split',
    });
    const rest = a.op(3);
    expect(await errorOf({ world, root: rest })).toMatchObject({
      state: 'open',
      ranges: [{ epoch: 1, from: 3, to: 3 }],
    });
    expect(await resolveCentrally({ world, root: rest }, 'take-server')).toBe('done');
    expect((await world.fields(1, 'v1'))?.[2]).toBe('server');
    expect(await lookups(world)).toBe(0);
  });

  it('[ERR-11] splits a transaction whose first record waits for a later one that stays', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const put = { kind: 'upsert', table: 1, id: 'v1', fields: { 2: 'server' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [put] });
    const note = { table: 2, record: 'n1', kind: 'create', set: set({ 1: [null, 'v1'] }) } as const;
    const create = { ...visit, kind: 'create', set: set({ 2: [null, 'mine'] }) } as const;
    await world.give(a.send(note, create));
    const [root, rest] = [a.op(1), a.op(2)];
    expect(await resolveCentrally({ world, root }, 'split')).toBe('done');
    expect(await errorOf({ world, root })).toMatchObject({ disposition: 'split' });
    expect(await errorOf({ world, root: rest })).toMatchObject({
      state: 'open',
      ranges: [
        { epoch: 1, from: 2, to: 2 },
        { epoch: 1, from: 1, to: 1 },
      ],
    });
    expect(await resolveCentrally({ world, root: rest }, 'split')).toBe('still-parked');
  });

  it('[ERR-12] takes the server side for the root of a create and the children listed', async () => {
    const world = await FoldWorld.open({
      validate: ({ operations }) =>
        operations.some(({ table }) => table === 'visits') ? 'closed' : undefined,
    });
    const a = await world.enrol('a', 'user-1');
    const root = a.op(1);
    await world.give(
      a.send({ ...visit, kind: 'create', set: set({ 1: [null, 'north'] }) }),
      a.send({ table: 2, record: 'n1', kind: 'create', set: set({ 1: [null, 'v1'] }) }),
    );
    expect(await resolveCentrally({ world, root }, 'take-server')).toBe('done');
    expect(await world.fields(1, 'v1')).toBeUndefined();
    expect(await world.fields(2, 'n1')).toBeUndefined();
    expect(await errorOf({ world, root })).toMatchObject({ disposition: 'superseded' });
    expect(await lookups(world)).toBe(0);
  });

  it('[ERR-13] makes a dependent that conflicts on its own its own root', async () => {
    const parked = await parkConflict();
    const { world, a } = parked;
    await world.give(
      a.send({ table: 1, record: 'v2', kind: 'create', set: set({ 2: [null, 'b'] }) }),
    );
    const other = await world.base(1, 'v2');
    const both = await world.base(1, 'v1');
    const patch = { kind: 'patch', table: 1, id: 'v2', fields: { 2: 'server2' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    const index = a.write(
      { ...visit, kind: 'update', base: both, prev: 2, set: set({ 6: [null, 'six'] }) },
      { table: 1, record: 'v2', kind: 'update', base: other, set: set({ 2: ['b', 'mine2'] }) },
    );
    await world.give(a.envelope(index));
    expect(await world.syncErrors()).toHaveLength(1);
    const shown = await shownNow(world);
    const choices = [{ ...visit, field: 2, pick: 'mine' }] as const;
    expect(await resolveCentrally(parked, 'merge', { shown, choices })).toBe('done');
    expect(await errorOf({ world, root: a.op(index) })).toMatchObject({
      state: 'open',
      kind: 'conflict',
      record: 'v2',
    });
    expect((await world.fields(1, 'v1'))?.[6]).toBeUndefined();
  });
});
