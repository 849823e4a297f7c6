import { joinRuns, joinsRun, sliceRun, type Run } from './character-runs.js';
import type { OpRef, TextStep } from './plain-change.js';
import {
  blockOf,
  copyBlock,
  coverRun,
  mayHold,
  runsPerBlockMax,
  type RunBlock,
} from './run-block.js';

/** Characters of a text in their order, deleted ones included, and the text they show. Never changed. */
export interface Characters {
  readonly blocks: readonly RunBlock[];
  readonly text: string;
}

interface Place {
  readonly block: number;
  readonly run: number;
}

// Each edit of the whole text copies it: after some, it is put together from the runs at the end.
const textEditsMax = 64;

// Later operations come first; the actors, compared as bytes, break ties.
const isLater = (run: Run, ctr: number, actor: string): boolean =>
  run.ctr > ctr || (run.ctr === ctr && run.actor > actor);

/**
 * CharacterDraft carries out the steps of changes on characters. It follows Automerge: an inserted character
 * stands behind the one it names, after all later operations that stand there. It shares every block that no
 * step touches with the characters it began with.
 */
export class CharacterDraft {
  readonly #blocks: RunBlock[];
  readonly #own = new Set<RunBlock>();
  /** Undefined once there were too many edits to carry it along. */
  #text: string | undefined;
  #textEdits = 0;
  #hint: Place = { block: 0, run: 0 };
  readonly #deleted = new Map<string, { readonly from: number; readonly to: number }[]>();
  #visited = 0;

  constructor(characters: Characters) {
    this.#blocks = [...characters.blocks];
    this.#text = characters.text;
  }

  /** Blocks and runs that were looked at so far: what the steps cost. */
  get visited(): number {
    return this.#visited;
  }

  /** Characters as they are now. The draft is at its end. */
  finish(): Characters {
    return { blocks: this.#blocks, text: this.#text ?? this.#shown() };
  }

  /** Begins another change: it must not delete a character twice. */
  beginChange(): void {
    this.#deleted.clear();
  }

  /** Carries one step out. False: it names a character that is not there, or one its change deleted already. */
  step(step: TextStep, actor: string): boolean {
    return step.kind === 'insert'
      ? this.#insert(step.after, step, actor)
      : this.#delete(step.ctr, step.actor, step.count);
  }

  #shown(): string {
    const texts: string[] = [];
    for (const { runs } of this.#blocks) for (const { text } of runs) texts.push(text);
    return texts.join('');
  }

  /** Block to be changed. */
  #edit(index: number): RunBlock {
    const block = this.#blocks[index] as RunBlock;
    if (this.#own.has(block)) return block;
    const copy = copyBlock(block);
    this.#blocks[index] = copy;
    this.#own.add(copy);
    return copy;
  }

  #findIn(block: number, from: number, ctr: number, actor: string): Place | undefined {
    const { runs } = this.#blocks[block] as RunBlock;
    for (let run = from; run < runs.length; run += 1) {
      this.#visited += 1;
      const one = runs[run] as Run;
      if (ctr >= one.ctr && ctr < one.ctr + one.count && one.actor === actor) return { block, run };
    }
    return undefined;
  }

  #find(ctr: number, actor: string): Place | undefined {
    const { length } = this.#blocks;
    // Steps of a change mostly lie close behind each other.
    const { block: first, run } = this.#hint;
    let found = first < length ? this.#findIn(first, run, ctr, actor) : undefined;
    for (let tried = 0, i = first; found === undefined && tried < length; tried += 1, i += 1) {
      if (i >= length) i = 0;
      this.#visited += 1;
      if (mayHold(this.#blocks[i] as RunBlock, ctr, actor)) found = this.#findIn(i, 0, ctr, actor);
    }
    if (found !== undefined) this.#hint = found;
    return found;
  }

  /** Edits the text at `units` units behind the front of a run. */
  #editText({ block, run }: Place, units: number, remove: number, insert: string): void {
    if (this.#text === undefined) return;
    this.#textEdits += 1;
    if (this.#textEdits > textEditsMax) {
      this.#text = undefined;
      return;
    }
    let at = units;
    for (let i = 0; i < block; i += 1) at += (this.#blocks[i] as RunBlock).units;
    const { runs } = this.#blocks[block] as RunBlock;
    for (let i = 0; i < run; i += 1) at += (runs[i] as Run).text.length;
    this.#visited += block + run;
    this.#text = this.#text.slice(0, at) + insert + this.#text.slice(at + remove);
  }

  /** Puts runs in the place of `remove` runs, which show as many units but for `units` more. */
  #splice({ block, run }: Place, remove: number, units: number, parts: readonly Run[]): void {
    const edited = this.#edit(block);
    edited.runs.splice(run, remove, ...parts);
    edited.units += units;
    for (const part of parts) coverRun(edited, part);
    this.#hint = { block, run };
    if (edited.runs.length <= runsPerBlockMax) return;
    const half = edited.runs.length >>> 1;
    const halves = [blockOf(edited.runs.slice(0, half)), blockOf(edited.runs.slice(half))];
    for (const one of halves) this.#own.add(one);
    this.#own.delete(edited);
    this.#blocks.splice(block, 1, ...halves);
    if (run >= half) this.#hint = { block: block + 1, run: run - half };
  }

  #insert(
    after: OpRef | null,
    { ctr, text, count }: Extract<TextStep, { readonly kind: 'insert' }>,
    actor: string,
  ): boolean {
    let at: Place = { block: 0, run: 0 };
    if (after !== null) {
      const found = this.#find(after.ctr, after.actor);
      if (found === undefined) return false;
      const run = this.#runAt(found);
      const kept = after.ctr - run.ctr + 1;
      if (kept < run.count)
        this.#splice(found, 1, 0, [sliceRun(run, 0, kept), sliceRun(run, kept, run.count)]);
      // Splitting a run may have split its block, and has set the hint to its place.
      const { block, run: before } = kept < run.count ? this.#hint : found;
      at = { block, run: before + 1 };
    }
    at = this.#passLater(at, ctr, actor);
    const run: Run = { ctr, actor, count, text, deleted: false };
    if (this.#blocks.length === 0) {
      const block = blockOf([]);
      this.#blocks.push(block);
      this.#own.add(block);
    }
    this.#editText(at, 0, 0, text);
    const before = at.run === 0 ? undefined : this.#runAt({ block: at.block, run: at.run - 1 });
    if (before !== undefined && joinsRun(before, run))
      this.#splice({ block: at.block, run: at.run - 1 }, 1, text.length, [joinRuns(before, run)]);
    else this.#splice(at, 0, text.length, [run]);
    return true;
  }

  #runAt({ block, run }: Place): Run {
    return (this.#blocks[block] as RunBlock).runs[run] as Run;
  }

  // What follows in a run is numbered higher still, so a run is passed as a whole.
  #passLater(from: Place, ctr: number, actor: string): Place {
    let place = from;
    for (let { block, run } = from; block < this.#blocks.length; block += 1, run = 0) {
      const { runs } = this.#blocks[block] as RunBlock;
      for (; run < runs.length; run += 1) {
        this.#visited += 1;
        if (!isLater(runs[run] as Run, ctr, actor)) return place;
        place = { block, run: run + 1 };
      }
    }
    return place;
  }

  #delete(ctr: number, actor: string, count: number): boolean {
    const ranges = this.#deleted.get(actor) ?? [];
    this.#visited += ranges.length;
    if (ranges.some(({ from, to }) => ctr < to && from < ctr + count)) return false;
    ranges.push({ from: ctr, to: ctr + count });
    this.#deleted.set(actor, ranges);
    const end = ctr + count;
    for (let from = ctr; from < end;) {
      const found = this.#find(from, actor);
      if (found === undefined) return false;
      const run = this.#runAt(found);
      const to = Math.min(end, run.ctr + run.count);
      if (!run.deleted) this.#cut(found, from - run.ctr, to - run.ctr);
      from = to;
    }
    return true;
  }

  #cut(place: Place, from: number, to: number): void {
    const run = this.#runAt(place);
    const removed = sliceRun(run, from, to);
    const before = sliceRun(run, 0, from);
    this.#editText(place, before.text.length, removed.text.length, '');
    const parts: Run[] = [];
    if (from > 0) parts.push(before);
    parts.push({ ...removed, text: '', deleted: true });
    if (to < run.count) parts.push(sliceRun(run, to, run.count));
    this.#splice(place, 1, -removed.text.length, parts);
  }
}
