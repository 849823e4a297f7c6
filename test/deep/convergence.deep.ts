import { beforeAll, describe, expect, test } from 'vitest';
import { checkArrivalOrder } from '../convergence/arrival-order.js';
import { crdt } from '../convergence/memory-parts.js';
import { runHistory } from '../convergence/run-history.js';

const target = 20_000;
const seedStride = 1_000_000;
const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 1);

/** Runs one seed after the other until the target or the share of the time is reached. */
const runFor = async (
  name: string,
  share: number,
  run: (seed: number) => Promise<unknown>,
): Promise<void> => {
  const endMs = performance.now() + minutes * 60_000 * share;
  const broken: string[] = [];
  let count = 0;
  while (count < target && performance.now() < endMs) {
    const one = (seed % seedStride) * seedStride + count;
    count += 1;
    try {
      await run(one);
    } catch (cause) {
      broken.push(cause instanceof Error ? cause.message : String(cause));
    }
  }
  process.stdout.write(`DEEP ${name} ${count}/${target}\n`);
  expect(count).toBeGreaterThan(0);
  process.stdout.write(`DEEP ${name}: violations ${broken.length}/0\n`);
  for (const one of broken.slice(0, 10)) process.stdout.write(`${one.slice(0, 8_000)}\n`);
  expect(broken.length).toBe(0);
};

describe('convergence, deep', () => {
  beforeAll(async () => {
    await crdt();
  });

  test('[MRG-1, MRG-19, MRG-40, MRG-41] histories', async () => {
    await runFor('convergence histories', 0.4, (one) =>
      runHistory(one, {
        devices: 1 + (one % 4),
        steps: 60,
        resolutions: false,
        foreign: true,
      }),
    );
  });

  test('[ERR-6, ERR-9] histories with resolutions', async () => {
    await runFor('convergence histories with resolutions', 0.4, (one) =>
      runHistory(one, {
        devices: 1 + (one % 4),
        steps: 60,
        resolutions: true,
        foreign: true,
      }),
    );
  });

  test('[MRG-42] orders of arrival', async () => {
    await runFor('convergence orders of arrival', 0.15, checkArrivalOrder);
  });
});
