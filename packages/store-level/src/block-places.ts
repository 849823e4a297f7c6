import { utf8Encode } from '@tidemark/model';
import type { DatabaseOperation } from './database.js';
import { rowPrefixBytes, space } from './keys.js';

/** Most blocks whose places are remembered, of all layers and tables; beyond that all are forgotten. */
export const blockPlacesMax = 65_536;
/** Place of the number of rows in a block, and of the length of its first id: see the model's blocks. */
const countAt = 1;
const firstLengthAt = 3;
const entryBytes = 5;

/** Ids of the blocks of a table in a layer, as texts of a character for each byte, in order. */
interface Places {
  readonly firsts: string[];
  readonly lasts: string[];
}

/** Bytes as a text of a character for each: texts compare like the bytes, and take less memory. */
const textOf = (bytes: Uint8Array, from: number, to: number): string => {
  let text = '';
  for (let at = from; at < to; at += 1) text += String.fromCharCode(bytes[at] as number);
  return text;
};

/** Text of an id as BlockPlaces compares it: an id of ASCII is its own. */
export const placeText = (id: string): string => {
  for (let at = 0; at < id.length; at += 1)
    if (id.charCodeAt(at) > 0x7f) {
      const bytes = utf8Encode(id);
      return textOf(bytes, 0, bytes.length);
    }
  return id;
};

/** First place whose text is not below `text`. */
const lowerBound = (texts: readonly string[], text: string): number => {
  let low = 0;
  let high = texts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((texts[middle] as string) < text) low = middle + 1;
    else high = middle;
  }
  return low;
};

/**
 * Remembers from which id to which the blocks reach that were read or written last, so that a row in one of
 * them is read by its block's key, without an iterator that looks for it. What is remembered may be out of
 * date: who reads a block looks whether it holds the id's place.
 */
export class BlockPlaces {
  #byPrefix = new Map<string, Places>();
  #count = 0;

  /** Last id of the block in which an id would lie; undefined when none is known to. */
  find(prefix: Uint8Array, id: string): string | undefined {
    const places = this.#byPrefix.get(textOf(prefix, 0, prefix.length));
    if (places === undefined) return undefined;
    const at = lowerBound(places.lasts, id);
    const first = places.firsts[at];
    return first !== undefined && first <= id ? places.lasts[at] : undefined;
  }

  /** Remembers a block by its key and its bytes, of which `head` come before the block. */
  learn(key: Uint8Array, value: Uint8Array, head: number): void {
    const count = ((value[head + countAt] as number) << 8) | (value[head + countAt + 1] as number);
    const from = head + firstLengthAt + entryBytes * count;
    const to = from + (value[head + firstLengthAt] as number);
    if (count === 0 || to > value.length) return;
    if (this.#count >= blockPlacesMax) this.forget();
    const prefix = textOf(key, 0, rowPrefixBytes);
    const places = this.#byPrefix.get(prefix) ?? { firsts: [], lasts: [] };
    this.#byPrefix.set(prefix, places);
    const first = textOf(value, from, to);
    const last = textOf(key, rowPrefixBytes, key.length);
    const at = lowerBound(places.lasts, last);
    const isKnown = places.lasts[at] === last;
    places.firsts.splice(at, isKnown ? 1 : 0, first);
    places.lasts.splice(at, isKnown ? 1 : 0, last);
    if (!isKnown) this.#count += 1;
  }

  /** Takes the operations of a batch, before it is written: its blocks are where rows will be read. */
  note(operations: readonly DatabaseOperation[], head: number): void {
    for (const operation of operations)
      if (operation.type === 'put' && operation.key[0] === space.block)
        this.learn(operation.key, operation.value, head);
  }

  /** Forgets a block that was not found, or does not hold what it did. */
  drop(prefix: Uint8Array, last: string): void {
    const places = this.#byPrefix.get(textOf(prefix, 0, prefix.length));
    if (places === undefined) return;
    const at = lowerBound(places.lasts, last);
    if (places.lasts[at] !== last) return;
    places.firsts.splice(at, 1);
    places.lasts.splice(at, 1);
    this.#count -= 1;
  }

  /** Forgets everything. */
  forget(): void {
    this.#byPrefix = new Map();
    this.#count = 0;
  }
}
