import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, platform, totalmem } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchResult } from './result.js';

/** Machine on which results were measured. */
export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memoryGb: number;
  readonly system: string;
  readonly node: string;
  /** Version of the nats-server; null without one. */
  readonly nats: string | null;
  /** Day of the measurement. */
  readonly date: string;
}

/** One file of results. */
export interface ResultsFile {
  readonly machine: Machine;
  readonly results: readonly BenchResult[];
}

/** Folder of the committed results. */
export const resultsFolder = fileURLToPath(new URL('../../results/', import.meta.url));

/** Describes the machine of this process. */
export const thisMachine = (nats: string | undefined): Machine => ({
  cores: cpus().length,
  processor: cpus()[0]?.model ?? 'unknown',
  memoryGb: Math.round(totalmem() / 2 ** 30),
  system: platform(),
  node: process.versions.node,
  nats: nats ?? null,
  date: new Date().toISOString().slice(0, 10),
});

const keyOf = (one: BenchResult): string =>
  `${one.suite}/${one.case}/${one.transport}/${String(one.records).padStart(9, '0')}`;

const readFile = (file: string): ResultsFile =>
  JSON.parse(readFileSync(file, 'utf8')) as ResultsFile;

/** Adds results to a file; those of the same case and size are replaced. */
export const addResults = (
  file: string,
  machine: Machine,
  results: readonly BenchResult[],
): void => {
  const before = existsSync(file) ? readFile(file) : undefined;
  const all = new Map([...(before?.results ?? []), ...results].map((one) => [keyOf(one), one]));
  const sorted = [...all.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  const kept: ResultsFile = { machine, results: sorted };
  writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`);
};

/** Reads every file of results, in the order of their names. */
export const readResults = (folder = resultsFolder): readonly ResultsFile[] =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith('.json'))
        .sort()
        .map((name) => readFile(path.join(folder, name)))
    : [];
