import type { Database, DatabaseOperation } from './database.js';
import { getU32, indexPrefix, indexPrefixBytes, prefixEnd, space } from './keys.js';
import { runPrefixBytes } from './index-runs.js';

/** Indexes of layers whose runs are remembered. */
export const rememberedRunsMax = 4_096;

interface Known {
  readonly runs: Set<number>;
  /** False until a look has ended: until then only some are known. */
  isWhole: boolean;
}

const nameOf = (layer: number, table: number, index: number): string =>
  `${layer} ${table} ${index}`;

/** Remembers which runs the indexes of a layer have, or had: without one a scan needs no iterator for it. */
export class KnownRuns {
  readonly #database: Database;
  #known = new Map<string, Known>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Runs of an index in a layer, some of them perhaps gone; undefined when that is not known. */
  of(layer: number, table: number, index: number): ReadonlySet<number> | undefined {
    const known = this.#known.get(nameOf(layer, table, index));
    return known?.isWhole === true ? known.runs : undefined;
  }

  /** Looks for the runs of an index in a layer. What it found may be forgotten again when it resolves. */
  async look(layer: number, table: number, index: number): Promise<void> {
    const known = this.#remember(nameOf(layer, table, index));
    const prefix = indexPrefix(layer, table, index, space.run);
    const keys = this.#database.keys({ gte: prefix, lt: prefixEnd(prefix) as Uint8Array });
    try {
      for (let key = await keys.next(); key !== undefined; key = await keys.next()) {
        known.runs.add(getU32(key, indexPrefixBytes));
        const behind = prefixEnd(key.subarray(0, runPrefixBytes));
        if (behind === undefined) break;
        keys.seek(behind);
      }
    } finally {
      await keys.close();
    }
    known.isWhole = true;
  }

  /** Remembers an index as the one that was used last. The longest unused one goes: no write to it is under way. */
  #remember(name: string): Known {
    const known = this.#known.get(name) ?? { runs: new Set(), isWhole: false };
    this.#known.delete(name);
    const [oldest] = this.#known.size >= rememberedRunsMax ? this.#known.keys() : [];
    if (oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(name, known);
    return known;
  }

  /** Takes the operations of a batch, directly before it is written. */
  note(operations: readonly DatabaseOperation[]): void {
    for (const { type, key } of operations) {
      if (type !== 'put' || key[0] !== space.run) continue;
      const name = nameOf(getU32(key, 1), getU32(key, 5), getU32(key, 9));
      // Also where nobody has looked: a look that begins now may not see it yet.
      this.#remember(name).runs.add(getU32(key, indexPrefixBytes));
    }
  }

  /** Forgets everything: the database was opened again. */
  forget(): void {
    this.#known = new Map();
  }
}
