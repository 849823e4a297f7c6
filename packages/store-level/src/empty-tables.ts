import type { Database, DatabaseOperation } from './database.js';
import { getU32, layerPrefix, prefixEnd, rowPrefixBytes, space, tablePrefix } from './keys.js';

/** Maximum number of layers, counted for each kind of rows, that are remembered. */
export const rememberedLayersMax = 4_096;
/** Tables with rows that one look at a layer finds at most; where there are more, none counts as empty. */
export const tablesPerLookMax = 64;

/** What is known of the tables in one layer. */
interface Layer {
  /** Tables that have rows there, or had some. */
  readonly tables: Set<number>;
  /** False until a look at the layer has ended: until then only `tables` is known. */
  isKnown: boolean;
  /** True when a look ended before all tables were found. */
  isCut: boolean;
}

const kinds: readonly number[] = [space.image, space.view, space.block];
const isLayered = (first: number): boolean => kinds.includes(first);

/** Number of a layer and its kind of rows, by a key there. */
const nameOf = (key: Uint8Array): number =>
  getU32(key, 1) * kinds.length + kinds.indexOf(key[0] as number);

/**
 * Remembers which tables have no row in a layer: edits go into layers without image, and images lie in
 * layers without views, so most reads of a record would look where nothing is, and scans would open an iterator
 * for each layer.
 */
export class EmptyTables {
  readonly #database: Database;
  #layers = new Map<number, Layer>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Tells whether nothing is under a row prefix. Looks once for all tables of the layer, then remembers. */
  isEmpty(prefix: Uint8Array): boolean | Promise<boolean> {
    return this.known(prefix) ?? this.#look(prefix, getU32(prefix, 5));
  }

  /** Tells the same from what is remembered; undefined when nothing is. */
  known(prefix: Uint8Array): boolean | undefined {
    const layer = this.#layers.get(nameOf(prefix));
    if (layer?.tables.has(getU32(prefix, 5)) === true) return false;
    return layer?.isKnown === true ? !layer.isCut : undefined;
  }

  async #look(prefix: Uint8Array, table: number): Promise<boolean> {
    const name = nameOf(prefix);
    const layer = this.#layers.get(name) ?? this.#remember(name);
    const isCut = await this.#visit(prefix[0] as number, getU32(prefix, 1), layer.tables);
    // Forgotten meanwhile: puts since then were noted elsewhere.
    if (this.#layers.get(name) !== layer) return false;
    layer.isKnown = true;
    layer.isCut = isCut;
    return !isCut && !layer.tables.has(table);
  }

  /** Remembers a layer as the one that was written last. The longest unwritten one goes: no write to it is under way. */
  #remember(name: number): Layer {
    const layer = this.#layers.get(name) ?? { tables: new Set(), isKnown: false, isCut: false };
    this.#layers.delete(name);
    const [oldest] = this.#layers.size >= rememberedLayersMax ? this.#layers.keys() : [];
    if (oldest !== undefined) this.#layers.delete(oldest);
    this.#layers.set(name, layer);
    return layer;
  }

  /** Adds the tables that have rows in a layer; true when there may be more. */
  async #visit(first: number, layer: number, tables: Set<number>): Promise<boolean> {
    const prefix = layerPrefix(first, layer);
    const keys = this.#database.keys({ gte: prefix, lt: prefixEnd(prefix) as Uint8Array });
    try {
      for (let looks = 0; looks < tablesPerLookMax; looks += 1) {
        const key = await keys.next();
        if (key === undefined) return false;
        const table = getU32(key, 5);
        tables.add(table);
        keys.seek(prefixEnd(tablePrefix(first, layer, table)) as Uint8Array);
      }
      return true;
    } finally {
      await keys.close();
    }
  }

  /** Takes the operations of a batch, directly before it is written: nothing may be forgotten between. */
  note(operations: readonly DatabaseOperation[]): void {
    let last: Uint8Array | undefined;
    for (const operation of operations) {
      const { key } = operation;
      if (operation.type !== 'put' || !isLayered(key[0] as number)) continue;
      if (last !== undefined && samePrefix(last, key)) continue;
      last = key;
      this.#remember(nameOf(key)).tables.add(getU32(key, 5));
    }
  }

  /** Forgets everything, when no batch is under way: the database was opened again. */
  forget(): void {
    this.#layers = new Map();
  }
}

const samePrefix = (a: Uint8Array, b: Uint8Array): boolean => {
  for (let i = 0; i < rowPrefixBytes; i += 1) if (a[i] !== b[i]) return false;
  return true;
};
