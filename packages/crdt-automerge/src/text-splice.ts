/** TextSplice replaces `remove` UTF-16 units at `at` by `insert`. */
export interface TextSplice {
  readonly at: number;
  readonly remove: number;
  readonly insert: string;
}

const isTrail = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/**
 * The one insertion or the one deletion that leads from one text to another, or undefined when the
 * texts differ in more than that. It never cuts a surrogate pair of well-formed texts.
 */
export const singleSplice = (before: string, after: string): TextSplice | undefined => {
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
  const remove = before.length - start - end;
  const insert = after.slice(start, after.length - end);
  return remove === 0 || insert === '' ? { at: start, remove, insert } : undefined;
};
