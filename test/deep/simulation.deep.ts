import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { sometimes } from '../simulation/sometimes.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 5);
const seedsWanted = 2_000;
const faultsPerSeedMin = 20;
const plantsWanted = 20;
/** Seeds within which a planted fault is found, from where it is known to be. */
const plantedSeedsMax = 200;
/** Shares of the time: the seeds, then with the planted faults; what is left is for starting and ending. */
const seedsShare = 0.55;
const withPlantsShare = 0.9;
/** Planted faults get at least so much time: a shorter run begins with few of them, and finds one. */
const plantsMinutesMin = 0.5;
/** Each commit has seeds of its own; the stride keeps those of two commits apart. */
const seedStride = 100_000;
const firstSeeds = 40_000;
/** Violations that are printed beside the counts, and characters of each. */
const brokenShown = 5;
const brokenTextMax = 300;
/** Processes that share the seeds: each is one thread. */
const jobs = Math.min(4, availableParallelism());
const begunMs = performance.now();
const program = fileURLToPath(new URL('../run/sim.mjs', import.meta.url));

interface SimResult {
  readonly seeds: number;
  readonly violations: number;
  readonly faults: number;
  readonly simulatedDays: number;
  readonly seedsPerHour: number;
  readonly sometimesMissing: readonly string[];
  readonly plantedFound: readonly string[];
  readonly planted?: number;
  readonly missed?: readonly string[];
  readonly unfinished?: readonly string[];
}

/** Runs the command; its last line is its result. */
const run = (
  args: readonly string[],
): { readonly lines: readonly string[]; readonly result: SimResult } => {
  const { stdout } = spawnSync(
    process.execPath,
    [program, ...args, '--jobs', String(jobs), '--json'],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  const lines = stdout.trimEnd().split('\n');
  return { lines, result: JSON.parse(lines.at(-1) ?? '') as SimResult };
};

const minutesSpent = (): number => (performance.now() - begunMs) / 60_000;

test('[SIM-3] thousands of worlds break no invariant and meet every case', () => {
  const first = (seed % firstSeeds) * seedStride;
  const { lines, result } = run([
    '--seeds',
    String(seedsWanted),
    '--from',
    String(first),
    '--minutes',
    String(minutes * seedsShare),
  ]);
  const { seeds, violations, faults, simulatedDays, seedsPerHour, sometimesMissing } = result;
  console.log(`DEEP simulation seeds ${seeds}/${seedsWanted}`);
  console.log(`DEEP simulation violations ${violations}/0`);
  console.log(`DEEP simulation faults ${faults}/${seeds * faultsPerSeedMin}`);
  console.log(
    `DEEP simulation sometimes ${sometimes.length - sometimesMissing.length}/${sometimes.length}`,
  );
  for (const line of lines.filter((one) => one.includes(' broke: ')).slice(0, brokenShown))
    console.log(`DEEP simulation problem: ${line.slice(0, brokenTextMax)}`);
  console.log(
    `seeds from ${first}: ${simulatedDays} simulated days, ${seedsPerHour} seeds per hour in ${jobs} processes, ` +
      `never seen: ${sometimesMissing.join(', ') || 'nothing'}`,
  );
  expect(violations).toBe(0);
  expect(seeds).toBeGreaterThan(0);
  // A short run cannot meet all: then the count above tells.
  if (seeds >= seedsWanted) expect(sometimesMissing).toEqual([]);
});

test('[SIM-13] planted faults are found', () => {
  const { lines, result } = run([
    '--planted',
    '--seeds',
    String(plantedSeedsMax),
    '--total-minutes',
    // Also what the seeds left of their share.
    String(Math.max(plantsMinutesMin, minutes * withPlantsShare - minutesSpent())),
  ]);
  const { plantedFound, planted = 0, missed = [], unfinished = [] } = result;
  for (const line of lines.slice(0, -1)) console.log(line);
  console.log(`DEEP simulation planted found ${plantedFound.length}/${plantsWanted}`);
  console.log(`planted ${planted}, no time for ${unfinished.length}`);
  expect(missed).toEqual([]);
  expect(plantedFound.length).toBeGreaterThan(0);
});
