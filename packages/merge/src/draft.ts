import type { FieldId, RecordId, TableId } from '@tidemark/model';
import type { ChainState, Decision, MergeReader, MergeRecord, RecordWrite } from './decision.js';

/** Key of a record in the maps of one decision. */
export const recordKey = (table: TableId, id: RecordId): string => `${table}/${id}`;

interface Place {
  readonly table: TableId;
  readonly id: RecordId;
}

/**
 * What the operations of one part of a transaction would change, read back by the later ones.
 *
 * Nothing of it counts until the part is decided without trouble; a parked part drops its draft.
 */
export class Draft {
  readonly #reader: MergeReader;
  readonly #writes: RecordWrite[] = [];
  /** Places of the writes in their list, by table and id: a joined key would be made and hashed for each look. */
  readonly #places = new Map<TableId, Map<RecordId, number>>();
  readonly #chains = new Map<string, Place & { readonly chain: ChainState | null }>();
  readonly #sides = new Map<
    string,
    Place & { readonly field: FieldId; readonly document: Uint8Array | null }
  >();

  constructor(reader: MergeReader) {
    this.#reader = reader;
  }

  #written(table: TableId, id: RecordId): RecordWrite | undefined {
    const place = this.#places.get(table)?.get(id);
    return place === undefined ? undefined : this.#writes[place];
  }

  record(table: TableId, id: RecordId): MergeRecord | undefined {
    const write = this.#written(table, id);
    return write === undefined ? this.#reader.record(table, id) : write.after;
  }

  /** Tells whether an earlier operation of this part wrote the record. */
  wrote(table: TableId, id: RecordId): boolean {
    return this.#written(table, id) !== undefined;
  }

  write(table: TableId, id: RecordId, after: MergeRecord): void {
    let places = this.#places.get(table);
    if (places === undefined) this.#places.set(table, (places = new Map()));
    const place = places.get(id);
    const earlier = place === undefined ? undefined : this.#writes[place];
    const before = earlier === undefined ? this.#reader.record(table, id) : earlier.before;
    places.set(id, place ?? this.#writes.length);
    this.#writes[place ?? this.#writes.length] = { table, id, before, after };
  }

  chain(table: TableId, id: RecordId): ChainState | undefined {
    const change = this.#chains.size === 0 ? undefined : this.#chains.get(recordKey(table, id));
    return change === undefined ? this.#reader.chain(table, id) : (change.chain ?? undefined);
  }

  setChain(table: TableId, id: RecordId, chain: ChainState | null): void {
    this.#chains.set(recordKey(table, id), { table, id, chain });
  }

  side(table: TableId, id: RecordId, field: FieldId): Uint8Array | undefined {
    const change = this.#sides.get(`${recordKey(table, id)}/${field}`);
    return change === undefined
      ? this.#reader.side(table, id, field)
      : (change.document ?? undefined);
  }

  setSide(table: TableId, id: RecordId, field: FieldId, document: Uint8Array | null): void {
    this.#sides.set(`${recordKey(table, id)}/${field}`, { table, id, field, document });
  }

  writes(): RecordWrite[] {
    return this.#writes;
  }

  chains(): Decision['chains'][number][] {
    return [...this.#chains.values()];
  }

  sides(): Decision['sides'][number][] {
    return [...this.#sides.values()];
  }
}
