import type { Database, DatabaseOperation } from './database.js';
import { getU32, prefixEnd, rowPrefixBytes, space } from './keys.js';

/** Maximum number of tables in layers that are remembered; beyond that all are forgotten. */
const rememberedMax = 4_096;

/** What is known of the rows of a table in one layer: nothing yet while a probe is under way. */
interface Remembered {
  empty: boolean | undefined;
}

const kinds: readonly number[] = [space.image, space.view, space.block];
const isLayered = (first: number): boolean => kinds.includes(first);

/** Number of a row prefix `[space][layer][table]`: one for each, as tables stay below 2 ** 20. */
const nameOf = (key: Uint8Array): number =>
  (getU32(key, 1) * 2 ** 20 + getU32(key, 5)) * kinds.length + kinds.indexOf(key[0] as number);

/**
 * Remembers which tables have no row in a layer: edits go into layers without image, and images lie in
 * layers without views, so most reads of a record would look where nothing is.
 */
export class EmptyTables {
  readonly #database: Database;
  #known = new Map<number, Remembered>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Tells whether nothing is under a row prefix. Looks once, then remembers. */
  isEmpty(prefix: Uint8Array): boolean | Promise<boolean> {
    const name = nameOf(prefix);
    return this.#known.get(name)?.empty ?? this.#probe(name, prefix);
  }

  async #probe(name: number, prefix: Uint8Array): Promise<boolean> {
    if (this.#known.size >= rememberedMax) this.#known.clear();
    const mine: Remembered = { empty: undefined };
    this.#known.set(name, mine);
    const iterator = this.#database.keys({
      gte: prefix,
      lt: prefixEnd(prefix) as Uint8Array,
      limit: 1,
    });
    try {
      const empty = (await iterator.next()) === undefined;
      // A put meanwhile has replaced the entry: what was seen may be older.
      if (this.#known.get(name) === mine) mine.empty = empty;
      return empty && mine.empty === true;
    } finally {
      await iterator.close();
    }
  }

  /** Takes the operations of a batch, before it is written. */
  note(operations: readonly DatabaseOperation[]): void {
    let last: Uint8Array | undefined;
    for (const operation of operations) {
      const { key } = operation;
      if (operation.type !== 'put' || !isLayered(key[0] as number)) continue;
      if (last !== undefined && samePrefix(last, key)) continue;
      last = key;
      this.#known.set(nameOf(key), { empty: false });
    }
  }

  /** Forgets everything: layers were moved, or the database was opened again. */
  forget(): void {
    this.#known = new Map();
  }
}

const samePrefix = (a: Uint8Array, b: Uint8Array): boolean => {
  for (let i = 0; i < rowPrefixBytes; i += 1) if (a[i] !== b[i]) return false;
  return true;
};
