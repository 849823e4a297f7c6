import {
  decodeRow,
  openBlock,
  packBlocks,
  rowsOfBlock,
  TidemarkError,
  utf8Decode,
  utf8Encode,
  concatBytes,
  type RecordId,
  type RowBlock,
  type RowFields,
  type SchemaTable,
  type ServerVersion,
  type TableId,
} from '@tidemark/model';
import { compareTexts } from '@tidemark/filter';
import type { LayerBlock, LayerPut, LayerRow } from '@tidemark/ports';
import type { PageEntry, TablePage } from '@tidemark/protocol';
import { visibleFields } from './edit-session.js';
import { pushIndexPuts, type TableIndex } from './index-entries.js';
import type { StagedCounts } from './local-replica.js';
import { decodeView } from './pending-view.js';
import type { ReplicaCore } from './replica-core.js';
import { tableMeta } from './replica-meta.js';

const comma = 0x2c;
const prefixBytesMax = 40;

const versionEnd = (row: Uint8Array): number => {
  const first = row.indexOf(comma);
  return row.indexOf(comma, first + 1);
};

/** Version of row bytes, read from their start without decoding the row. */
export const versionOfRow = (row: Uint8Array): ServerVersion => {
  const text = utf8Decode(row.subarray(1, Math.min(versionEnd(row), prefixBytesMax)));
  const [incarnation, n] = text.split(',');
  return { incarnation: Number(incarnation), n: Number(n) };
};

/** Row bytes with another version: all else stays as it is. */
export const withVersion = (row: Uint8Array, { incarnation, n }: ServerVersion): Uint8Array =>
  concatBytes([utf8Encode(`[${incarnation},${n}`), row.subarray(versionEnd(row))]);

/** Puts that stage pages, with counts; `missing` names tables with a touch of a row that is not held. */
export interface StagedPuts {
  readonly puts: LayerPut[];
  readonly blocks: LayerBlock[];
  readonly counts: Map<TableId, StagedCounts>;
  readonly missing: Set<TableId>;
  /** Last ids of the blocks, by table: known of a layer that holds nothing of the table behind them. */
  readonly ends: Map<TableId, RecordId>;
}

interface PageContext {
  readonly core: ReplicaCore;
  readonly table: SchemaTable;
  readonly indexes: readonly TableIndex[];
  readonly layer: number;
  readonly stack: readonly number[];
  /** Rows put by earlier entries of the same write. */
  readonly fresh: Map<RecordId, Uint8Array | null>;
  /** Last id that the layer holds of the table, when an earlier write left it known. */
  readonly end: RecordId | undefined;
  readonly isFilling: boolean;
}

const heldRows = async (
  context: PageContext,
  ids: readonly RecordId[],
): Promise<readonly (Uint8Array | undefined)[]> => {
  const { core, table, stack } = context;
  return core.store.getRows('image', table.id, ids, stack);
};

const noFields: ReadonlyMap<RecordId, RowFields | null> = new Map();

/** Fields that the user sees of records with pending operations, by id. */
const pendingFields = async (
  context: PageContext,
  ids: readonly RecordId[],
): Promise<ReadonlyMap<RecordId, RowFields | null>> => {
  const { core, table, stack } = context;
  const found = new Map<RecordId, RowFields | null>();
  const end = core.store.log.end().lastIndex;
  const mayHaveViews = tableMeta(core.meta, table.id).mergedTo < end || core.open.count() > 0;
  if (!mayHaveViews) return found;
  const views = await core.store.getRows('view', table.id, ids, stack);
  views.forEach((bytes, i) => {
    if (bytes !== undefined) found.set(ids[i] as RecordId, visibleFields(decodeView(bytes)));
  });
  return found;
};

/**
 * Blocks of a page whose rows may be stored together: of a first fill, in id order, above all that the layer
 * holds. Undefined for any other page.
 */
const blocksOf = async (
  context: PageContext,
  { mode, entries, blocks }: TablePage,
): Promise<readonly RowBlock[] | undefined> => {
  const { core, table, layer, fresh, end, isFilling } = context;
  if (mode !== 'full' || !isFilling || fresh.size > 0) return undefined;
  const lastRow = { layers: [layer], limit: 1, reverse: true };
  let last = end ?? (await core.store.scanRows('image', table.id, lastRow)).rows[0]?.id ?? '';
  const [first] = blocks;
  if (first !== undefined) {
    const [id] = openBlock(first.bytes).ids;
    return compareTexts(last, utf8Decode(id as Uint8Array)) < 0 ? blocks : undefined;
  }
  const rows: LayerRow[] = [];
  for (const entry of entries) {
    if (entry.kind !== 'upsert' || compareTexts(last, entry.id) >= 0) return undefined;
    rows.push({ id: entry.id, value: entry.row });
    last = entry.id;
  }
  return packBlocks(rows);
};

/** Entry of a page as it is staged: the version of a row is in its bytes. */
type StagedEntry =
  | Omit<Extract<PageEntry, { readonly kind: 'upsert' }>, 'version'>
  | Exclude<PageEntry, { readonly kind: 'upsert' }>;

/** Entries of a page, also of one that holds blocks. */
const entriesOf = ({ entries, blocks }: TablePage): readonly StagedEntry[] => {
  if (blocks.length === 0) return entries;
  const rows: StagedEntry[] = [];
  for (const { bytes } of blocks)
    for (const { id, value } of rowsOfBlock(bytes)) rows.push({ kind: 'upsert', id, row: value });
  return rows;
};

const addCounts = (out: StagedPuts, table: TableId, count: StagedCounts): void => {
  const sum = out.counts.get(table) ?? { upserts: 0, touches: 0, evicts: 0 };
  out.counts.set(table, {
    upserts: sum.upserts + count.upserts,
    touches: sum.touches + count.touches,
    evicts: sum.evicts + count.evicts,
  });
};

const stagePage = async (out: StagedPuts, page: TablePage, context: PageContext): Promise<void> => {
  const { table, layer, fresh, isFilling } = context;
  const blocks = await blocksOf(context, page);
  for (const block of blocks ?? []) out.blocks.push({ layer, table: table.id, block });
  const lastBlock = blocks?.at(-1);
  if (lastBlock === undefined) out.ends.delete(table.id);
  else out.ends.set(table.id, utf8Decode(lastBlock.last));
  if (blocks !== undefined && page.blocks.length > 0) {
    // Nothing else is to be known of these rows: they are stored as they came, and indexed before the flip. A later
    // page of the same write must see that it is not the first.
    fresh.set('', null);
    const upserts = blocks.reduce((sum, { count }) => sum + count, 0);
    addCounts(out, table.id, { upserts, touches: 0, evicts: 0 });
    return;
  }
  // Rows in blocks are indexed before the flip.
  const indexes = blocks === undefined ? context.indexes : [];
  const entries = entriesOf(page);
  const ids = entries.map(({ id }) => id);
  // The first full page of an empty table replaces nothing; neither does a table without indexes.
  const looksBack =
    entries.some(({ kind }) => kind === 'touch') ||
    (indexes.length > 0 && !(page.mode === 'full' && isFilling));
  const held = looksBack ? await heldRows(context, ids) : [];
  const pending = indexes.length === 0 ? noFields : await pendingFields(context, ids);
  const count = { upserts: 0, touches: 0, evicts: 0 };
  entries.forEach((entry, i) => {
    const { id } = entry;
    const old = fresh.has(id) ? (fresh.get(id) ?? undefined) : held[i];
    let value: Uint8Array | null = null;
    if (entry.kind === 'upsert') {
      value = entry.row;
      count.upserts += 1;
    } else if (entry.kind === 'evict') count.evicts += 1;
    else {
      count.touches += 1;
      if (old === undefined) {
        out.missing.add(table.id);
        return;
      }
      value = withVersion(old, entry.version);
    }
    fresh.set(id, value);
    if (blocks === undefined) out.puts.push({ space: 'image', layer, table: table.id, id, value });
    if (indexes.length === 0 || entry.kind === 'touch') return;
    const target = { layer, table: table.id, id };
    const before = old === undefined ? null : decodeRow(old).fields;
    const after = value === null ? null : decodeRow(value).fields;
    pushIndexPuts(out.puts, target, indexes, [before], after, false);
    const shown = pending.get(id);
    // Until views are put on the new image, the entries of what the user sees must not be hidden.
    if (shown !== undefined && shown !== null)
      pushIndexPuts(out.puts, target, indexes, [], shown, false);
  });
  addCounts(out, table.id, count);
};

/** Where pages are staged: `ends` is what the write before left known of the layer. */
export interface StagedPlace {
  readonly layer: number;
  /** Tables that fill for the first time, those of these pages included. */
  readonly filling: readonly TableId[];
  readonly ends: ReadonlyMap<TableId, RecordId>;
}

/** Turns pages into puts on the staged layer. Rows are stored as they came, undecoded without indexes. */
export const stagePages = async (
  core: ReplicaCore,
  pages: readonly TablePage[],
  { layer, filling, ends }: StagedPlace,
): Promise<StagedPuts> => {
  const out: StagedPuts = {
    ...{ puts: [], blocks: [], counts: new Map(), missing: new Set() },
    ends: new Map(ends),
  };
  const freshByTable = new Map<TableId, Map<RecordId, Uint8Array | null>>();
  for (const page of pages) {
    const table = core.schema.tablesById.get(page.table);
    if (table === undefined)
      throw new TidemarkError('unknown-table', 'a page is of a table that the schema lacks', {
        table: page.table,
      });
    const fresh = freshByTable.get(page.table) ?? new Map<RecordId, Uint8Array | null>();
    freshByTable.set(page.table, fresh);
    await stagePage(out, page, {
      core,
      table,
      indexes: core.indexesOf(table),
      layer,
      stack: core.stagedStack(),
      fresh,
      end: ends.get(page.table),
      isFilling: filling.includes(page.table),
    });
  }
  return out;
};
