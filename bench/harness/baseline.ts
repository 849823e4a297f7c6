import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchResult } from './result.js';

/** A ratio may be this much worse than its baseline before `--check` fails: timings are noisy. */
const slackFactor = 1.5;

/** Ratios of one suite by case. Times of another machine say nothing, so none are kept. */
type Baseline = Readonly<Record<string, number>>;

const committed = fileURLToPath(new URL('../../baselines/', import.meta.url));

const keyOf = (one: BenchResult): string => `${one.case} ${one.transport} ${one.records}`;

const ratiosOf = (results: readonly BenchResult[]): Baseline => {
  const out: Record<string, number> = {};
  for (const one of results) {
    if (one.shareOfFloor !== null) out[`${keyOf(one)} of the floor`] = one.shareOfFloor;
    if (one.ratio !== null) out[`${keyOf(one)} of ${one.ratio.against}`] = one.ratio.value;
  }
  return out;
};

const read = (suite: string, folder: string): Baseline => {
  const file = path.join(folder, `${suite}.json`);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Baseline) : {};
};

/** Writes the ratios of a suite beside those that it already had. */
export const saveBaseline = (
  suite: string,
  results: readonly BenchResult[],
  folder = committed,
): void => {
  mkdirSync(folder, { recursive: true });
  const all = { ...read(suite, folder), ...ratiosOf(results) };
  const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(path.join(folder, `${suite}.json`), `${JSON.stringify(sorted, null, 2)}\n`);
};

/** Says what is worse than the baseline, or has none; empty when all is well. */
export const compareWithBaseline = (
  suite: string,
  results: readonly BenchResult[],
  folder = committed,
): readonly string[] => {
  const known = read(suite, folder);
  const said: string[] = [];
  for (const [key, share] of Object.entries(ratiosOf(results))) {
    const before = known[key];
    if (before === undefined) said.push(`${suite} ${key}: no baseline; write one with --save`);
    else if (share * slackFactor < before)
      said.push(`${suite} ${key}: ${share}, ${before} in the baseline`);
  }
  for (const one of results) if (!one.verified) said.push(`${suite} ${keyOf(one)}: wrong results`);
  return said;
};
