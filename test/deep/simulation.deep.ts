import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 5);
const seedsWanted = 2_000;
const seedsPerHourWanted = 20_000;
const plantedSeedsMax = 200;
const sometimesWanted = 60;
/** Shares of the time: the seeds, then the planted faults. */
const seedsShare = 0.5;
const seedStride = 100_000;
const program = fileURLToPath(new URL('../run/sim.mjs', import.meta.url));

/** Runs the command; its last line is its result. */
const run = (args: readonly string[]): { readonly output: string; readonly last: string } => {
  const { stdout } = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
  });
  return { output: stdout, last: stdout.trimEnd().split('\n').pop() ?? '' };
};

test('[SIM-3, SIM-12] thousands of worlds break no invariant and meet every case', () => {
  const { output, last } = run([
    '--seeds',
    String(seedsWanted),
    '--from',
    String((seed % seedStride) * seedStride),
    '--minutes',
    String(minutes * seedsShare),
    '--json',
  ]);
  const result = JSON.parse(last) as {
    readonly seeds: number;
    readonly violations: number;
    readonly faults: number;
    readonly simulatedDays: number;
    readonly seedsPerHour: number;
    readonly sometimesMissing: readonly string[];
  };
  console.log(`DEEP simulation seeds ${result.seeds}/${seedsWanted}`);
  console.log(`DEEP simulation violations ${result.violations}/0`);
  console.log(`DEEP simulation seeds per hour ${result.seedsPerHour}/${seedsPerHourWanted}`);
  console.log(`DEEP simulation faults ${result.faults}/${result.seeds * 20}`);
  console.log(`DEEP simulation days ${result.simulatedDays}/${result.seeds}`);
  console.log(`DEEP simulation cases never met ${result.sometimesMissing.length}/0`);
  for (const line of output.split('\n').filter((one) => one.includes(' broke: ')))
    console.log(line);
  expect(result.seeds).toBeGreaterThan(0);
  expect(result.violations).toBe(0);
  // A short run cannot meet all: then the count above tells.
  if (result.seeds >= seedsWanted) expect(result.sometimesMissing).toEqual([]);
  else expect(result.sometimesMissing.length).toBeLessThan(sometimesWanted);
});

test('[SIM-13] planted faults are found', () => {
  const { output, last } = run([
    '--planted',
    '--seeds',
    String(plantedSeedsMax),
    '--total-minutes',
    String(minutes * (1 - seedsShare) * 0.9),
  ]);
  const result = JSON.parse(last) as {
    readonly planted: number;
    readonly plantedFound: number;
    readonly missed: readonly string[];
  };
  for (const line of output.split('\n')) console.log(line);
  console.log(`DEEP simulation planted faults found ${result.plantedFound}/${result.planted}`);
  expect(result.plantedFound).toBeGreaterThan(0);
  expect(result.missed).toEqual([]);
});
