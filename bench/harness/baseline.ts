import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { BenchResult } from './result.js';

/** A ratio may be this much worse than its baseline before `--check` fails: timings are noisy. */
const slackFactor = 1.5;

/** Ratios of one suite: shares of the floor by case. Times of another machine say nothing, so none are kept. */
type Baseline = Readonly<Record<string, number>>;

const folder = fileURLToPath(new URL('../../baselines/', import.meta.url));

const keyOf = (one: BenchResult): string => `${one.case} ${one.transport} ${one.records}`;

const ratiosOf = (results: readonly BenchResult[]): Baseline => {
  const out: Record<string, number> = {};
  for (const one of results) if (one.shareOfFloor !== null) out[keyOf(one)] = one.shareOfFloor;
  return out;
};

const read = (suite: string): Baseline => {
  const file = `${folder}${suite}.json`;
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Baseline) : {};
};

/** Writes the ratios of a suite beside those that it already had. */
export const saveBaseline = (suite: string, results: readonly BenchResult[]): void => {
  mkdirSync(folder, { recursive: true });
  const all = { ...read(suite), ...ratiosOf(results) };
  const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(`${folder}${suite}.json`, `${JSON.stringify(sorted, null, 2)}\n`);
};

/** Says what is worse than the baseline, or has none; empty when all is well. */
export const compareWithBaseline = (
  suite: string,
  results: readonly BenchResult[],
): readonly string[] => {
  const known = read(suite);
  const said: string[] = [];
  for (const [key, share] of Object.entries(ratiosOf(results))) {
    const before = known[key];
    if (before === undefined) said.push(`${suite} ${key}: no baseline; write one with --save`);
    else if (share * slackFactor < before)
      said.push(`${suite} ${key}: ${share} of the floor, ${before} in the baseline`);
  }
  for (const one of results) if (!one.verified) said.push(`${suite} ${keyOf(one)}: wrong results`);
  return said;
};
