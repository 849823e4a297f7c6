import { beforeAll, describe, expect, test } from 'vitest';
import { checkArrivalOrder } from '../convergence/arrival-order.js';
import type { HistoryShape } from '../convergence/history.js';
import { crdt } from '../convergence/memory-parts.js';
import { runHistory } from '../convergence/run-history.js';

// The deep suite runs 20,000 of each; here as many as keep `npm test` short.
const historiesPlain = 25;
const historiesResolved = 25;
const ordersOfArrival = 50;
const firstSeed = 1;

const plain: HistoryShape = { devices: 3, steps: 40, resolutions: false, foreign: true };
const resolved: HistoryShape = { devices: 3, steps: 40, resolutions: true, foreign: true };

/** Runs histories from neighbouring seeds; a broken one throws with the line that repeats it. */
const runMany = async (count: number, from: number, shape: HistoryShape): Promise<void> => {
  const startedMs = performance.now();
  let operations = 0;
  let syncErrors = 0;
  for (let seed = from; seed < from + count; seed += 1) {
    const result = await runHistory(seed, { ...shape, devices: 1 + (seed % 4) });
    operations += result.operations;
    syncErrors += result.syncErrors;
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  process.stdout.write(
    `${count} histories (20,000 in deep), ${operations} operations, ${syncErrors} sync errors, ` +
      `${(count / seconds).toFixed(1)} histories/s\n`,
  );
  expect(operations).toBeGreaterThan(count);
  expect(syncErrors).toBeGreaterThan(0);
};

describe('convergence of devices and server', () => {
  beforeAll(async () => {
    await crdt();
  });

  test('[MRG-1] the same seed gives the same trace and digest', async () => {
    const runs = [await runHistory(11, resolved), await runHistory(11, resolved)];
    expect(runs[1]).toEqual(runs[0]);
  });

  test('[MRG-1, MRG-19, MRG-40, MRG-41] devices agree with the server, and both with the oracle', async () => {
    await runMany(historiesPlain, firstSeed, plain);
  });

  test('[ERR-6, ERR-9] so they do while people resolve on devices and centrally', async () => {
    await runMany(historiesResolved, firstSeed, resolved);
  });

  test('[MRG-42] single edits on one base do not depend on the order of arrival', async () => {
    for (let seed = firstSeed; seed < firstSeed + ordersOfArrival; seed += 1)
      await checkArrivalOrder(seed);
  });

  const seedWanted = process.env['TIDEMARK_SEED'];
  const shapeWanted = process.env['TIDEMARK_SHAPE'];
  test('[MRG-1] one seed: the history that TIDEMARK_SEED and TIDEMARK_SHAPE name', async () => {
    const shape = shapeWanted === undefined ? resolved : (JSON.parse(shapeWanted) as HistoryShape);
    const seed = shapeWanted === undefined ? firstSeed : Number(seedWanted);
    expect((await runHistory(seed, shape)).trace.length).toBeGreaterThan(0);
  });
});
