import { UndecodableError } from './byte-reader.js';
import type { ChangeChunk } from './change-chunk.js';

/** What a document knows of one of its changes. */
export interface KnownChange {
  /** Number of the change's last operation. */
  readonly maxOp: number;
}

/** ChangeOrder is the new changes in an order Automerge can apply, or why there is none. */
export type ChangeOrder =
  | { readonly tag: 'ordered'; readonly changes: readonly ChangeChunk[] }
  | { readonly tag: 'missing-dependencies' }
  | { readonly tag: 'other-genesis' };

/*
 * Automerge numbers the first operation of a change right after the last one its author knew. It
 * does not verify that, and a change that lies is accepted, saved, and cannot be loaded any more.
 */
const verifyStart = (change: ChangeChunk, depsMaxOp: number): void => {
  if (change.startOp !== depsMaxOp + 1) throw new UndecodableError('first operation misnumbered');
};

/**
 * Orders the changes that a document lacks so that each comes after those it depends on. `known`
 * looks a change up in the document; `rooted` says that there is a document, so a second genesis is
 * refused. Throws UndecodableError on a change whose numbering contradicts its dependencies.
 */
export const orderChanges = (
  chunks: readonly ChangeChunk[],
  known: (hash: string) => KnownChange | undefined,
  rooted: boolean,
): ChangeOrder => {
  const fresh = new Map<string, ChangeChunk>();
  for (const chunk of chunks) {
    if (!fresh.has(chunk.hash) && known(chunk.hash) === undefined) fresh.set(chunk.hash, chunk);
  }
  const roots = [...fresh.values()].filter((chunk) => chunk.deps.length === 0);
  if (roots.length > (rooted ? 0 : 1)) return { tag: 'other-genesis' };

  const waiting = new Map<string, number>();
  const followers = new Map<string, ChangeChunk[]>();
  const ready: ChangeChunk[] = [];
  for (const chunk of fresh.values()) {
    let open = 0;
    for (const dep of chunk.deps) {
      if (fresh.has(dep)) {
        open += 1;
        const list = followers.get(dep);
        if (list === undefined) followers.set(dep, [chunk]);
        else list.push(chunk);
      } else if (known(dep) === undefined) return { tag: 'missing-dependencies' };
    }
    waiting.set(chunk.hash, open);
    if (open === 0) ready.push(chunk);
  }
  for (let i = 0; i < ready.length; i += 1) {
    const chunk = ready[i] as ChangeChunk;
    let depsMaxOp = 0;
    for (const dep of chunk.deps) {
      const inBatch = fresh.get(dep);
      const maxOp =
        inBatch === undefined ? (known(dep)?.maxOp ?? 0) : inBatch.startOp + inBatch.operations - 1;
      depsMaxOp = Math.max(depsMaxOp, maxOp);
    }
    verifyStart(chunk, depsMaxOp);
    for (const follower of followers.get(chunk.hash) ?? []) {
      const open = (waiting.get(follower.hash) as number) - 1;
      waiting.set(follower.hash, open);
      if (open === 0) ready.push(follower);
    }
  }
  return { tag: 'ordered', changes: ready };
};
