import fc from 'fast-check';

/** Histories for each law of the merge and the rebase in `npm test`; `npm run test:deep` asks for more. */
const lawRunsMin = 500;

/**
 * Parameters of a property that states a law: more runs, and in deep runs its own part of the
 * time that all properties have.
 */
export const lawRuns = (
  part: number,
): {
  readonly numRuns: number;
  readonly interruptAfterTimeLimit?: number;
} => {
  const numRuns = Math.max(lawRunsMin, fc.readConfigureGlobal().numRuns ?? 0);
  const limitMs = Math.round(Number(process.env['FC_SHARE_MS'] ?? 0) * part);
  return limitMs > 0 ? { numRuns, interruptAfterTimeLimit: limitMs } : { numRuns };
};
