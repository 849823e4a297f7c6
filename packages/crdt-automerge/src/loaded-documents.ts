import { equalBytes } from '@tidemark/model';

/** LoadedDocument is a document in Automerge's memory. It is never edited: edits go to a clone. */
export interface LoadedDocument<Doc> {
  readonly bytes: Uint8Array;
  readonly doc: Doc;
  readonly operations: number;
}

// A document's own checksum and its length; equality of all bytes decides.
const keyOf = (bytes: Uint8Array): string =>
  `${bytes.length}:${bytes[4]}:${bytes[5]}:${bytes[6]}:${bytes[7]}`;

/**
 * LoadedDocuments keeps the documents used last in memory, found by their saved bytes, so that
 * edits on one note do not load it again. Bounded by count and by operations; what leaves is freed.
 */
export class LoadedDocuments<Doc> {
  readonly #entries = new Map<string, LoadedDocument<Doc>>();
  readonly #documentsMax: number;
  readonly #operationsMax: number;
  readonly #free: (doc: Doc) => void;
  #operations = 0;

  constructor(documentsMax: number, operationsMax: number, free: (doc: Doc) => void) {
    this.#documentsMax = documentsMax;
    this.#operationsMax = operationsMax;
    this.#free = free;
  }

  /** Number of documents held. */
  get size(): number {
    return this.#entries.size;
  }

  /** Document with exactly these bytes, or undefined. It is valid until the next `put`. */
  find(bytes: Uint8Array): LoadedDocument<Doc> | undefined {
    const key = keyOf(bytes);
    const entry = this.#entries.get(key);
    if (entry === undefined || !equalBytes(entry.bytes, bytes)) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /** Takes a document over. Frees those used longest ago, and at the latest by the next `put` itself. */
  put(entry: LoadedDocument<Doc>): void {
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
    this.#free(entry.doc);
  }
}
