import { UndecodableError } from './byte-reader.js';

/** Bits of the longest code word of deflate. */
const codeBitsMax = 15;
/** Symbols of the largest code of deflate: literals and lengths. */
const symbolsMax = 288;
// Nearly all words are short. Tables of the longest ones would cost a block of a few bytes 32,768 steps.
const quickBits = 9;
const quickSize = 1 << quickBits;
const symbolShift = 4;
const lengthMask = (1 << symbolShift) - 1;

/** Next code word of a length, both with their first bit lowest. */
const nextReversed = (word: number, length: number): number => {
  let bit = 1 << (length - 1);
  let next = word;
  while ((next & bit) !== 0) {
    next ^= bit;
    bit >>= 1;
  }
  return next | bit;
};

/** PrefixCode is one Huffman code of deflate: it is set from the lengths of its words, as often as needed. */
export class PrefixCode {
  /** Symbol and length of the word that begins with these bits, or 0 where it is longer or there is none. */
  readonly #quick = new Uint16Array(quickSize);
  /** Words of each length. */
  readonly #counts = new Uint16Array(codeBitsMax + 1);
  /** Symbols in the order of their words. */
  readonly #symbols = new Uint16Array(symbolsMax);
  readonly #next = new Uint16Array(codeBitsMax + 2);

  /**
   * Takes the lengths of `count` words from `from` on; 0 means no word. A code of which words are missing is
   * refused, but one without words, and one with a single word of one bit where `mayBeSingle`: like zlib.
   */
  set(lengths: Uint8Array, from: number, count: number, mayBeSingle: boolean): void {
    const counts = this.#counts.fill(0);
    for (let i = from; i < from + count; i += 1) {
      const length = lengths[i] as number;
      counts[length] = (counts[length] as number) + 1;
    }
    this.#quick.fill(0);
    const words = count - (counts[0] as number);
    counts[0] = 0;
    if (words === 0) return;
    let left = 1;
    let longest = 0;
    for (let length = 1; length <= codeBitsMax; length += 1) {
      const ofLength = counts[length] as number;
      if (ofLength > 0) longest = length;
      left = left * 2 - ofLength;
      if (left < 0) throw new UndecodableError('more code words than there are');
    }
    if (left > 0 && !(mayBeSingle && longest === 1))
      throw new UndecodableError('code words are missing');
    const next = this.#next;
    next[1] = 0;
    for (let length = 1; length <= codeBitsMax; length += 1)
      next[length + 1] = (next[length] as number) + (counts[length] as number);
    for (let symbol = 0; symbol < count; symbol += 1) {
      const length = lengths[from + symbol] as number;
      if (length === 0) continue;
      const place = next[length] as number;
      this.#symbols[place] = symbol;
      next[length] = place + 1;
    }
    this.#fillQuick();
  }

  /** Enters the short words at every place that begins with them. */
  #fillQuick(): void {
    const quick = this.#quick;
    let at = 0;
    let word = 0;
    for (let length = 1; length <= quickBits; length += 1) {
      const step = 1 << length;
      for (let i = this.#counts[length] as number; i > 0; i -= 1) {
        const entry = ((this.#symbols[at] as number) << symbolShift) | length;
        for (let place = word; place < quickSize; place += step) quick[place] = entry;
        at += 1;
        word = nextReversed(word, length);
      }
    }
  }

  /**
   * Finds the word that `bits` begins with, the first bit lowest: its symbol times 16, plus its length.
   * Throws UndecodableError when there is none.
   */
  find(bits: number): number {
    const quick = this.#quick[bits & (quickSize - 1)] as number;
    return quick === 0 ? this.#findLong(bits) : quick;
  }

  #findLong(bits: number): number {
    let word = 0;
    let first = 0;
    let at = 0;
    for (let length = 1; length <= codeBitsMax; length += 1) {
      word |= (bits >> (length - 1)) & 1;
      const count = this.#counts[length] as number;
      if (word - count < first)
        return ((this.#symbols[at + word - first] as number) << symbolShift) | length;
      at += count;
      first = (first + count) * 2;
      word *= 2;
    }
    throw new UndecodableError('no code word');
  }
}

/** Length in bits of what `PrefixCode.find` found. */
export const lengthOf = (found: number): number => found & lengthMask;

/** Symbol of what `PrefixCode.find` found. */
export const symbolOf = (found: number): number => found >> symbolShift;
