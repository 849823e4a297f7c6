import { equalBytes } from '@tidemark/model';

/** What LoadedDocuments must know of a document it keeps. */
export interface Loaded {
  readonly bytes: Uint8Array;
  readonly operations: number;
}

const lastBytes = 64;

// Versions of a document begin alike, so the last bytes count too; equality of all bytes decides.
const keyOf = (bytes: Uint8Array): string => {
  let sum = 0;
  for (let i = Math.max(0, bytes.length - lastBytes); i < bytes.length; i += 1)
    sum = (Math.imul(sum, 31) + (bytes[i] as number)) | 0;
  return `${bytes.length}:${bytes[4]}:${bytes[5]}:${bytes[6]}:${bytes[7]}:${sum}`;
};

/**
 * LoadedDocuments keeps the documents used last in memory, found by their saved bytes, so that
 * edits on one note do not load it again. Bounded by count and by operations; what leaves is freed.
 */
export class LoadedDocuments<Entry extends Loaded> {
  readonly #entries = new Map<string, Entry>();
  readonly #documentsMax: number;
  readonly #operationsMax: number;
  readonly #free: (entry: Entry) => void;
  #operations = 0;

  constructor(documentsMax: number, operationsMax: number, free: (entry: Entry) => void) {
    this.#documentsMax = documentsMax;
    this.#operationsMax = operationsMax;
    this.#free = free;
  }

  /** Number of documents held. */
  get size(): number {
    return this.#entries.size;
  }

  /** Document with exactly these bytes, or undefined. It is valid until the next `put`. */
  find(bytes: Uint8Array): Entry | undefined {
    const key = keyOf(bytes);
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.bytes !== bytes && !equalBytes(entry.bytes, bytes)) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /** Takes a document over. Frees those used longest ago, and at the latest by the next `put` itself. */
  put(entry: Entry): void {
    const key = keyOf(entry.bytes);
    this.#drop(key);
    this.#entries.set(key, entry);
    this.#operations += entry.operations;
    for (const oldest of this.#entries.keys()) {
      const over =
        this.#entries.size > this.#documentsMax || this.#operations > this.#operationsMax;
      if (!over || oldest === key) break;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#operations -= entry.operations;
    this.#free(entry);
  }
}
