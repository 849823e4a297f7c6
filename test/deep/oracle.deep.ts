import { expect, test } from 'vitest';
import { MergeCrowd } from '../convergence/merge-crowd.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 4);
const transactionsWanted = 100_000;
const perWorld = 400;
/** Part of the minutes after which no further world is begun. */
const share = 0.95;
/** Worlds of one seed; the stride keeps those of two seeds apart. */
const seedStride = 1_000_000;
const problemsShown = 5;
const problemTextMax = 2_000;

test('[MRG-1, MRG-19, MRG-40] 100,000 transactions are decided as the oracle decides them', async () => {
  const endMs = performance.now() + minutes * 60_000 * share;
  const problems: string[] = [];
  const outcomes = new Map<string, number>();
  let transactions = 0;
  for (let world = 0; transactions < transactionsWanted && performance.now() < endMs; world += 1) {
    const worldSeed = (seed % seedStride) * seedStride + world;
    const crowd = await MergeCrowd.open(worldSeed);
    await crowd.run(perWorld);
    await crowd.check().catch((cause: unknown) => {
      problems.push(`world ${worldSeed}: ${String(cause)}`);
    });
    transactions += crowd.transactions;
    for (const [name, times] of await crowd.outcomes())
      outcomes.set(name, (outcomes.get(name) ?? 0) + times);
    await crowd.close();
  }
  console.log(`DEEP oracle transactions ${transactions}/${transactionsWanted}`);
  console.log(`DEEP oracle problems ${problems.length}/0`);
  console.log([...outcomes].map(([name, times]) => `${name} ${times}`).join(', '));
  for (const one of problems.slice(0, problemsShown)) console.log(one.slice(0, problemTextMax));
  expect(problems.length).toBe(0);
  expect(transactions).toBeGreaterThan(0);
});
