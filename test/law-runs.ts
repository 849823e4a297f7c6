import fc from 'fast-check';

/** Histories for each law of the merge in `npm test`; `npm run test:deep` asks for more. */
const lawRunsMin = 1_000;

/** Parameters of a property that states a law of the merge: more runs, and its own limit of time. */
export const lawRuns = (): {
  readonly numRuns: number;
  readonly interruptAfterTimeLimit?: number;
} => {
  const numRuns = Math.max(lawRunsMin, fc.readConfigureGlobal().numRuns ?? 0);
  const limitMs = Number(process.env['FC_LAW_LIMIT_MS'] ?? 0);
  return limitMs > 0 ? { numRuns, interruptAfterTimeLimit: limitMs } : { numRuns };
};
