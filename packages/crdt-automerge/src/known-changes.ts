interface Known {
  readonly ordinal: number;
  readonly maxOp: number;
}

/**
 * KnownChanges are the changes of one version of a text, by hash. Versions that follow each other share one
 * table, so that a change more costs the same however many there are. Never changed.
 */
export class KnownChanges {
  readonly #table: Map<string, Known>;
  readonly #count: number;

  private constructor(table: Map<string, Known>, count: number) {
    this.#table = table;
    this.#count = count;
  }

  static of(changes: Iterable<{ readonly hash: string; readonly maxOp: number }>): KnownChanges {
    const table = new Map<string, Known>();
    for (const { hash, maxOp } of changes) table.set(hash, { ordinal: table.size, maxOp });
    return new KnownChanges(table, table.size);
  }

  get(hash: string): { readonly maxOp: number } | undefined {
    const known = this.#table.get(hash);
    return known === undefined || known.ordinal >= this.#count ? undefined : known;
  }

  /** These changes and one more, which must be new. */
  with(hash: string, maxOp: number): KnownChanges {
    // Another version went on from here: the table's tail is not ours.
    const table =
      this.#table.size === this.#count
        ? this.#table
        : new Map([...this.#table].filter(([, { ordinal }]) => ordinal < this.#count));
    table.set(hash, { ordinal: this.#count, maxOp });
    return new KnownChanges(table, this.#count + 1);
  }
}
