/**
 * Ascending list of operation indexes as pairs [first, length]: long runs of edits on one record stay
 * small.
 */
export type OpRuns = readonly (readonly [first: number, length: number])[];

/** No operations. */
export const noRuns: OpRuns = [];

/** Appends an index greater than all others. */
export const appendRun = (runs: OpRuns, index: number): OpRuns => {
  const last = runs.at(-1);
  return last !== undefined && last[0] + last[1] === index
    ? [...runs.slice(0, -1), [last[0], last[1] + 1]]
    : [...runs, [index, 1]];
};

/** First index; 0 when there is none. */
export const firstOfRuns = (runs: OpRuns): number => runs[0]?.[0] ?? 0;

/** Last index; 0 when there is none. */
export const lastOfRuns = (runs: OpRuns): number => {
  const last = runs.at(-1);
  return last === undefined ? 0 : last[0] + last[1] - 1;
};

/** Yields the indexes in order. */
export function* indexesOf(runs: OpRuns): Generator<number> {
  for (const [first, length] of runs) for (let i = 0; i < length; i += 1) yield first + i;
}

/** Builds runs from indexes in any order; repeated ones count once. */
export const runsOf = (indexes: Iterable<number>): OpRuns => {
  const sorted = [...new Set(indexes)].sort((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const index of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] + last[1] === index) last[1] += 1;
    else runs.push([index, 1]);
  }
  return runs;
};
