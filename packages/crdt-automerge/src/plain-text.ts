import type { ChangeChunk } from './change-chunk.js';
import { CharacterDraft, type Characters } from './character-runs.js';
import type { KnownChanges } from './known-changes.js';
import { readPlainChange, type OpRef } from './plain-change.js';

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

/**
 * Applies a change that the text lacks and whose dependencies it has, numbered right after them. Undefined
 * when it is not plain, or names what is not there: Automerge has to judge it then.
 */
export const withPlainChange = (text: PlainText, chunk: ChangeChunk): PlainText | undefined => {
  const { actor, seq, startOp, operations, hash, deps } = chunk;
  const author = text.authors.get(actor);
  // An operation is named by author and number: neither of the two may come twice.
  if (seq !== (author?.seq ?? 0) + 1 || startOp <= (author?.maxOp ?? 0)) return undefined;
  if (deps.length === 0) return undefined;
  const steps = readPlainChange(chunk, text.object);
  if (steps === undefined) return undefined;
  const draft = new CharacterDraft(text.characters);
  for (const step of steps) if (!draft.step(step, actor)) return undefined;
  const maxOp = startOp + operations - 1;
  const authors = new Map(text.authors).set(actor, { seq, maxOp });
  const heads = [...text.heads.filter((head) => !deps.includes(head)), hash].sort();
  const changes = text.changes.with(hash, maxOp);
  return { object: text.object, characters: draft.characters, changes, authors, heads };
};
