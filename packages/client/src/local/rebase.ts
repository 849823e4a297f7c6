import {
  decodeRow,
  equalVersion,
  fromBase64,
  toBase64,
  type FieldId,
  type RecordId,
  type Row,
  type RowFields,
  type SchemaTable,
  type TableId,
} from '@tidemark/model';
import type { LayerPut, LayerRow } from '@tidemark/ports';
import { visibleFields } from './edit-session.js';
import { pushIndexPuts } from './index-entries.js';
import { transactionOf } from './log-operations.js';
import { indexesOf, runsOf } from './op-runs.js';
import type { OpenRanges } from './open-ranges.js';
import {
  decodeView,
  encodeView,
  opsOfView,
  viewOfImage,
  type PendingView,
} from './pending-view.js';
import type { ReplicaCore } from './replica-core.js';
import { tableMeta } from './replica-meta.js';
import { ViewBuilder } from './view-builder.js';

/** Views put on the new image in one step, and log bytes read in one step. */
export const viewsPerStep = 200;
const logBytesPerStep = 256 * 1024;

/** Which operations stay: those above `mergedTo`, and open ones. */
export interface RebaseTarget {
  readonly layer: number;
  readonly mergedTo: number;
  readonly open: OpenRanges;
  readonly tables: readonly TableId[];
  /** True: every view is built again, also where version and operations are the same. */
  readonly force: boolean;
}

/** Part of a rebase: puts for the staged layer, and how far it got. */
export interface RebaseStep<Position> {
  readonly puts: LayerPut[];
  readonly position: Position | null;
}

/** Part of a rebase over the views of one table. */
export interface ViewsStep extends RebaseStep<RecordId> {
  /** Views that were looked at. */
  readonly looked: number;
}

/** Puts views of records with pending operations on the staged image. Reads only; the caller writes. */
export class Rebase {
  readonly #core: ReplicaCore;
  readonly #target: RebaseTarget;
  readonly #builder: ViewBuilder;

  constructor(core: ReplicaCore, target: RebaseTarget) {
    this.#core = core;
    this.#target = target;
    this.#builder = new ViewBuilder(core);
  }

  #stays(index: number): boolean {
    return index > this.#target.mergedTo || this.#target.open.has(index);
  }

  /**
   * Next part of the log with operations that left the view and come back: the server was rewound, or a
   * sync error is open again. `position` is the last index looked at, null when all were.
   */
  async returning(after: number): Promise<RebaseStep<number>> {
    const { meta, store, options } = this.#core;
    const { tables, mergedTo, open } = this.#target;
    const last = Math.max(0, ...tables.map((table) => tableMeta(meta, table).mergedTo));
    const from = this.#nextReturning(after, last, mergedTo, open);
    if (from === undefined) return { puts: [], position: null };
    const entries = await store.log.read(from, logBytesPerStep);
    const found = new Map<TableId, Map<RecordId, number[]>>();
    let position = after;
    for (const entry of entries) {
      position = entry.index + entry.opCount - 1;
      const ops = transactionOf(entry, options.crypto.sha256)?.ops ?? [];
      ops.forEach((op, i) => {
        const index = entry.index + i;
        const covered = tables.includes(op.table) && index <= tableMeta(meta, op.table).mergedTo;
        if (!covered || this.#core.open.has(index) || !this.#stays(index)) return;
        const records = found.get(op.table) ?? new Map<RecordId, number[]>();
        found.set(op.table, records);
        records.set(op.record, [...(records.get(op.record) ?? []), index]);
      });
    }
    const puts: LayerPut[] = [];
    for (const [table, records] of found) await this.#pushReturning(puts, table, records);
    return { puts, position: entries.length === 0 ? null : position };
  }

  #nextReturning(
    after: number,
    last: number,
    mergedTo: number,
    open: OpenRanges,
  ): number | undefined {
    const starts: number[] = [];
    if (Math.max(after, mergedTo) < last) starts.push(Math.max(after, mergedTo) + 1);
    for (const [from, to] of open.ranges) {
      // Ranges that were open before are in the view already.
      let index = Math.max(from, after + 1);
      while (index <= Math.min(to, last) && this.#core.open.has(index)) index += 1;
      if (index <= Math.min(to, last)) starts.push(index);
    }
    return starts.length === 0 ? undefined : Math.min(...starts);
  }

  async #pushReturning(
    puts: LayerPut[],
    tableId: TableId,
    records: ReadonlyMap<RecordId, readonly number[]>,
  ): Promise<void> {
    const table = this.#core.schema.tablesById.get(tableId);
    if (table === undefined) return;
    const ids = [...records.keys()];
    const rows = await this.#read(tableId, ids);
    for (const [i, id] of ids.entries()) {
      const row = rows[i] as ReadRow;
      const ops = [
        ...(records.get(id) ?? []),
        ...this.#staying(row.current),
        ...this.#staying(row.staged),
      ];
      await this.#pushView(puts, table, id, row, ops);
    }
  }

  #staying(view: PendingView | null): readonly number[] {
    return view === null ? [] : [...indexesOf(view.ops)].filter((index) => this.#stays(index));
  }

  #leaving(view: PendingView): readonly number[] {
    return [...indexesOf(view.ops)].filter((index) => !this.#stays(index));
  }

  /** Next records with pending operations of a table, after `after` in id order. */
  async views(table: SchemaTable, after: RecordId): Promise<ViewsStep> {
    const { store, meta } = this.#core;
    const page = await store.scanRows('view', table.id, {
      layers: meta.layers,
      limit: viewsPerStep,
      ...(after === '' ? {} : { after }),
    });
    const position = page.next === undefined ? null : (page.rows.at(-1)?.id ?? null);
    const looked = page.rows.length;
    const puts: LayerPut[] = [];
    const staged = await this.#stagedViews(table.id, after, page.rows);
    const others: LayerRow[] = [];
    for (const view of page.rows)
      if (this.#leavesAlone(table, view, staged))
        puts.push({
          space: 'view',
          layer: this.#target.layer,
          table: table.id,
          id: view.id,
          value: null,
        });
      else others.push(view);
    const ids = others.map(({ id }) => id);
    const rows = await this.#read(
      table.id,
      ids,
      others.map(({ value }) => value),
      staged,
    );
    for (const [i, id] of ids.entries()) {
      const row = rows[i] as ReadRow;
      const { current, staged } = row;
      const ops = this.#staying(current);
      const same =
        !this.#target.force &&
        staged === null &&
        current !== null &&
        ops.length === [...indexesOf(current.ops)].length &&
        isOnImage(current, row.image);
      if (same) continue;
      await this.#pushView(puts, table, id, row, [...ops, ...this.#staying(staged)]);
    }
    return { puts, position, looked };
  }

  /**
   * True when all that a view showed is decided and nothing else is to be known of the record: it goes, and
   * neither its row nor the image is read. So ends nearly every edit.
   */
  #leavesAlone(table: SchemaTable, { id, value }: LayerRow, staged: StagedViews): boolean {
    if (staged === 'unknown' || staged.has(id) || this.#core.indexesOf(table).length > 0)
      return false;
    const ops = opsOfView(value);
    if (ops.length === 0) return false;
    for (const index of indexesOf(ops)) if (this.#stays(index)) return false;
    return true;
  }

  /** Staged views among those of a page of the table: few, so they are looked for by one scan. */
  async #stagedViews(
    table: TableId,
    after: RecordId,
    page: readonly LayerRow[],
  ): Promise<StagedViews> {
    const last = page.at(-1);
    if (last === undefined) return new Map();
    const { rows, next } = await this.#core.store.scanRows('view', table, {
      layers: [this.#target.layer],
      limit: viewsPerStep,
      upTo: last.id,
      ...(after === '' ? {} : { after }),
    });
    return next === undefined ? new Map(rows.map(({ id, value }) => [id, value])) : 'unknown';
  }

  /** Reads records; `views` are their current views and `known` their staged ones, where they were read already. */
  async #read(
    table: TableId,
    ids: readonly RecordId[],
    views?: readonly Uint8Array[],
    known: StagedViews = 'unknown',
  ): Promise<readonly ReadRow[]> {
    if (ids.length === 0) return [];
    const { store, meta } = this.#core;
    const { layer } = this.#target;
    const [current, staged, images] = await Promise.all([
      views ?? store.getRows('view', table, ids, meta.layers),
      known === 'unknown'
        ? store.getRows('view', table, ids, [layer])
        : ids.map((id) => known.get(id)),
      store.getRows('image', table, ids, [layer, ...meta.layers]),
    ]);
    const view = (bytes: Uint8Array | undefined): PendingView | null =>
      bytes === undefined ? null : decodeView(bytes);
    return ids.map((_, i) => ({
      current: view(current[i]),
      staged: view(staged[i]),
      image: images[i],
    }));
  }

  async #pushView(
    puts: LayerPut[],
    table: SchemaTable,
    id: RecordId,
    row: ReadRow,
    ops: readonly number[],
  ): Promise<void> {
    const { layer } = this.#target;
    const image = row.image === undefined ? null : viewOfImage(decodeRow(row.image));
    const next =
      image === null && ops.length > 0
        ? await this.#withoutImage(table, id, row, ops)
        : await this.#onImage(table, id, row, image, ops);
    const value = next === null ? null : encodeView(next);
    puts.push({ space: 'view', layer, table: table.id, id, value });
    const after: RowFields | null = visibleFields(next ?? image);
    const before = [visibleFields(row.current), visibleFields(row.staged), visibleFields(image)];
    pushIndexPuts(
      puts,
      { layer, table: table.id, id },
      this.#core.indexesOf(table),
      before,
      after,
      false,
    );
  }

  /** Row of the image that is being replaced. */
  async #replaced(table: SchemaTable, id: RecordId): Promise<PendingView | null> {
    const { store, meta } = this.#core;
    const [bytes] = await store.getRows('image', table.id, [id], meta.layers);
    return bytes === undefined ? null : viewOfImage(decodeRow(bytes));
  }

  /**
   * View of a record that the new image lacks: it was deleted or left the scope. Until the server has
   * decided the operations, their author keeps seeing what was seen before.
   */
  async #withoutImage(
    table: SchemaTable,
    id: RecordId,
    row: ReadRow,
    named: readonly number[],
  ): Promise<PendingView | null> {
    const seen = row.current ?? (await this.#replaced(table, id));
    if (seen === null) return this.#builder.build(table, id, null, named);
    const ops = await this.#builder.notLost(table, id, named);
    if (ops.length === 0) return null;
    const beneath = await this.#beneath(table, id, row.current);
    return { ...seen, onImage: false, ops: runsOf(ops), beneath };
  }

  /** Row before the first operation that stays, for a record that the new image lacks. */
  async #beneath(
    table: SchemaTable,
    id: RecordId,
    current: PendingView | null,
  ): Promise<Row | null> {
    const held = current?.beneath ?? null;
    const start = held === null ? await this.#replaced(table, id) : viewOfImage(held);
    const leaving = current === null ? [] : this.#leaving(current);
    const built = (await this.#builder.build(table, id, start, leaving)) ?? start;
    return built === null || built.deleted ? null : built.row;
  }

  async #onImage(
    table: SchemaTable,
    id: RecordId,
    row: ReadRow,
    image: PendingView | null,
    ops: readonly number[],
  ): Promise<PendingView | null> {
    const sides = ops.length === 0 ? new Map() : await this.#ownTexts(table, id, row.current);
    const start = new Map(sides);
    const next = await this.#builder.build(table, id, image, ops, sides);
    if (next === null || start.size === 0) return next;
    // Only what shows another history than the server's needs its own document again at the next flip.
    const kept: Record<FieldId, string> = {};
    for (const [field, document] of start)
      if (next.plain.includes(field)) kept[field] = toBase64(document);
    return { ...next, start: kept };
  }

  /**
   * The author's documents as they were before the first operation that stays: operations that leave the
   * view may have been put on another history, on which later changes cannot stand.
   */
  async #ownTexts(
    table: SchemaTable,
    id: RecordId,
    current: PendingView | null,
  ): Promise<Map<FieldId, Uint8Array>> {
    const sides = new Map<FieldId, Uint8Array>();
    if (current === null) return sides;
    if (current.plain.length === 0 && Object.keys(current.row.docs).length === 0) return sides;
    for (const [field, text] of Object.entries(current.start)) set(sides, Number(field), text);
    const leaving = this.#leaving(current);
    if (leaving.length === 0) return sides;
    const image = await this.#replaced(table, id);
    const before = await this.#builder.build(table, id, image, leaving, sides);
    for (const [field, text] of Object.entries(before?.row.docs ?? {}))
      if (!sides.has(Number(field))) set(sides, Number(field), text);
    return sides;
  }
}

const set = (sides: Map<FieldId, Uint8Array>, field: FieldId, text: string): void => {
  const document = fromBase64(text);
  if (document !== undefined) sides.set(field, document);
};

/** Staged views by their records; `unknown` where they must be asked for one by one. */
type StagedViews = ReadonlyMap<RecordId, Uint8Array> | 'unknown';

interface ReadRow {
  readonly current: PendingView | null;
  readonly staged: PendingView | null;
  readonly image: Uint8Array | undefined;
}

const isOnImage = (view: PendingView, image: Uint8Array | undefined): boolean => {
  if (image === undefined) return !view.onImage;
  return view.onImage && equalVersion(decodeRow(image).version, view.row.version);
};
