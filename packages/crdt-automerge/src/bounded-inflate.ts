import { TooLargeError, UndecodableError } from './byte-reader.js';
import { lengthOf, PrefixCode, symbolOf } from './prefix-code.js';

/**
 * Bytes that a change may always inflate to: the longest text, three bytes to a character, and its columns.
 * More takes text that shrinks as texts do: inflating costs time, and 49 kB can claim 50 MB.
 */
export const inflatedBytesFree = 4 * 1024 * 1024;
/** Times its length that a change may inflate to beyond that. */
export const inflatedTimesMax = 64;

/**
 * Blocks that deflated bytes may always have. Each sets up codes, and may hold nothing: 190 kB can claim 150,000.
 * Who deflates a change ends a block after thousands of symbols.
 */
export const blocksFree = 64;
/** Bytes for each of which one more block is allowed. */
export const bytesPerBlockMin = 256;

/** Bytes that deflated bytes may inflate to under a bound. */
const outputMax = (bytes: Uint8Array, outputBytesMax: number): number =>
  Math.min(outputBytesMax, Math.max(inflatedBytesFree, inflatedTimesMax * bytes.length));

const endOfBlock = 256;
const literalSymbols = 288;
const literalSymbolsMax = 286;
const distanceSymbolsMax = 30;
const distanceMax = 32_768;
/** Order in which a block tells the lengths of the words that tell lengths. */
const lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] as const;

// Least length, and extra bits, of symbols 257 to 285; least distance, and extra bits, of symbols 0 to 29.
const lengthExtra = Uint8Array.from([
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
]);
const distanceExtra = Uint8Array.from({ length: distanceSymbolsMax }, (_, symbol) =>
  Math.max(0, (symbol >> 1) - 1),
);
const leasts = (first: number, extra: Uint8Array): Uint16Array => {
  let least = first;
  return Uint16Array.from(extra, (bits) => {
    const own = least;
    least += 1 << bits;
    return own;
  });
};
const lengthLeast = leasts(3, lengthExtra);
lengthLeast[28] = 258;
const distanceLeast = leasts(1, distanceExtra);

/** Lengths of the words of blocks that bring no code of their own: literals and lengths, then distances. */
const fixedLengths = Uint8Array.from({ length: literalSymbols + distanceSymbolsMax + 2 }, (_, i) =>
  i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : i < 288 ? 8 : 5,
);

const readAhead = 4;
const firstOutputBytes = 4_096;
const firstOutputTimes = 4;
// Below, a loop is faster than a call; far above, it takes ten times as long in a process that has just begun.
const copyCallFrom = 24;

/** One inflating: what is left of the bytes, and what came out of them. */
class Inflating {
  readonly #bytes: Uint8Array;
  readonly #bits: number;
  readonly #most: number;
  readonly #literals = new PrefixCode();
  readonly #distances = new PrefixCode();
  readonly #lengths = new Uint8Array(literalSymbols + distanceSymbolsMax + 2);
  #at = 0;
  #out: Uint8Array;
  #length = 0;

  constructor(bytes: Uint8Array, most: number) {
    // Zeros behind the end save a question at each bit; who reads them is found out after the symbol.
    this.#bytes = new Uint8Array(bytes.length + readAhead);
    this.#bytes.set(bytes);
    this.#bits = bytes.length * 8;
    this.#most = most;
    const expected = Math.max(firstOutputBytes, firstOutputTimes * bytes.length);
    this.#out = new Uint8Array(Math.min(most, expected));
  }

  run(): Uint8Array {
    let blocks = blocksFree + Math.floor(this.#bits / 8 / bytesPerBlockMin);
    for (let isLast = false; !isLast;) {
      if (blocks === 0) throw new UndecodableError('too many blocks');
      blocks -= 1;
      isLast = this.#take(1) === 1;
      const type = this.#take(2);
      if (type === 0) this.#stored();
      else {
        if (type === 1) this.#fixed();
        else if (type === 2) this.#dynamic();
        else throw new UndecodableError('no such block');
        this.#block();
      }
    }
    if (this.#bits - this.#at >= 8) throw new UndecodableError('bytes behind the last block');
    return this.#out.subarray(0, this.#length);
  }

  /** At least 17 bits from here on, the first one lowest. */
  #peek(): number {
    const at = this.#at >> 3;
    const bytes = this.#bytes;
    const three =
      (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
    return three >> (this.#at & 7);
  }

  #skip(count: number): void {
    this.#at += count;
    if (this.#at > this.#bits) throw new UndecodableError('deflated bytes end early');
  }

  #take(count: number): number {
    const value = this.#peek() & ((1 << count) - 1);
    this.#skip(count);
    return value;
  }

  #symbol(code: PrefixCode): number {
    const found = code.find(this.#peek());
    this.#skip(lengthOf(found));
    return symbolOf(found);
  }

  /** Makes room for more output. Throws TooLargeError over the bound. */
  #room(count: number): void {
    const length = this.#length + count;
    if (length <= this.#out.length) return;
    if (length > this.#most) throw new TooLargeError('a change inflates over the bound');
    const out = new Uint8Array(Math.min(this.#most, Math.max(length, 2 * this.#out.length)));
    out.set(this.#out);
    this.#out = out;
  }

  #stored(): void {
    this.#at = (this.#at + 7) & ~7;
    const length = this.#take(16);
    if ((length ^ this.#take(16)) !== 0xffff) throw new UndecodableError('length of a block');
    const from = this.#at >> 3;
    this.#skip(length * 8);
    this.#room(length);
    this.#out.set(this.#bytes.subarray(from, from + length), this.#length);
    this.#length += length;
  }

  #fixed(): void {
    this.#literals.set(fixedLengths, 0, literalSymbols, false);
    this.#distances.set(fixedLengths, literalSymbols, distanceSymbolsMax + 2, false);
  }

  #dynamic(): void {
    const literals = this.#take(5) + 257;
    const distances = this.#take(5) + 1;
    const told = this.#take(4) + 4;
    if (literals > literalSymbolsMax || distances > distanceSymbolsMax)
      throw new UndecodableError('too many code words');
    const lengths = this.#lengths.fill(0, 0, lengthOrder.length);
    for (let i = 0; i < told; i += 1) lengths[lengthOrder[i] as number] = this.#take(3);
    this.#literals.set(lengths, 0, lengthOrder.length, false);
    const count = literals + distances;
    for (let i = 0; i < count;) {
      const symbol = this.#symbol(this.#literals);
      if (symbol < 16) {
        lengths[i] = symbol;
        i += 1;
        continue;
      }
      if (symbol === 16 && i === 0) throw new UndecodableError('no length to repeat');
      const length = symbol === 16 ? (lengths[i - 1] as number) : 0;
      const times =
        symbol === 16 ? 3 + this.#take(2) : symbol === 17 ? 3 + this.#take(3) : 11 + this.#take(7);
      if (i + times > count) throw new UndecodableError('too many lengths');
      lengths.fill(length, i, i + times);
      i += times;
    }
    if (lengths[endOfBlock] === 0) throw new UndecodableError('a block without end');
    this.#literals.set(lengths, 0, literals, true);
    this.#distances.set(lengths, literals, distances, true);
  }

  #block(): void {
    const literals = this.#literals;
    for (;;) {
      const symbol = this.#symbol(literals);
      if (symbol < endOfBlock) {
        this.#room(1);
        this.#out[this.#length] = symbol;
        this.#length += 1;
      } else if (symbol === endOfBlock) return;
      else this.#repeat(symbol - endOfBlock - 1);
    }
  }

  #repeat(symbol: number): void {
    if (symbol >= lengthExtra.length) throw new UndecodableError('no such length');
    const count = (lengthLeast[symbol] as number) + this.#take(lengthExtra[symbol] as number);
    const far = this.#symbol(this.#distances);
    if (far >= distanceSymbolsMax) throw new UndecodableError('no such distance');
    const distance = (distanceLeast[far] as number) + this.#take(distanceExtra[far] as number);
    if (distance > this.#length || distance > distanceMax)
      throw new UndecodableError('a distance before the beginning');
    this.#room(count);
    this.#copy(distance, count);
    this.#length += count;
  }

  #copy(distance: number, count: number): void {
    const out = this.#out;
    const at = this.#length;
    if (count < copyCallFrom) {
      for (let to = at; to < at + count; to += 1) out[to] = out[to - distance] as number;
      return;
    }
    if (distance === 1) {
      out.fill(out[at - 1] as number, at, at + count);
      return;
    }
    // What overlaps repeats: each call copies all that is there of it.
    for (let done = 0; done < count;) {
      const there = Math.min(distance + done, count - done);
      out.copyWithin(at + done, at - distance, at - distance + there);
      done += there;
    }
  }
}

/**
 * Inflates raw deflate bytes, and stops as soon as the output would pass `outputBytesMax`, or what so few bytes
 * may inflate to. Which bytes are taken is what zlib takes, in so many blocks, and nothing behind them.
 * Throws TooLargeError over the bound, UndecodableError on malformed, truncated or trailing bytes.
 */
export const inflateBounded = (bytes: Uint8Array, outputBytesMax: number): Uint8Array =>
  new Inflating(bytes, outputMax(bytes, outputBytesMax)).run();
