import fc from 'fast-check';

// Run count, seed and shrink path of every property come from the environment, so that a failure
// is reproduced by copying one line.
const runsNormal = 100;
const runsDeep = 2_000;

const integer = (name: string): number | undefined => {
  const text = process.env[name];
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (!Number.isInteger(value)) throw new Error(`${name} must be an integer, got ${text}`);
  return value;
};

const runs =
  integer('FC_RUNS') ?? (process.env['TIDEMARK_DEEP'] === '1' ? runsDeep : runsNormal);
const seed = integer('FC_SEED');
const path = process.env['FC_PATH'];

fc.configureGlobal({
  numRuns: runs,
  ...(seed === undefined ? {} : { seed }),
  ...(path === undefined || path === '' ? {} : { path }),
  reporter(details) {
    if (!details.failed) return;
    const reproduce =
      `FC_SEED=${details.seed} FC_RUNS=${runs} FC_PATH=${details.counterexamplePath ?? ''} ` +
      `npx vitest run --config test/vitest.config.ts <file> -t "<title>"`;
    throw new Error(`${fc.defaultReportMessage(details) ?? 'property failed'}\n\nReproduce:\n${reproduce}\n`, {
      cause: details.errorInstance,
    });
  },
});
