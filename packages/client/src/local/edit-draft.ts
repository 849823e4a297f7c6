import type { Hlc, RecordId, TableId } from '@tidemark/model';
import type { LayerPut, LogEnd, LogEntry } from '@tidemark/ports';
import type { ReplicaCore } from './replica-core.js';
import type { SessionRecord } from './session-record.js';

/** What one transaction adds to a write. */
export interface DraftedEdits {
  readonly entry: LogEntry;
  readonly puts: readonly LayerPut[];
  readonly hlc: Hlc;
  /** Records that it changed, by table and id. */
  readonly records: ReadonlyMap<string, SessionRecord>;
  readonly touched: ReadonlyMap<TableId, readonly RecordId[]>;
}

/**
 * EditDraft is one write in the making: whole transactions, one behind the other, each of which sees those
 * before it. Made and written within one write turn.
 */
export class EditDraft {
  readonly core: ReplicaCore;
  readonly #puts: LayerPut[] = [];
  readonly #entries: LogEntry[] = [];
  readonly #records = new Map<string, SessionRecord>();
  readonly #touched: ReadonlyMap<TableId, readonly RecordId[]>[] = [];
  #end: LogEnd;
  #hlc: Hlc;
  #bytes = 0;

  constructor(core: ReplicaCore) {
    this.core = core;
    this.#end = core.store.log.end();
    this.#hlc = core.hlc;
  }

  /** Where the log ends behind the draft. */
  get end(): LogEnd {
    return this.#end;
  }

  /** Last reading of the hybrid clock. */
  get hlc(): Hlc {
    return this.#hlc;
  }

  /** True while no transaction is in it. */
  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Bytes of the transactions and of the values of their records so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Record as the draft leaves it; undefined when no transaction of it changed that. */
  record(key: string): SessionRecord | undefined {
    return this.#records.get(key);
  }

  /** Takes a transaction. */
  take({ entry, puts, hlc, records, touched }: DraftedEdits): void {
    this.#entries.push(entry);
    this.#end = { lastIndex: entry.index + entry.opCount - 1, head: entry.head };
    this.#hlc = hlc;
    this.#bytes += entry.bytes.length;
    for (const put of puts) {
      this.#puts.push(put);
      if (put.space !== 'index') this.#bytes += put.value?.length ?? 0;
    }
    for (const [key, record] of records) this.#records.set(key, record);
    this.#touched.push(touched);
  }

  /** Stores everything in one write at `os`, then tells of each transaction. Does nothing for an empty draft. */
  async write(): Promise<void> {
    if (this.isEmpty) return;
    const { core } = this;
    const touched = new Set<TableId>();
    for (const tables of this.#touched) for (const table of tables.keys()) touched.add(table);
    await core.commit({
      batch: { append: this.#entries, puts: this.#puts },
      hlc: this.#hlc,
      touched,
    });
    for (const tables of this.#touched) core.tell({ kind: 'edit', tables });
  }
}
