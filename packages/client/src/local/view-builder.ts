import { needsCrdt } from '@tidemark/merge';
import type { FieldId, RecordId, SchemaTable } from '@tidemark/model';
import { LogOperations, type LogOperation } from './log-operations.js';
import { indexesOf, runsOf } from './op-runs.js';
import { viewWith, type PendingView } from './pending-view.js';
import type { ReplicaCore } from './replica-core.js';

/** A view may outlive operations that a disk lost: their indexes are given again. */
const isOf = ({ op }: LogOperation, table: SchemaTable, id: RecordId): boolean =>
  op.table === table.id && op.record === id;

/** Builds views from operations of the log. Made for one piece of work. */
export class ViewBuilder {
  readonly #core: ReplicaCore;
  readonly #log: LogOperations;

  constructor(core: ReplicaCore) {
    this.#core = core;
    this.#log = new LogOperations(core.store.log, core.options.crypto.sha256);
  }

  /**
   * Applies operations of a record in log order to an image row; null when none is left to apply. Operations
   * that the log does not hold any more are left out. `sides` may be kept to go on with later operations.
   */
  async build(
    table: SchemaTable,
    id: RecordId,
    image: PendingView | null,
    ops: Iterable<number>,
    sides: Map<FieldId, Uint8Array> = new Map(),
  ): Promise<PendingView | null> {
    const core = this.#core;
    const { tenant, user } = core.meta;
    let view = image;
    let applied = false;
    for (const index of indexesOf(runsOf(ops))) {
      const found = await this.#log.at(index);
      if (found === undefined || !isOf(found, table, id)) continue;
      const crdt = needsCrdt(table, found.op) ? await core.crdt() : null;
      const context = { tenant, user, table, crdt, sides };
      view = viewWith(view, found.op, index, found.transaction.hlc.wallMs, context);
      applied = true;
    }
    return applied ? view : null;
  }

  /** Operations but those that the log lost: behind its end, or with another one in their place since. */
  async notLost(
    table: SchemaTable,
    id: RecordId,
    ops: readonly number[],
  ): Promise<readonly number[]> {
    const end = this.#core.store.log.end().lastIndex;
    const kept: number[] = [];
    for (const index of ops) {
      if (index > end) continue;
      const found = await this.#log.at(index);
      if (found === undefined || isOf(found, table, id)) kept.push(index);
    }
    return kept;
  }
}
