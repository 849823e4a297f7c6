import type { SimWorld } from './sim-world.js';
import { checkReads } from './deeds.js';

export const checkRest = async (world: SimWorld): Promise<void> => {
  for (const device of world.devices)
    await world.context.scheduler.run('reads', 10_000, checkReads(world, device));
};
export const checkReopened = async (_world: SimWorld): Promise<void> => Promise.resolve();
