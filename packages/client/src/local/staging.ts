import {
  invariant,
  systemTables,
  TidemarkError,
  type RecordId,
  type TableId,
} from '@tidemark/model';
import type { LayerPut } from '@tidemark/ports';
import type { TablePage } from '@tidemark/protocol';
import { FilledIndexes, firstIndexed, type IndexedTo } from './filled-indexes.js';
import type { Folding } from './folding.js';
import type { StagedCounts, Staging } from './local-replica.js';
import { openNote, readOpenRanges, type OpenRanges } from './open-ranges.js';
import { Rebase, viewsPerStep } from './rebase.js';
import type { ReplicaCore } from './replica-core.js';
import {
  tableMeta,
  type Closing,
  type ReplicaMeta,
  type StagingKind,
  type StagingMeta,
  type TableMeta,
} from './replica-meta.js';
import { stagePages } from './staged-pages.js';

/** Maximum layers of an image, the staged one included. */
export const layersMax = 4;
const progressLengthMax = 4_096;
/** Greater than every table: all views are staged. */
const afterAllTables = 2 ** 32;

type ClosingMeta = NonNullable<StagingMeta['closing']>;
/** Last record whose view is staged. */
type Place = Pick<ClosingMeta, 'table' | 'id'>;

const everything = (tables: Iterable<TableId>): ReadonlyMap<TableId, null> =>
  new Map([...tables].map((table) => [table, null]));

/** Stages downloads in a new layer and makes them visible in one small write. */
export class LayerStaging implements Staging {
  readonly #core: ReplicaCore;
  readonly #folding: Folding;
  /** Last ids of blocks staged in a layer, by table: in memory alone, read again where it is not known. */
  #ends: { readonly layer: number; readonly ids: ReadonlyMap<TableId, RecordId> } = {
    layer: 0,
    ids: new Map(),
  };

  constructor(core: ReplicaCore, folding: Folding) {
    this.#core = core;
    this.#folding = folding;
  }

  #staging(): StagingMeta {
    const { staging } = this.#core.meta;
    invariant(staging !== null, 'nothing is being staged');
    return staging;
  }

  readonly begin = async (kind: StagingKind, cursor: string | null): Promise<void> => {
    const core = this.#core;
    await this.#folding.foldTo(layersMax - 1);
    await core.turn.run(async () => {
      const { meta } = core;
      invariant(meta.staging === null, 'a staging is under way');
      const staging: StagingMeta = {
        layer: meta.nextLayer,
        kind,
        cursor,
        progress: '',
        filling: [],
        entries: 0,
        closing: null,
      };
      await core.commit({ meta: { ...meta, nextLayer: meta.nextLayer + 1, staging } });
    });
  };

  readonly put = (
    pages: readonly TablePage[],
    next: { readonly cursor: string | null; readonly progress?: string },
  ): Promise<ReadonlyMap<TableId, StagedCounts>> =>
    this.#core.turn.run(async () => {
      const core = this.#core;
      const progress = next.progress ?? this.#staging().progress;
      invariant(this.#staging().closing === null, 'the closing page came already');
      invariant(progress.length <= progressLengthMax, 'progress exceeds its bound');
      const { meta, filling } = this.#withFilling(pages);
      const { layer } = this.#staging();
      const known = this.#ends.layer === layer ? this.#ends.ids : new Map<TableId, RecordId>();
      const { puts, blocks, counts, missing, ends } = await stagePages(core, pages, {
        layer,
        filling,
        ends: known,
      });
      // Until it is written, what was known before may be wrong.
      this.#ends = { layer, ids: new Map() };
      const rows = blocks.reduce((sum, { block }) => sum + block.count, puts.length);
      const tables: Record<TableId, TableMeta> = { ...meta.tables };
      for (const table of missing) tables[table] = { ...tableMeta(meta, table), repair: true };
      const staging: StagingMeta = {
        ...this.#staging(),
        cursor: next.cursor,
        progress,
        filling,
        entries: this.#staging().entries + rows,
      };
      const touched = pages.map(({ table }) => table).filter((table) => filling.includes(table));
      await core.commit({
        batch: { puts, blocks },
        meta: { ...meta, tables, staging },
        touched: new Set(touched),
        ...(touched.length === 0 ? {} : { change: { kind: 'fill', tables: everything(touched) } }),
      });
      this.#ends = { layer, ids: ends };
      return counts;
    });

  /** Tables that were never filled become readable with their first page. */
  #withFilling(pages: readonly TablePage[]): {
    readonly meta: ReplicaMeta;
    readonly filling: readonly TableId[];
  } {
    const { meta } = this.#core;
    const filling = new Set(this.#staging().filling);
    const tables: Record<TableId, TableMeta> = { ...meta.tables };
    for (const { table } of pages) {
      if (tableMeta(meta, table).state !== 'empty') continue;
      filling.add(table);
      tables[table] = { ...tableMeta(meta, table), state: 'filling' };
    }
    return { meta: { ...meta, tables }, filling: [...filling] };
  }

  readonly abandon = (): Promise<void> => this.#core.turn.run(() => this.abandonInTurn());

  /** Like `abandon`, for the holder of the write turn. */
  async abandonInTurn(): Promise<void> {
    const { meta } = this.#core;
    const { staging } = meta;
    if (staging === null) return;
    const tables: Record<TableId, TableMeta> = { ...meta.tables };
    for (const table of staging.filling)
      tables[table] = { ...tableMeta(meta, table), state: 'empty' };
    await this.#core.commit({
      meta: { ...meta, tables, staging: null, discarded: [...meta.discarded, staging.layer] },
      touched: 'all',
      change: { kind: 'flip', tables: everything(staging.filling) },
    });
  }

  readonly flip = async (closing: Closing): Promise<void> => {
    const core = this.#core;
    if (core.meta.staging === null) await this.begin('pull', closing.cursor);
    await core.turn.run(async () => {
      const staging = this.#staging();
      invariant(staging.closing === null, 'the closing page came already');
      const covered = new Set([...closing.tables, ...systemTables.map(({ id }) => id)]);
      const info: Closing = { ...closing, tables: [...covered].sort((a, b) => a - b) };
      await core.commit({
        meta: {
          ...core.meta,
          staging: {
            ...staging,
            closing: { info, indexed: firstIndexed(core, staging), returning: 0, table: 0, id: '' },
          },
        },
      });
    });
    await this.finish();
  };

  /** Finishes a flip whose closing page is known: at open, after a crash, or after the storage failed. */
  readonly finish = async (): Promise<void> => {
    const core = this.#core;
    const { staging } = core.meta;
    const info = staging?.closing?.info;
    if (staging === null || info === undefined) return;
    await this.#index(staging);
    // Nothing more is staged, so the sync errors of the new image are known.
    const open = await readOpenRanges(core.store, core.meta, core.stagedStack());
    const rebase = new Rebase(core, {
      layer: staging.layer,
      mergedTo: info.mergedTo,
      open,
      tables: info.tables,
      // Versions of another incarnation, or rows projected otherwise, may look alike and differ.
      force:
        staging.kind === 'repair' ||
        (core.meta.incarnation !== 0 && info.incarnation !== core.meta.incarnation),
    });
    while (!(await core.turn.run(() => this.#step(rebase, info, open))));
  };

  /** Stores the entries of rows that a fill stored in blocks. Blocks that are damaged end the staging. */
  async #index(staging: StagingMeta): Promise<void> {
    const indexes = new FilledIndexes(this.#core, staging);
    try {
      for (let from = staging.closing?.indexed ?? null; from !== null;)
        from = await this.#indexPart(indexes, from);
    } catch (cause) {
      if (cause instanceof TidemarkError && cause.code === 'storage-damaged') await this.abandon();
      throw cause;
    }
  }

  /** Stores one run for each index of a filled table: others may write while its rows are read. */
  async #indexPart(indexes: FilledIndexes, from: IndexedTo): Promise<IndexedTo | null> {
    const core = this.#core;
    const part = await indexes.read(from);
    if (part === null) return null;
    await core.turn.run(async () => {
      const { meta } = core;
      const staging = this.#staging();
      const first = meta.nextRun ?? 1;
      const runs = part.draft.runs(staging.layer, part.table, first);
      const entries = staging.entries + part.draft.count;
      const closing = { ...this.#closing(), indexed: part.to };
      await core.commit({
        batch: { runs },
        meta: { ...meta, nextRun: first + runs.length, staging: { ...staging, entries, closing } },
      });
    });
    return part.to;
  }

  /**
   * One bounded step under the write turn; true after the flip. Only what was found is stored: tables without
   * views on the way are passed over, so that a flip writes no more than the views it moves.
   */
  async #step(rebase: Rebase, info: Closing, open: OpenRanges): Promise<boolean> {
    const { returning, table, id } = this.#closing();
    let place: Place = { table, id };
    if (returning !== null) {
      const { puts, position } = await rebase.returning(returning);
      if (position !== null) return this.#advance(puts, { returning: position });
      place = { table: info.tables[0] ?? afterAllTables, id: '' };
      // Views are built on what came back, which must be stored for that.
      if (puts.length > 0) return this.#advance(puts, { returning: null, ...place });
    }
    for (let looked = 0; place.table !== afterAllTables && looked < viewsPerStep;) {
      const found = await this.#views(rebase, info, place);
      looked += found.looked;
      ({ place } = found);
      if (found.puts.length > 0) return this.#advance(found.puts, { returning: null, ...place });
    }
    if (place.table !== afterAllTables) return this.#advance([], { returning: null, ...place });
    await this.#flipNow(info, open);
    return true;
  }

  /** Views of a table behind a place, and the place behind them. */
  async #views(
    rebase: Rebase,
    info: Closing,
    { table: at, id }: Place,
  ): Promise<{
    readonly puts: readonly LayerPut[];
    readonly place: Place;
    readonly looked: number;
  }> {
    const next: Place = { table: info.tables.find((one) => one > at) ?? afterAllTables, id: '' };
    const table = this.#core.schema.tablesById.get(at);
    if (table === undefined) return { puts: [], place: next, looked: 0 };
    const { puts, position, looked } = await rebase.views(table, id);
    return { puts, looked, place: position === null ? next : { table: at, id: position } };
  }

  /** Stores what a step found, and how far it got; the flip is still to come. */
  async #advance(puts: readonly LayerPut[], to: Partial<ClosingMeta>): Promise<false> {
    const core = this.#core;
    const staging = this.#staging();
    const entries = staging.entries + puts.length;
    await core.commit({
      batch: { puts },
      meta: {
        ...core.meta,
        staging: { ...staging, entries, closing: { ...this.#closing(), ...to } },
      },
    });
    return false;
  }

  #closing(): ClosingMeta {
    const { closing } = this.#staging();
    invariant(closing !== null, 'a step of a flip without a closing page');
    return closing;
  }

  async #holdsRows(layer: number): Promise<boolean> {
    const { store, schema, meta } = this.#core;
    const tables = new Set([...schema.tablesById.keys(), ...Object.keys(meta.tables).map(Number)]);
    for (const table of tables)
      for (const space of ['image', 'view'] as const)
        if ((await store.scanLayer(space, table, layer, undefined, 1)).length > 0) return true;
    return false;
  }

  async #flipNow(info: Closing, open: OpenRanges): Promise<void> {
    const core = this.#core;
    const { meta } = core;
    const staging = this.#staging();
    const tables: Record<TableId, TableMeta> = { ...meta.tables };
    for (const table of info.tables)
      tables[table] = {
        state: 'current',
        at: info.to,
        asOfMs: info.asOfMs,
        mergedTo: info.mergedTo,
        repair: false,
      };
    const same = info.incarnation === meta.incarnation;
    // A write that failed and was applied all the same put in what nobody has counted.
    const kept = staging.entries > 0 || (await this.#holdsRows(staging.layer));
    await core.commit({
      batch: { notes: [{ key: openNote, value: null }] },
      meta: {
        ...meta,
        tables,
        staging: null,
        layers: kept ? [staging.layer, ...meta.layers] : meta.layers,
        layerEntries: kept
          ? { ...meta.layerEntries, [staging.layer]: Math.max(1, staging.entries) }
          : meta.layerEntries,
        cursor: info.cursor,
        incarnation: info.incarnation,
        version: same ? Math.max(meta.version, info.to) : info.to,
        mergedTo: same ? Math.max(meta.mergedTo, info.mergedTo) : info.mergedTo,
      },
      open,
      touched: 'all',
      change: { kind: 'flip', tables: everything(info.tables) },
    });
  }
}
