import { invariant } from '@tidemark/model';
import type { ServerBatch, ServerSpace, ServerStore } from '@tidemark/ports';

interface Slot<T> {
  value: T | undefined;
  dirty: boolean;
}

/** How the values of a space are written. */
export interface EntryCodec<T> {
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => T;
}

/** Values of one space that a window reads and writes: loaded in batches, written with the window. */
export class EntryCache<T> {
  readonly #space: ServerSpace;
  readonly #codec: EntryCodec<T>;
  readonly #slots = new Map<string, Slot<T>>();

  constructor(space: ServerSpace, codec: EntryCodec<T>) {
    this.#space = space;
    this.#codec = codec;
  }

  has(key: string): boolean {
    return this.#slots.has(key);
  }

  /** Nothing is here: then no key needs to be built to look for it. */
  get isEmpty(): boolean {
    return this.#slots.size === 0;
  }

  /** Loads the keys that are not here yet. */
  async load(store: ServerStore, keys: Iterable<string>): Promise<void> {
    const wanted = [...new Set(keys)].filter((key) => !this.#slots.has(key)).sort();
    if (wanted.length === 0) return;
    const found = await store.getEntries(this.#space, wanted);
    for (let i = 0; i < wanted.length; i += 1) {
      const bytes = found[i];
      const value = bytes === undefined ? undefined : this.#codec.decode(bytes);
      this.#slots.set(wanted[i] as string, { value, dirty: false });
    }
  }

  /** Value of a loaded key. */
  get(key: string): T | undefined {
    const slot = this.#slots.get(key);
    invariant(slot !== undefined, 'a value is loaded before it is read');
    return slot.value;
  }

  /** Value of a key, undefined also when it was not loaded: for keys known to be absent. */
  peek(key: string): T | undefined {
    return this.#slots.get(key)?.value;
  }

  /** Sets a key; undefined removes it. */
  set(key: string, value: T | undefined): void {
    const slot = this.#slots.get(key);
    if (slot === undefined) this.#slots.set(key, { value, dirty: true });
    else {
      slot.value = value;
      slot.dirty = true;
    }
  }

  /** Keys changed in this window. */
  changed(): string[] {
    const keys: string[] = [];
    for (const [key, slot] of this.#slots) if (slot.dirty) keys.push(key);
    return keys;
  }

  /** Adds what changed to the entries of a batch. */
  drainTo(entries: ServerBatch['entries'][number][]): void {
    for (const [key, { value, dirty }] of this.#slots)
      if (dirty)
        entries.push({
          space: this.#space,
          key,
          value: value === undefined ? null : this.#codec.encode(value),
        });
  }
}
