import {
  decodeRow,
  TidemarkError,
  type FieldId,
  type Operation,
  type RecordId,
  type SchemaTable,
  type Value,
} from '@tidemark/model';
import type { PendingChange, PendingOperation } from './local-replica.js';
import { transactionOf } from './log-operations.js';
import { indexesOf, noRuns } from './op-runs.js';
import { decodeView, viewOfImage, type PendingView } from './pending-view.js';
import type { ReplicaCore } from './replica-core.js';
import { runOfIndex } from './log-runs.js';
import { ViewBuilder } from './view-builder.js';

/** Most operations of one page of the pending list. */
export const pendingPageMax = 1_000;
const pendingPageUsual = 100;
const logBytesPerRead = 256 * 1024;

/** Record as it was before an operation of the page. */
interface Progress {
  view: PendingView | null;
  upTo: number;
  readonly ops: readonly number[];
  readonly sides: Map<FieldId, Uint8Array>;
}

/** Ranges of the log with operations that are pending or parked, ascending. */
const pendingRanges = (core: ReplicaCore): (readonly [number, number])[] => {
  const { mergedTo } = core.meta;
  const parked = core.open.ranges
    .filter(([from]) => from <= mergedTo)
    .map(([from, to]) => [from, Math.min(to, mergedTo)] as const);
  return [...parked, [mergedTo + 1, core.store.log.end().lastIndex]];
};

/** Reads pages of the pending list. */
export class PendingList {
  readonly #core: ReplicaCore;
  readonly #builder: ViewBuilder;
  readonly #progress = new Map<string, Progress>();

  constructor(core: ReplicaCore) {
    this.#core = core;
    this.#builder = new ViewBuilder(core);
  }

  /** Operations after index `after`, at most `limit`. */
  async page(after = 0, limit = pendingPageUsual): Promise<readonly PendingOperation[]> {
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > pendingPageMax)
      throw new TidemarkError('invalid-option', `limit is 1 to ${pendingPageMax}`, {
        option: 'limit',
      });
    const out: PendingOperation[] = [];
    for (const [from, to] of pendingRanges(this.#core))
      await this.#readRange(out, Math.max(from, after + 1), to, limit);
    return out;
  }

  async #readRange(
    out: PendingOperation[],
    from: number,
    to: number,
    limit: number,
  ): Promise<void> {
    let at = from;
    while (at <= to && out.length < limit) {
      const entries = await this.#core.store.log.read(at, logBytesPerRead);
      if (entries.length === 0) return;
      for (const entry of entries) {
        if (out.length >= limit) return;
        const transaction = transactionOf(entry, this.#core.options.crypto.sha256);
        for (const [i, op] of (transaction?.ops ?? []).entries()) {
          const index = entry.index + i;
          if (index < at || index > to || out.length >= limit) continue;
          out.push(await this.#describe(op, index, transaction?.hlc.wallMs ?? 0));
        }
        at = Math.max(at, entry.index + entry.opCount);
      }
    }
  }

  async #describe(op: Operation, index: number, editedAt: number): Promise<PendingOperation> {
    const { meta, schema, open } = this.#core;
    const table = schema.tablesById.get(op.table);
    const { replica, epoch } = runOfIndex(meta, index);
    return {
      op: `${replica}/${epoch}/${index}`,
      index,
      table: table?.name ?? String(op.table),
      record: op.record,
      kind: op.kind,
      state: open.has(index) ? 'parked' : 'pending',
      editedAt,
      changes: table === undefined ? [] : await this.#changes(table, op, index),
    };
  }

  async #changes(table: SchemaTable, op: Operation, index: number): Promise<PendingChange[]> {
    const named = (id: FieldId): string => table.fieldsById.get(id)?.name ?? String(id);
    const changes: PendingChange[] = op.set.map(({ field, before, after }) => ({
      field: named(field),
      before,
      after,
    }));
    const derived = [...op.inc, ...op.crdt];
    if (derived.length === 0) return changes;
    // Increments and texts do not carry their values: the record is built up to this operation.
    const before = await this.#viewBefore(table, op, index);
    const after = await this.#viewAfter(table, op, index);
    for (const { field } of derived)
      changes.push({
        field: named(field),
        before: valueIn(before, field),
        after: valueIn(after, field),
      });
    return changes;
  }

  async #viewBefore(table: SchemaTable, op: Operation, index: number): Promise<PendingView | null> {
    const key = `${table.id}/${op.record}`;
    const progress = this.#progress.get(key) ?? (await this.#start(table, op.record));
    this.#progress.set(key, progress);
    const ops = progress.ops.filter((one) => one > progress.upTo && one < index);
    return this.#advance(table, op.record, progress, ops, index - 1);
  }

  #viewAfter(table: SchemaTable, op: Operation, index: number): Promise<PendingView | null> {
    const progress = this.#progress.get(`${table.id}/${op.record}`) as Progress;
    return this.#advance(table, op.record, progress, [index], index);
  }

  async #advance(
    table: SchemaTable,
    id: RecordId,
    progress: Progress,
    ops: readonly number[],
    upTo: number,
  ): Promise<PendingView | null> {
    if (ops.length > 0)
      progress.view = await this.#builder.build(table, id, progress.view, ops, progress.sides);
    progress.upTo = upTo;
    return progress.view;
  }

  async #start(table: SchemaTable, id: string): Promise<Progress> {
    const { store } = this.#core;
    const stack = this.#core.readStack(table.id);
    const [[view], [image]] = await Promise.all([
      store.getRows('view', table.id, [id], stack),
      store.getRows('image', table.id, [id], stack),
    ]);
    const shown = view === undefined ? null : decodeView(view);
    const beneath = image === undefined ? (shown?.beneath ?? null) : decodeRow(image);
    return {
      view: beneath === null ? null : viewOfImage(beneath),
      upTo: 0,
      ops: [...indexesOf(shown?.ops ?? noRuns)],
      sides: new Map(),
    };
  }
}

const valueIn = (view: PendingView | null, field: FieldId): Value =>
  view === null || view.deleted ? null : (view.row.fields[field] ?? null);
