import type { Replica } from '@tidemark/client';
import { beforeAll, describe, expect, test } from 'vitest';
import { crdt } from '../convergence/memory-parts.js';
import { SimContext } from '../simulation/context.js';
import type { DeviceActor } from '../simulation/device-actor.js';
import { checkOwnEdits } from '../simulation/own-edit-checks.js';
import { drawPlan } from '../simulation/plan.js';
import { SimWorld } from '../simulation/sim-world.js';
import { withMethods } from '../simulation/with-methods.js';

const table = 'full_row';
const fields = { a: 'old' };
const waitMs = 60_000;

/** Looks at r1 and then at r2, both made by the device; what a person does meanwhile ends before r1 is read. */
const foundWith = async (
  meanwhile: (replica: Replica, device: DeviceActor) => Promise<void>,
): Promise<string | undefined> => {
  const devices = [{ scope: { tables: 'all' as const }, clockErrorMs: 0 }];
  const world = new SimWorld({ ...drawPlan(1), mode: 'embedded', servers: 1, devices, events: [] });
  const { scheduler } = world.context;
  const device = world.devices[0] as DeviceActor;
  device.start();
  await scheduler.runUntil(SimContext.startMs + waitMs, () => device.isOpen);
  const replica = device.replica as Replica;
  for (const [at, id] of ['r1', 'r2'].entries()) {
    await scheduler.run('a create', waitMs, replica.create(table, fields, { id }));
    device.own.note(at + 1, [{ table, record: id, fields, isWhole: true }]);
  }
  const get: Replica['get'] = async (name, id) => {
    if (id === 'r1') await meanwhile(replica, device);
    return replica.get(name, id);
  };
  device.replica = withMethods(replica, { get });
  await scheduler.run('a look', waitMs, checkOwnEdits(world, device));
  return world.context.violation?.message;
};

describe('checks of own edits', () => {
  beforeAll(async () => {
    await crdt();
  });

  test('[SIM-17] a record that its author deletes during a look need not show what it held before', async () => {
    const found = await foundWith(async (replica, { own }) => {
      await replica.delete(table, 'r2');
      own.note(3, [{ table, record: 'r2', fields: null, isWhole: true }]);
    });
    expect(found).toBeUndefined();
  });

  test('[SIM-17] what is not known any more is not looked for by a look that began before', async () => {
    const found = await foundWith(async (replica, { own }) => {
      await replica.update(table, 'r2', { a: 'new' });
      own.forget();
    });
    expect(found).toBeUndefined();
  });

  test('[SIM-17] a look finds what an edit made during it does not show', async () => {
    const found = await foundWith((_replica, { own }) => {
      own.note(3, [{ table, record: 'r2', fields: { a: 'new' }, isWhole: true }]);
      return Promise.resolve();
    });
    expect(found).toMatch(/^I11: device-A does not show its own edit 3 of full_row\/r2 a: "old"/);
  });
});
