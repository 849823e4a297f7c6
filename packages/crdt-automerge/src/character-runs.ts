/**
 * Run is characters that stand next to each other and were inserted by operations numbered in a row. Deleted
 * characters keep their place, without their text.
 */
export interface Run {
  readonly ctr: number;
  readonly actor: string;
  readonly count: number;
  readonly text: string;
  readonly deleted: boolean;
}

// Code points outside the basic plane take two units, so offsets must be counted.
const unitsOf = (run: Run, characters: number): number => {
  if (run.text.length === run.count) return characters;
  let units = 0;
  for (let i = 0; i < characters; i += 1)
    units += (run.text.codePointAt(units) as number) < 0x10000 ? 1 : 2;
  return units;
};

/** Characters `from` (included) to `to` (not included) of a run, counted from its first. */
export const sliceRun = (run: Run, from: number, to: number): Run => ({
  ctr: run.ctr + from,
  actor: run.actor,
  count: to - from,
  text: run.deleted ? '' : run.text.slice(unitsOf(run, from), unitsOf(run, to)),
  deleted: run.deleted,
});

/** Tells whether two neighbours are one run. */
export const joinsRun = (a: Run, b: Run): boolean =>
  a.actor === b.actor && a.ctr + a.count === b.ctr && a.deleted === b.deleted;

/** One run of two neighbours. */
export const joinRuns = (a: Run, b: Run): Run => ({
  ...a,
  count: a.count + b.count,
  text: a.text + b.text,
});

/** Appends a run to a list, joined to the last one where they are numbered in a row. */
export const pushRun = (runs: Run[], run: Run): void => {
  const last = runs[runs.length - 1];
  if (last !== undefined && joinsRun(last, run)) runs[runs.length - 1] = joinRuns(last, run);
  else runs.push(run);
};
