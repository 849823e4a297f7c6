import type { IndexRun } from '@tidemark/ports';

/** What follows the prefix in the keys of index entries, one after the other: the last start is the end of all. */
export interface Suffixes {
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
}

/** Ends of the index keys of a run: each key escaped as in `indexKey`, its end mark, its id. */
export const suffixesOf = ({ bytes, ends }: IndexRun): Suffixes => {
  const count = ends.length / 2;
  let zeros = 0;
  for (let i = 0; i < bytes.length; i += 1) if (bytes[i] === 0) zeros += 1;
  const out = new Uint8Array(bytes.length + zeros + 2 * count);
  const starts = new Uint32Array(count + 1);
  let from = 0;
  let at = 0;
  for (let entry = 0; entry < count; entry += 1) {
    const keyEnd = ends[2 * entry] as number;
    const idEnd = ends[2 * entry + 1] as number;
    for (; from < keyEnd; from += 1) {
      const byte = bytes[from] as number;
      out[at] = byte;
      at += 1;
      if (byte === 0) {
        out[at] = 0xff;
        at += 1;
      }
    }
    at += 2;
    for (; from < idEnd; from += 1, at += 1) out[at] = bytes[from] as number;
    starts[entry + 1] = at;
  }
  return { bytes: out, starts };
};

/** Ranges up to this length are sorted by insertion. */
const insertionMax = 12;
const wordBytes = 4;

/** Range of suffixes that share the bytes before `depth`; `isRead`: their words from there on are at hand. */
interface SortRange {
  readonly from: number;
  readonly to: number;
  readonly depth: number;
  readonly isRead: boolean;
}

/** Four bytes as a number, in the order of the bytes; zeros behind the end. */
const wordAt = ({ bytes, starts }: Suffixes, entry: number, depth: number): number => {
  const at = (starts[entry] as number) + depth;
  const end = starts[entry + 1] as number;
  let word = 0;
  for (let i = 0; i < wordBytes; i += 1)
    word = (word << 8) | (at + i < end ? (bytes[at + i] as number) : 0);
  return word >>> 0;
};

/**
 * Numbers of suffixes in the order of their bytes: multikey quicksort (Bentley and Sedgewick, 1997) by words that are
 * kept beside the numbers (Ng and Kakehi, 2007), so that bytes are not looked at again for each comparison. Ids hold
 * no NUL: of two suffixes of which one begins the other, the zeros behind the end sort the shorter one first.
 */
export const sortSuffixes = (suffixes: Suffixes): Uint32Array => {
  const { starts } = suffixes;
  const order = Uint32Array.from({ length: starts.length - 1 }, (_, i) => i);
  const words = new Uint32Array(order.length);
  const open: SortRange[] = [{ from: 0, to: order.length, depth: 0, isRead: false }];
  for (let range = open.pop(); range !== undefined; range = open.pop()) {
    const { from, to, depth } = range;
    if (to - from <= insertionMax) {
      insertionSort(suffixes, order, range);
      continue;
    }
    if (!range.isRead)
      for (let i = from; i < to; i += 1) words[i] = wordAt(suffixes, order[i] as number, depth);
    const pivot = median(
      words[from] as number,
      words[(from + to) >>> 1] as number,
      words[to - 1] as number,
    );
    let [less, at, greater] = [from, from, to];
    while (at < greater) {
      const word = words[at] as number;
      if (word === pivot) at += 1;
      else if (word < pivot) {
        swap(order, words, at, less);
        less += 1;
        at += 1;
      } else {
        greater -= 1;
        swap(order, words, at, greater);
      }
    }
    open.push({ from, to: less, depth, isRead: true });
    open.push({ from: greater, to, depth, isRead: true });
    // Where one of equal words ends, all do: none of them is longer.
    const next = depth + wordBytes;
    const first = order[less] as number;
    if ((starts[first + 1] as number) - (starts[first] as number) > next)
      open.push({ from: less, to: greater, depth: next, isRead: false });
  }
  return order;
};

const swap = (order: Uint32Array, words: Uint32Array, a: number, b: number): void => {
  const entry = order[a] as number;
  order[a] = order[b] as number;
  order[b] = entry;
  const word = words[a] as number;
  words[a] = words[b] as number;
  words[b] = word;
};

const median = (a: number, b: number, c: number): number =>
  Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));

const insertionSort = (
  suffixes: Suffixes,
  order: Uint32Array,
  { from, to, depth }: SortRange,
): void => {
  for (let i = from + 1; i < to; i += 1) {
    const entry = order[i] as number;
    let at = i;
    for (; at > from && isBefore(suffixes, entry, order[at - 1] as number, depth); at -= 1)
      order[at] = order[at - 1] as number;
    order[at] = entry;
  }
};

const isBefore = ({ bytes, starts }: Suffixes, a: number, b: number, depth: number): boolean => {
  let atA = (starts[a] as number) + depth;
  let atB = (starts[b] as number) + depth;
  const endA = starts[a + 1] as number;
  const endB = starts[b + 1] as number;
  for (; atA < endA && atB < endB; atA += 1, atB += 1) {
    const difference = (bytes[atA] as number) - (bytes[atB] as number);
    if (difference !== 0) return difference < 0;
  }
  return atA === endA && atB < endB;
};
