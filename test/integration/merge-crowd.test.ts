import { expect, test } from 'vitest';
import { MergeCrowd } from '../convergence/merge-crowd.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
/** The deep suite decides 100,000. */
const transactionsHere = 1_000;
const perWorld = 250;

test('[MRG-1, MRG-19, MRG-40] what authors write without replicas is decided as the oracle decides it', async () => {
  let transactions = 0;
  const outcomes = new Map<string, number>();
  for (let world = 0; transactions < transactionsHere; world += 1) {
    const crowd = await MergeCrowd.open(seed * 1_000 + world);
    await crowd.run(perWorld);
    await crowd.check();
    transactions += crowd.transactions;
    for (const [name, times] of await crowd.outcomes())
      outcomes.set(name, (outcomes.get(name) ?? 0) + times);
    await crowd.close();
  }
  // A crowd whose edits never meet proves nothing.
  for (const name of ['applied', 'same', 'superseded', 'parked'])
    expect(outcomes.get(name) ?? 0).toBeGreaterThan(transactions / 100);
  expect(transactions).toBeGreaterThanOrEqual(transactionsHere);
});
