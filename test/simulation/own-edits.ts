/** One edit of a person, as far as it says what its author must see: null fields say that the record is gone. */
export interface OwnEdit {
  readonly table: string;
  readonly record: string;
  /** Fields that the edit changed; null: it removed the record. */
  readonly fields: Readonly<Record<string, unknown>> | null;
  /** True when nothing of earlier edits shows any more: the record was made. */
  readonly isWhole: boolean;
}

/** What a field shows because of an edit. */
export interface Shown {
  readonly index: number;
  /** Undefined: the record is gone. */
  readonly value: unknown;
}

/** What a device's own edits must show until a page covers them, by record and field. */
export class OwnEdits {
  readonly #places = new Map<string, Map<string, Shown>>();
  /** Counts changes, so that a look that was overtaken by an edit says nothing. */
  changes = 0;

  get size(): number {
    return this.#places.size;
  }

  /** Notes the edits of a transaction that ends at `index`. */
  note(index: number, edits: readonly OwnEdit[]): void {
    if (edits.length > 0) this.changes += 1;
    for (const { table, record, fields, isWhole } of edits) {
      const place = `${table}/${record}`;
      const known = this.#places.get(place);
      const next = isWhole || fields === null || known === undefined ? new Map() : known;
      if (fields === null) next.set('', { index, value: undefined });
      for (const [name, value] of Object.entries(fields ?? {})) next.set(name, { index, value });
      this.#places.set(place, next);
    }
  }

  /** What shows is not known any more. */
  forget(): void {
    this.#places.clear();
    this.changes += 1;
  }

  /** The same places as they are now; only for a look that changes nothing. */
  shown(): ReadonlyMap<string, ReadonlyMap<string, Shown>> {
    return this.#places;
  }

  /** The records for a look at each of them. */
  places(): readonly string[] {
    return [...this.#places.keys()];
  }

  /** What a record must show now. Edits replace it: it is no longer true after an await. */
  fieldsOf(place: string): Map<string, Shown> | undefined {
    return this.#places.get(place);
  }

  drop(place: string): void {
    this.#places.delete(place);
  }
}
