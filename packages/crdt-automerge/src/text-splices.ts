import { diffArrays } from 'diff';

/** TextSplice replaces `remove` UTF-16 units at `at` by `insert`. */
export interface TextSplice {
  readonly at: number;
  readonly remove: number;
  readonly insert: string;
}

/**
 * Longest differing part of two texts, in UTF-16 units of both together, whose difference is taken
 * character by character: that work grows with length times edits.
 */
export const characterDifferenceMax = 8_192;
/** Most words that a difference by words removes and inserts: that work grows with their square. */
export const wordEditsMax = 1_000;

const words = /\s+|[\p{L}\p{M}\p{N}_]+|[^\s\p{L}\p{M}\p{N}_]/gu;

const isTrail = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** The one replacement that leads from one text to another. It cuts no surrogate pair of well-formed texts. */
const replacement = (before: string, after: string): TextSplice => {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before.charCodeAt(start) === after.charCodeAt(start)) start += 1;
  // Both texts go on with a trail unit: the lead before it is equal, the pairs are not.
  if (isTrail(before.charCodeAt(start)) || isTrail(after.charCodeAt(start))) start -= 1;
  let end = 0;
  while (
    end < shorter - start &&
    before.charCodeAt(before.length - 1 - end) === after.charCodeAt(after.length - 1 - end)
  ) {
    end += 1;
  }
  if (end > 0 && isTrail(before.charCodeAt(before.length - end))) end -= 1;
  return {
    at: start,
    remove: before.length - start - end,
    insert: after.slice(start, after.length - end),
  };
};

/** Replacements of whole words, first to last; undefined when more than `wordEditsMax` differ. */
const wordSplices = (
  { at, remove, insert }: TextSplice,
  before: string,
): TextSplice[] | undefined => {
  const parts = diffArrays(
    before.slice(at, at + remove).match(words) ?? [],
    insert.match(words) ?? [],
    {
      maxEditLength: wordEditsMax,
    },
  );
  const splices: TextSplice[] = [];
  let from = at;
  let open: TextSplice | undefined;
  for (const { added, removed, value } of parts ?? []) {
    const text = value.join('');
    if (added || removed) {
      open ??= { at: from, remove: 0, insert: '' };
      open = {
        at: open.at,
        remove: open.remove + (removed ? text.length : 0),
        insert: open.insert + (added ? text : ''),
      };
    } else if (open !== undefined) {
      splices.push(open);
      open = undefined;
    }
    if (!added) from += text.length;
  }
  if (open !== undefined) splices.push(open);
  return parts && splices;
};

/**
 * Splices that lead from one text to another, first to last, in places of the text before; undefined for
 * texts that differ in several places of a short part: their difference is worth taking by characters.
 * A function of both texts, whose work is bounded: beyond its bounds the whole part that differs is replaced.
 */
export const textSplices = (before: string, after: string): readonly TextSplice[] | undefined => {
  const whole = replacement(before, after);
  // Typing is mostly one insertion or one deletion.
  if (whole.remove === 0 || whole.insert === '') return [whole];
  if (whole.remove + whole.insert.length <= characterDifferenceMax) return undefined;
  return wordSplices(whole, before) ?? [whole];
};
