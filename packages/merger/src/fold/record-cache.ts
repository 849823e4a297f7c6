import type { MergeRecord } from '@tidemark/merge';
import { encodeRow, invariant, type RecordId, type TableId } from '@tidemark/model';
import type { ServerBatch, ServerStore, StoredRecord } from '@tidemark/ports';
import { encodeExtra, mergeRecord } from './stored-record.js';

interface Slot {
  /** Bytes of a record that nobody has asked for yet: decoded ahead, it would only age in memory. */
  stored: StoredRecord | undefined;
  record: MergeRecord | undefined;
  /** This window changed it. */
  isChanged: boolean;
  /** Row bytes of a changed record, where they are encoded already. */
  row: Uint8Array | undefined;
}

/** Records that a window reads and writes: loaded in sorted batches, written with the window. */
export class RecordCache {
  readonly #tables = new Map<TableId, Map<RecordId, Slot>>();

  has(table: TableId, id: RecordId): boolean {
    return this.#tables.get(table)?.has(id) === true;
  }

  #slots(table: TableId): Map<RecordId, Slot> {
    let slots = this.#tables.get(table);
    if (slots === undefined) {
      slots = new Map();
      this.#tables.set(table, slots);
    }
    return slots;
  }

  /** Loads the records that are not here yet. */
  async load(
    store: ServerStore,
    wanted: ReadonlyMap<TableId, ReadonlySet<RecordId>>,
  ): Promise<void> {
    const tables = [...wanted.keys()].sort((a, b) => a - b);
    await Promise.all(
      tables.map(async (table) => {
        const slots = this.#slots(table);
        const ids = [...(wanted.get(table) ?? [])].filter((id) => !slots.has(id)).sort();
        if (ids.length === 0) return;
        const found = await store.getRecords(table, ids);
        for (let i = 0; i < ids.length; i += 1) {
          const slot = { stored: found[i], record: undefined, isChanged: false, row: undefined };
          slots.set(ids[i] as string, slot);
        }
      }),
    );
  }

  /** Takes the wanted records that an earlier window holds, as it leaves them. */
  takeOver(before: RecordCache, wanted: ReadonlyMap<TableId, ReadonlySet<RecordId>>): void {
    for (const [table, ids] of wanted) {
      const held = before.#tables.get(table);
      if (held === undefined) continue;
      const slots = this.#slots(table);
      for (const id of ids) {
        const slot = held.get(id);
        if (slot !== undefined) slots.set(id, { ...slot, isChanged: false, row: undefined });
      }
    }
  }

  /** A loaded record, as the last transaction left it. Throws `storage-damaged` where its bytes have another form. */
  get(table: TableId, id: RecordId): MergeRecord | undefined {
    const slot = this.#tables.get(table)?.get(id);
    invariant(slot !== undefined, 'a record is loaded before it is read');
    if (slot.stored !== undefined) {
      slot.record = mergeRecord(slot.stored);
      slot.stored = undefined;
    }
    return slot.record;
  }

  /** Replaces a record; `row` are its encoded bytes, where they are known. */
  set(table: TableId, id: RecordId, record: MergeRecord, row: Uint8Array | undefined): void {
    this.#slots(table).set(id, { stored: undefined, record, isChanged: true, row });
  }

  /** Records that changed, for the batch. */
  drain(): ServerBatch['records'] {
    const out: ServerBatch['records'][number][] = [];
    for (const [table, slots] of this.#tables)
      for (const [id, { record, isChanged, row }] of slots)
        if (isChanged && record !== undefined)
          out.push({
            table,
            record: {
              id,
              version: record.row.version,
              deleted: record.deleted,
              row: row ?? encodeRow(record.row),
              extra: encodeExtra(record.lastOp, record.chainFrom),
            },
          });
    return out;
  }
}
