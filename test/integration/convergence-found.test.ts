import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkOracle } from '../convergence/checks.js';
import { crdt } from '../convergence/memory-parts.js';
import { readSyncErrors } from '../convergence/ledger.js';
import { SeededRandom } from '../convergence/seeded-random.js';
import { customizationOf } from '../convergence/tables.js';
import { World, type Device } from '../convergence/world.js';

// What random histories broke, cut down to the steps that matter. Each stays as a test of its own, since
// the seed that found it means another history as soon as the generator changes.
describe('found by random histories', () => {
  let world: World;
  const addDevice = (name: string): Promise<Device> =>
    world.addDevice({
      name,
      scope: { tables: 'all' },
      clockOffsetMs: 0,
      customization: customizationOf(1),
    });

  beforeEach(async () => {
    await crdt();
    world = new World(new SeededRandom(1));
    await world.openServer({});
    await world.time.run(world.merger.publish(customizationOf(1), 'admin'));
  });
  afterEach(() => world.close());

  test('[REP-26] a text typed into a record that was made again does not clash with the text before', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    const { replica } = a;
    await b.replica.create('server_wins', { a: 'x' }, { id: 'r' });
    await world.sync(b);
    await replica.create('server_wins', { b: 'y' }, { id: 'r' });
    await replica.editText('server_wins', 'r', 'note', 'first');
    await replica.delete('server_wins', 'r');
    await replica.create('server_wins', { b: 'z' }, { id: 'r' });
    await replica.editText('server_wins', 'r', 'note', 'second');
    await world.sync(a);
    expect([...(await readSyncErrors(world.store)).values()]).toEqual([]);
    const note = String((await replica.get('server_wins', 'r'))?.['note']);
    expect(note).toContain('first');
    expect(note).toContain('second');
  });

  test('[MRG-7] edits that follow a create on a record of others are edits of that record', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    const { replica } = a;
    await replica.create('latest', { a: 'x' }, { id: 'r' });
    await world.sync(a);
    await world.sync(b);
    await b.replica.delete('latest', 'r');
    await b.replica.create('latest', { a: 'y' }, { id: 'r' });
    await world.sync(b);
    await replica.delete('latest', 'r');
    await replica.create('latest', { b: 'z' }, { id: 'r' });
    await replica.update('latest', 'r', { c: 'w' });
    await world.sync(a);
    expect(await replica.get('latest', 'r')).toMatchObject({ a: 'y', b: 'z', c: 'w' });
  });

  test('[MRG-7] edits that follow such a create do not follow the record into another life', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    await a.replica.create('latest', { a: 'x' }, { id: 'other' });
    await world.sync(b);
    await a.replica.create('latest', { a: 'x' }, { id: 'r' });
    await world.sync(a);
    await b.replica.create('latest', { b: 'z' }, { id: 'r' });
    // The create is published, and nothing comes back.
    b.transport.plan({ calls: 1, moment: 'after', isLasting: true });
    await world.sync(b);
    expect((await world.rows(4)).get('r')?.fields).toEqual({ 1: 'x', 2: 'z' });
    b.transport.local.setOnline(true);
    await b.replica.update('latest', 'r', { c: 'w' });
    await world.sync(a);
    await a.replica.delete('latest', 'r');
    await world.sync(a);
    await a.replica.create('latest', { a: 'y' }, { id: 'r' });
    await world.sync(a);
    await world.sync(b);
    expect(await b.replica.get('latest', 'r')).toEqual({
      id: 'r',
      a: 'y',
      b: null,
      c: null,
      count: null,
      note: null,
    });
  });

  test('[MRG-7] edits of a record that the author made do not go on in another record of that id', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    await world.sync(a);
    await world.sync(b);
    await b.replica.create('server_wins', { a: 'x' }, { id: 'r' });
    // The create is published, and nothing comes back.
    b.transport.plan({ calls: 1, moment: 'after', isLasting: true });
    await world.sync(b);
    b.transport.local.setOnline(true);
    await b.replica.increment('server_wins', 'r', 'count', 5);
    await world.sync(a);
    await a.replica.delete('server_wins', 'r');
    await world.sync(a);
    await a.replica.create('server_wins', { a: 'y' }, { id: 'r' });
    await world.sync(a);
    await world.sync(b);
    expect((await world.rows(1)).get('r')?.fields).toEqual({ 1: 'y' });
    const errors = [...(await readSyncErrors(world.store)).values()];
    expect(errors.map(({ root, kind }) => [root, kind])).toEqual([['device-B/1/2', 'gone']]);
  });

  test('[MRG-8] a field that was empty before the first of several parked edits applies when it still is', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    await a.replica.create('server_wins', { a: 'x' }, { id: 'r' });
    await world.sync(a);
    await world.sync(b);
    await a.replica.update('server_wins', 'r', { c: 'y' });
    await world.sync(a);
    // Field c is manual and parks both edits; nobody else touched b. They follow on another edit.
    await b.replica.increment('server_wins', 'r', 'count', 1);
    await b.replica.update('server_wins', 'r', { b: 'v', c: 'z' });
    await b.replica.update('server_wins', 'r', { b: 'w' });
    await world.sync(b);
    const [error] = await b.replica.errors.list();
    const target = { table: 'server_wins', record: 'r', field: 'c' };
    const choices = [{ ...target, pick: 'theirs' as const }];
    await b.replica.errors.resolve(error?.id ?? '', { action: 'merge', choices });
    await world.sync(b);
    expect(await b.replica.get('server_wins', 'r')).toMatchObject({ a: 'x', b: 'w', c: 'y' });
  });

  test('[MRG-6] a delete that waited behind an edit goes through when that edit is applied', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    await a.replica.create('server_wins', { a: 'x' }, { id: 'r' });
    await a.replica.create('server_wins', { a: 'x' }, { id: 's' });
    await world.sync(a);
    await world.sync(b);
    await a.replica.update('server_wins', 's', { c: 'y' });
    await world.sync(a);
    await b.replica.increment('server_wins', 'r', 'count', 1);
    // Field c of the other record parks all; nobody else touched this one.
    await b.replica.transaction(async (edits) => {
      await edits.update('server_wins', 'r', { b: 'v' });
      await edits.update('server_wins', 's', { c: 'z' });
    });
    await b.replica.delete('server_wins', 'r');
    await world.sync(b);
    const [error] = await b.replica.errors.list();
    const target = { table: 'server_wins', record: 's', field: 'c' };
    const choices = [{ ...target, pick: 'theirs' as const }];
    await b.replica.errors.resolve(error?.id ?? '', { action: 'merge', choices });
    await world.sync(b);
    expect([...(await world.rows(1)).keys()]).toEqual(['s']);
  });

  test('[MRG-6] a delete of the version that its author saw goes through after a give-up', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    await a.replica.create('server_wins', { a: 'x' }, { id: 'r' });
    await a.replica.create('server_wins', { a: 'x' }, { id: 's' });
    await world.sync(a);
    await world.sync(b);
    await a.replica.update('server_wins', 's', { c: 'y' });
    await world.sync(a);
    await b.replica.transaction(async (edits) => {
      await edits.update('server_wins', 'r', { b: 'v' });
      await edits.update('server_wins', 's', { c: 'z' });
    });
    await world.sync(b);
    const [error] = await b.replica.errors.list();
    const root = error?.id ?? '';
    await world.time.run(world.merger.resolve(root, { action: 'take-server', user: 'admin' }));
    await b.replica.delete('server_wins', 'r');
    await world.sync(b);
    expect([...(await world.rows(1)).keys()]).toEqual(['s']);
  });

  test('[MRG-7] of several such edits none goes on in another record', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    await world.sync(a);
    await world.sync(b);
    await b.replica.create('device_wins', { a: 'x' }, { id: 'r' });
    b.transport.plan({ calls: 1, moment: 'after', isLasting: true });
    await world.sync(b);
    b.transport.local.setOnline(true);
    await b.replica.update('device_wins', 'r', { b: 'v' });
    await b.replica.update('device_wins', 'r', { b: 'w' });
    await world.sync(a);
    await a.replica.delete('device_wins', 'r');
    await world.sync(a);
    await a.replica.create('device_wins', { a: 'y' }, { id: 'r' });
    await world.sync(a);
    await world.sync(b);
    expect((await world.rows(2)).get('r')?.fields).toEqual({ 1: 'y' });
  });

  test('[MRG-4, ERR-11] a split decides its records although a later create of the one they refer to waits', async () => {
    const [a, b] = [await addDevice('device-A'), await addDevice('device-B')];
    await a.replica.create('manual', { a: 'x' }, { id: 'parent' });
    await a.replica.create('children', { a: 'x' }, { id: 'other' });
    await world.sync(a);
    await world.sync(b);
    await b.replica.increment('manual', 'parent', 'count', 1);
    await b.replica.increment('children', 'other', 'count', 1);
    await world.sync(b);
    // Both deletes meet the edits of the other device, and park; what makes the parent again waits with the first.
    await a.replica.delete('manual', 'parent');
    await a.replica.transaction(async (edits) => {
      await edits.create('children', { a: 'y', parent: 'parent' }, 'child');
      await edits.delete('children', 'other');
    });
    await a.replica.create('manual', { a: 'z' }, { id: 'parent' });
    await world.sync(a);
    const open = async (): Promise<readonly unknown[]> =>
      [...(await readSyncErrors(world.store)).values()]
        .filter(({ state }) => state === 'open')
        .map(({ root, ranges }) => [root, ranges.map(({ from, to }) => [from, to])]);
    expect(await open()).toEqual([
      [
        'device-A/1/3',
        [
          [3, 3],
          [6, 6],
        ],
      ],
      ['device-A/1/4', [[4, 5]]],
    ]);
    const split = { action: 'split', choices: [], user: 'admin' } as const;
    const resolved = await world.time.run(world.merger.resolve('device-A/1/4', split));
    expect(resolved.verdict).toBe('done');
    expect((await world.rows(6)).get('child')?.fields).toEqual({ 1: 'y', 6: 'parent' });
    expect(await open()).toEqual([
      [
        'device-A/1/3',
        [
          [3, 3],
          [6, 6],
        ],
      ],
      ['device-A/1/5', [[5, 5]]],
    ]);
    const promised = new Map([
      ['device-A', 6],
      ['device-B', 2],
    ]);
    const facts = { typed: new Map(), promised };
    await checkOracle({ world, facts });
  });
});
