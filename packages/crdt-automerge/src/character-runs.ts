import type { OpRef, TextStep } from './plain-change.js';

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

/** Characters of a text in their order, deleted ones included, and the text they show. Never changed. */
export interface Characters {
  readonly runs: readonly Run[];
  readonly text: string;
}

// Code points outside the basic plane take two units, so offsets must be counted.
const unitsOf = (run: Run, characters: number): number => {
  if (run.text.length === run.count) return characters;
  let units = 0;
  for (let i = 0; i < characters; i += 1)
    units += (run.text.codePointAt(units) as number) < 0x10000 ? 1 : 2;
  return units;
};

const slice = (run: Run, from: number, to: number): Run => ({
  ctr: run.ctr + from,
  actor: run.actor,
  count: to - from,
  text: run.deleted ? '' : run.text.slice(unitsOf(run, from), unitsOf(run, to)),
  deleted: run.deleted,
});

const joins = (a: Run, b: Run): boolean =>
  a.actor === b.actor && a.ctr + a.count === b.ctr && a.deleted === b.deleted;

const join = (a: Run, b: Run): Run => ({ ...a, count: a.count + b.count, text: a.text + b.text });

/** Appends a run to a list, joined to the last one where they are numbered in a row. */
export const pushRun = (runs: Run[], run: Run): void => {
  const last = runs[runs.length - 1];
  if (last !== undefined && joins(last, run)) runs[runs.length - 1] = join(last, run);
  else runs.push(run);
};

// Later operations come first; the actors, compared as bytes, break ties.
const isLater = (run: Run, ctr: number, actor: string): boolean =>
  run.ctr > ctr || (run.ctr === ctr && run.actor > actor);

/**
 * Draft carries out the steps of one change on characters. It follows Automerge: an inserted character
 * stands behind the one it names, after all later operations that stand there.
 */
export class CharacterDraft {
  readonly #runs: Run[];
  #text: string;
  #hint = 0;
  readonly #deleted = new Map<string, { readonly from: number; readonly to: number }[]>();

  constructor(characters: Characters) {
    this.#runs = [...characters.runs];
    this.#text = characters.text;
  }

  get characters(): Characters {
    return { runs: this.#runs, text: this.#text };
  }

  /** Carries one step out. False: it names a character that is not there, or one it deleted already. */
  step(step: TextStep, actor: string): boolean {
    return step.kind === 'insert'
      ? this.#insert(step.after, step, actor)
      : this.#delete(step.ctr, step.actor, step.count);
  }

  #find(ctr: number, actor: string): number | undefined {
    const runs = this.#runs;
    // Steps of a change mostly lie close behind each other.
    for (let tried = 0, i = this.#hint; tried < runs.length; tried += 1, i += 1) {
      if (i >= runs.length) i = 0;
      const run = runs[i] as Run;
      if (ctr < run.ctr || ctr >= run.ctr + run.count || run.actor !== actor) continue;
      this.#hint = i;
      return i;
    }
    return undefined;
  }

  /** Visible units before a run. */
  #offset(index: number): number {
    let units = 0;
    for (let i = 0; i < index; i += 1) units += (this.#runs[i] as Run).text.length;
    return units;
  }

  #insert(
    after: OpRef | null,
    { ctr, text, count }: Extract<TextStep, { readonly kind: 'insert' }>,
    actor: string,
  ): boolean {
    const runs = this.#runs;
    let at = 0;
    if (after !== null) {
      const found = this.#find(after.ctr, after.actor);
      if (found === undefined) return false;
      const run = runs[found] as Run;
      const kept = after.ctr - run.ctr + 1;
      if (kept < run.count) runs.splice(found, 1, slice(run, 0, kept), slice(run, kept, run.count));
      at = found + 1;
    }
    // What follows in a run is numbered higher still, so a run is passed as a whole.
    for (let run = runs[at]; run !== undefined && isLater(run, ctr, actor); run = runs[at]) at += 1;
    const units = this.#offset(at);
    this.#text = this.#text.slice(0, units) + text + this.#text.slice(units);
    const run: Run = { ctr, actor, count, text, deleted: false };
    const before = at === 0 ? undefined : runs[at - 1];
    if (before !== undefined && joins(before, run)) {
      runs[at - 1] = join(before, run);
      this.#hint = at - 1;
    } else {
      runs.splice(at, 0, run);
      this.#hint = at;
    }
    return true;
  }

  #delete(ctr: number, actor: string, count: number): boolean {
    const ranges = this.#deleted.get(actor) ?? [];
    if (ranges.some(({ from, to }) => ctr < to && from < ctr + count)) return false;
    ranges.push({ from: ctr, to: ctr + count });
    this.#deleted.set(actor, ranges);
    const end = ctr + count;
    for (let from = ctr; from < end;) {
      const found = this.#find(from, actor);
      if (found === undefined) return false;
      const run = this.#runs[found] as Run;
      const to = Math.min(end, run.ctr + run.count);
      if (!run.deleted) this.#cut(found, from - run.ctr, to - run.ctr);
      from = to;
    }
    return true;
  }

  #cut(index: number, from: number, to: number): void {
    const run = this.#runs[index] as Run;
    const removed = slice(run, from, to);
    const units = this.#offset(index) + unitsOf(run, from);
    this.#text = this.#text.slice(0, units) + this.#text.slice(units + removed.text.length);
    const parts: Run[] = [];
    if (from > 0) parts.push(slice(run, 0, from));
    parts.push({ ...removed, text: '', deleted: true });
    if (to < run.count) parts.push(slice(run, to, run.count));
    this.#runs.splice(index, 1, ...parts);
  }
}
