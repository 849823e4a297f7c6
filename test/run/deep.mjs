// `npm run test:deep [-- --minutes N] [--seed N]`: full counts within a time budget. Each suite
// prints `DEEP <name> <count>/<target>`; the counts are repeated at the end beside their targets.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { conclude, install, root, seconds, vitest } from './steps.mjs';

const minutesMax = 40;
/** Part of the run that properties may take; laws of the merge name what part of that they may. */
const propertyShare = 0.33;
/** A long run is little behind its limits, so that its laws may reach their counts. */
const longRunMinutes = 30;
const longRunFactor = 1.3;
const propertyLimitMs = 20_000;
/** How the rest is shared out; what a suite leaves over goes to those after it. */
const weights = {
  'convergence.deep.ts': 4,
  'imports.deep.ts': 4,
  'kills.deep.ts': 13,
  'fuzz.deep.ts': 3,
  'memory.deep.ts': 3,
  'oracle.deep.ts': 4,
  'servers.deep.ts': 4,
  'simulation.deep.ts': 20,
};
/** Suites whose shortest form takes minutes: shorter runs leave them out, by name. */
const minutesNeeded = { 'rewinds.deep.ts': 20, 'servers.deep.ts': 20 };
// A suite stops by itself when its minutes are over; this much later it is ended, but never after the
// whole run's end.
const graceMs = 120_000;

const option = (name) => {
  const at = process.argv.indexOf(`--${name}`);
  if (at === -1) return undefined;
  const value = Number(process.argv[at + 1]);
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} needs a number`);
  return value;
};

/** Each commit tries another seed, and the same commit the same one. */
const seedOfCommit = () => {
  const { stdout } = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' });
  const seed = Number.parseInt((stdout ?? '').trim().slice(0, 7), 16);
  return Number.isNaN(seed) ? 1 : seed;
};

const minutesAsked = Math.min(option('minutes') ?? minutesMax, minutesMax);
// The grace of the last suite is part of the longest run.
const minutes = Math.min(minutesAsked, minutesMax - graceMs / 60_000);
const seed = option('seed') ?? Number(process.env.TIDEMARK_SEED || seedOfCommit());
console.log(`deep tests: TIDEMARK_SEED=${seed}, ${minutes} minutes`);

const folder = path.join(root, 'test/deep');
const allSuites = existsSync(folder)
  ? readdirSync(folder)
      .filter((name) => name.endsWith('.deep.ts'))
      .sort()
  : [];
const isTooLong = (name) => (minutesNeeded[name] ?? 0) > minutes;
const suites = allSuites.filter((name) => !isTooLong(name));

const env = { TIDEMARK_DEEP: '1', TIDEMARK_SEED: String(seed), FC_SEED: String(seed) };
const leftOut = allSuites
  .filter(isTooLong)
  .map((name) => `${name} (needs --minutes ${minutesNeeded[name]})`);
const total = { passed: 0, failures: [], skipped: leftOut, counts: [] };
const begun = performance.now();
const run = async (title, args, budgetMinutes, more = {}) => {
  const started = performance.now();
  const leftMs = minutes * 60_000 + graceMs - (started - begun);
  console.log(`\n== ${title} (${budgetMinutes.toFixed(1)} minutes)`);
  const result = await vitest(args, {
    env: { ...env, TIDEMARK_MINUTES: budgetMinutes.toFixed(3), ...more },
    limitMs: Math.max(1_000, Math.min(budgetMinutes * 60_000 + graceMs, leftMs)),
  });
  total.passed += result.passed;
  total.failures.push(...result.failures);
  total.skipped.push(...result.skipped);
  total.counts.push(...(result.output.match(/^\s*DEEP .+$/gm) ?? []).map((line) => line.trim()));
  console.log(`== ${title}: ${seconds(performance.now() - started)}`);
};

const { code } = install();
if (code !== 0) {
  conclude({ passed: 0, failures: ['install'], skipped: [] });
} else {
  const shareMs = minutes * 60_000 * propertyShare;
  const limitMs = Math.min(propertyLimitMs, shareMs / 80);
  const lawsMs = minutes < longRunMinutes ? shareMs : shareMs * longRunFactor;
  await run('properties', ['--project', 'property'], minutes * propertyShare, {
    FC_LIMIT_MS: String(Math.round(limitMs)),
    FC_SHARE_MS: String(Math.round(lawsMs)),
  });
  for (const [at, suite] of suites.entries()) {
    // What an earlier suite left over is given to those still to come.
    const left = minutes - (performance.now() - begun) / 60_000;
    const toCome = suites.slice(at).reduce((sum, name) => sum + (weights[name] ?? 1), 0);
    const share = Math.max(0.1, (left * (weights[suite] ?? 1)) / toCome);
    await run(suite, ['--project', 'deep', `test/deep/${suite}`], share);
  }
  console.log(`\ncounts beside their targets (TIDEMARK_SEED=${seed}):`);
  for (const line of total.counts) console.log(line);
  console.log(`total ${seconds(performance.now() - begun)}`);
  conclude(total);
}
