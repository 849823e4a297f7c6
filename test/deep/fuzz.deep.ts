import { beforeAll, expect, test } from 'vitest';
import { crdt } from '../convergence/memory-parts.js';
import { crdtTargets } from '../fuzz/crdt-targets.js';
import { keptNames, keptTargets } from '../fuzz/kept-targets.js';
import { fuzz } from '../fuzz/run-fuzz.js';
import { storeTargets } from '../fuzz/store-targets.js';
import type { FuzzTarget } from '../fuzz/target.js';
import { wireTargets } from '../fuzz/wire-targets.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 2);
const mutantsWanted = 10_000;
/** Documents are opened by Automerge, others by whole stores: each mutant costs a hundred times as much. */
const costlyMutantsWanted = 2_000;
/** Part of the minutes after which no further mutant is begun. */
const share = 0.9;
const startMs = Date.now();
const endsAtMs = startMs + minutes * 60_000 * share;

const read = async (target: FuzzTarget, wanted: number, left: number): Promise<void> => {
  const now = Date.now();
  const { count, outcomes, faults } = await fuzz(target, {
    seed,
    count: wanted,
    endsAtMs: now + Math.max(1_000, (endsAtMs - now) / Math.max(1, left)),
  });
  console.log(`DEEP fuzz ${target.name} ${count}/${wanted}`);
  console.log(
    `${target.name}: ${[...outcomes].map(([name, times]) => `${name} ${times}`).join('; ')}`,
  );
  expect(faults.join('\n\n')).toBe('');
  expect(count).toBeGreaterThan(0);
};

const plainTargets = [...wireTargets, ...storeTargets];
const crdtNames = ['crdt-changes', 'crdt-document'];
const lateNames: readonly string[] = [...keptNames, ...crdtNames];

test.each(plainTargets.map((target, at) => ({ name: target.name, target, at })))(
  '[SYN-99] $name on mutated bytes',
  ({ target, at }) => read(target, mutantsWanted, plainTargets.length + lateNames.length - at),
);

let late: readonly FuzzTarget[];
beforeAll(async () => {
  late = [...(await keptTargets()), ...crdtTargets(await crdt())];
});
const readLate = (name: string): Promise<void> => {
  const target = late.find((one) => one.name === name);
  if (target === undefined) throw new Error(`there is no target ${name}`);
  const isCostly = target.isCostly === true || crdtNames.includes(name);
  const wanted = isCostly ? costlyMutantsWanted : mutantsWanted;
  return read(target, wanted, lateNames.length - lateNames.indexOf(name));
};
test.each(keptNames)('[SRV-94] %s on mutated bytes', readLate);
test.each(crdtNames)('[SYN-99] %s on mutated bytes', readLate);
