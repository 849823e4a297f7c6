import type { ChangeChunk } from './change-chunk.js';
import { CharacterDraft, type Characters } from './character-draft.js';
import type { KnownChanges } from './known-changes.js';
import { readPlainChange, type OpRef, type TextStep } from './plain-change.js';

/** Last change of an actor. */
export interface AuthorEnd {
  readonly seq: number;
  readonly maxOp: number;
}

/** PlainText is a text document as far as plain changes need it: they are applied without Automerge. */
export interface PlainText {
  /** The text object. */
  readonly object: OpRef;
  readonly characters: Characters;
  readonly changes: KnownChanges;
  readonly authors: ReadonlyMap<string, AuthorEnd>;
  /** Sorted heads. */
  readonly heads: readonly string[];
}

/** What a document costs so far, as its bytes tell. */
export interface PlainCost {
  /** Operations of the document. */
  readonly operations: number;
  /** Work of the plain changes behind the saved part. */
  readonly work: number;
}

// Each character of a deletion may stand in a run of its own, wherever in the text.
const touches = (steps: readonly TextStep[]): number => {
  let sum = 0;
  for (const step of steps) sum += step.kind === 'insert' ? 1 : step.count;
  return sum;
};

/**
 * PlainDraft puts plain changes onto a text, within a bound of work. The bound counts what the bytes tell,
 * the characters that steps look for times the operations of the document, and not the runs in memory: a
 * document that was opened from its bytes has others than one that was edited.
 */
export class PlainDraft {
  readonly #base: PlainText;
  readonly #draft: CharacterDraft;
  readonly #workMax: number;
  readonly #authors: Map<string, AuthorEnd>;
  readonly #added: { readonly hash: string; readonly maxOp: number }[] = [];
  #heads: readonly string[];
  #operations: number;
  #work: number;

  constructor(base: PlainText, { operations, work }: PlainCost, workMax: number) {
    this.#base = base;
    this.#draft = new CharacterDraft(base.characters);
    this.#workMax = workMax;
    this.#authors = new Map(base.authors);
    this.#heads = base.heads;
    this.#operations = operations;
    this.#work = work;
  }

  get cost(): PlainCost {
    return { operations: this.#operations, work: this.#work };
  }

  /** Blocks and runs that were looked at so far. */
  get visited(): number {
    return this.#draft.visited;
  }

  /**
   * Applies a change that the text lacks and whose dependencies it has, numbered right after them. Tells
   * `judge` when it is not plain, or names what is not there: Automerge has to judge it then; and `costly`
   * when it would go beyond the bound. After either the draft is of no use.
   */
  add(chunk: ChangeChunk): 'added' | 'judge' | 'costly' {
    const { actor, seq, startOp, operations, hash, deps } = chunk;
    const author = this.#authors.get(actor);
    // An operation is named by author and number: neither of the two may come twice.
    if (seq !== (author?.seq ?? 0) + 1 || startOp <= (author?.maxOp ?? 0)) return 'judge';
    if (deps.length === 0) return 'judge';
    const steps = readPlainChange(chunk, this.#base.object);
    if (steps === undefined) return 'judge';
    this.#operations += operations;
    this.#work += touches(steps) * this.#operations;
    if (this.#work > this.#workMax) return 'costly';
    this.#draft.beginChange();
    for (const step of steps) if (!this.#draft.step(step, actor)) return 'judge';
    const maxOp = startOp + operations - 1;
    this.#authors.set(actor, { seq, maxOp });
    this.#heads = [...this.#heads.filter((head) => !deps.includes(head)), hash].sort();
    this.#added.push({ hash, maxOp });
    return 'added';
  }

  /** The text with the changes. The draft is at its end. */
  finish(): PlainText {
    let { changes } = this.#base;
    for (const { hash, maxOp } of this.#added) changes = changes.with(hash, maxOp);
    return {
      object: this.#base.object,
      characters: this.#draft.finish(),
      changes,
      authors: this.#authors,
      heads: this.#heads,
    };
  }
}
