import fc from 'fast-check';
import { expect } from 'vitest';

// Run count, seed and shrink path of every property come from the environment, so that a failure
// is reproduced by copying one line. FC_LIMIT_MS ends a property early without failing it; the
// count reached is printed beside its target.
const runsNormal = 100;
const runsDeep = 20_000;

const integer = (name: string): number | undefined => {
  const text = process.env[name];
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (!Number.isInteger(value)) throw new Error(`${name} must be an integer, got ${text}`);
  return value;
};

const deep = process.env['TIDEMARK_DEEP'] === '1';
const runs = integer('FC_RUNS') ?? (deep ? runsDeep : runsNormal);
const seed = integer('FC_SEED');
const limitMs = integer('FC_LIMIT_MS');
const path = process.env['FC_PATH'];

// Vitest reads -t as a regular expression over the titles joined by spaces.
const titlePattern = (): string =>
  (expect.getState().currentTestName ?? '')
    .replaceAll(' > ', ' ')
    .replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
    .replaceAll("'", '.');

const reproduction = (details: fc.RunDetails<unknown>): string =>
  `FC_SEED=${details.seed} FC_RUNS=${runs} FC_PATH=${details.counterexamplePath ?? ''} ` +
  `npx vitest run --config test/vitest.config.ts -t '${titlePattern()}'`;

fc.configureGlobal({
  numRuns: runs,
  ...(seed === undefined ? {} : { seed }),
  ...(path === undefined || path === '' ? {} : { path }),
  ...(limitMs === undefined
    ? {}
    : { interruptAfterTimeLimit: limitMs, markInterruptAsFailure: false }),
  reporter(details: fc.RunDetails<unknown>) {
    if (deep) {
      const target = details.runConfiguration.numRuns ?? runs;
      process.stdout.write(
        `DEEP property ${expect.getState().currentTestName ?? '?'} ${details.numRuns}/${target}\n`,
      );
    }
    if (!details.failed) return;
    const message = fc.defaultReportMessage(details) ?? 'the property failed';
    throw new Error(`${message}\n\nReproduce with:\n${reproduction(details)}\n`, {
      cause: details.errorInstance,
    });
  },
});
