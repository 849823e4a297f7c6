import { beforeAll, expect, test } from 'vitest';
import { crdt } from '../convergence/memory-parts.js';
import { crdtTargets } from '../fuzz/crdt-targets.js';
import { fuzz } from '../fuzz/run-fuzz.js';
import { storeTargets } from '../fuzz/store-targets.js';
import type { FuzzTarget } from '../fuzz/target.js';
import { wireTargets } from '../fuzz/wire-targets.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 2);
const mutantsWanted = 10_000;
/** Documents are opened by Automerge itself: each mutant costs a hundred times as much. */
const crdtMutantsWanted = 2_000;
/** Part of the minutes after which no further mutant is begun. */
const share = 0.9;
const startMs = Date.now();
const endsAtMs = startMs + minutes * 60_000 * share;

const read = (target: FuzzTarget, wanted: number, left: number): void => {
  const now = Date.now();
  const { count, outcomes, faults } = fuzz(target, {
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

test.each(plainTargets.map((target, at) => ({ name: target.name, target, at })))(
  '[SYN-99] $name on mutated bytes',
  ({ target, at }) => read(target, mutantsWanted, plainTargets.length + crdtNames.length - at),
);

let ofCrdt: readonly FuzzTarget[];
beforeAll(async () => {
  ofCrdt = crdtTargets(await crdt());
});
test.each(crdtNames)('[SYN-99] %s on mutated bytes', (name) => {
  const target = ofCrdt.find((one) => one.name === name);
  if (target === undefined) throw new Error(`there is no target ${name}`);
  read(target, crdtMutantsWanted, crdtNames.length - crdtNames.indexOf(name));
});
