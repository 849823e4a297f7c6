import { beforeAll, describe, expect, test } from 'vitest';
import { crdt } from '../convergence/memory-parts.js';
import { crdtTargets } from '../fuzz/crdt-targets.js';
import { keptNames, keptTargets } from '../fuzz/kept-targets.js';
import { fuzz } from '../fuzz/run-fuzz.js';
import { storeTargets } from '../fuzz/store-targets.js';
import type { FuzzTarget } from '../fuzz/target.js';
import { wireTargets } from '../fuzz/wire-targets.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
/** The deep suite reads many more; here as many as keep `npm test` short. */
const mutantsHere = 300;
const crdtNames = ['crdt-changes', 'crdt-document'];

const expectSafe = async (target: FuzzTarget): Promise<void> => {
  const { count, outcomes, faults } = await fuzz(target, { seed, count: mutantsHere });
  expect(faults.join('\n\n')).toBe('');
  expect(count).toBe(mutantsHere);
  // A mutator that every decoder sees through at once proves nothing, nor does one that none notices.
  expect([...outcomes.keys()].some((one) => one !== 'taken')).toBe(true);
};

const named = (targets: readonly FuzzTarget[], name: string): FuzzTarget => {
  const target = targets.find((one) => one.name === name);
  if (target === undefined) throw new Error(`there is no target ${name}`);
  return target;
};

describe('bytes that others send', () => {
  test.each([...wireTargets])('[SYN-99] $name', (target) => expectSafe(target));
});

describe('bytes that a damaged store holds', () => {
  test.each([...storeTargets])('[SRV-94] $name', (target) => expectSafe(target));

  let kept: readonly FuzzTarget[];
  beforeAll(async () => {
    kept = await keptTargets();
  });
  test.each(keptNames)('[SRV-94] %s', (name) => expectSafe(named(kept, name)));
});

describe('CRDT bytes', () => {
  let targets: readonly FuzzTarget[];
  beforeAll(async () => {
    targets = crdtTargets(await crdt());
  });
  test.each(crdtNames)('[SYN-99] %s', (name) => expectSafe(named(targets, name)));
});
