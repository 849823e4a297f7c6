import {
  decodeRow,
  encodeTransaction,
  nextHead,
  storeTransaction,
  tickHlc,
  TidemarkError,
  transactionBytesMax,
  transactionOpsMax,
  saltBytes,
  type Atomicity,
  type Operation,
  type RecordId,
  type RowFields,
  type SchemaTable,
  type TableId,
} from '@tidemark/model';
import { compareTexts } from '@tidemark/filter';
import { compactDocuments, needsCrdt, type KnownTexts } from '@tidemark/merge';
import type { LayerPut, LogEntry } from '@tidemark/ports';
import type { EditDraft } from './edit-draft.js';
import { pushIndexPuts } from './index-entries.js';
import { appendRun, firstOfRuns, lastOfRuns, noRuns } from './op-runs.js';
import {
  baseOfView,
  decodeView,
  encodeView,
  rowBytesOf,
  viewOfImage,
  viewWith,
  type PendingView,
  type ViewContext,
} from './pending-view.js';
import type { ReplicaCore } from './replica-core.js';
import type { SessionRecord } from './session-record.js';

/** Maximum bytes of a record with its texts, saved anew: it must fit a page of the download. */
export const recordBytesMax = 512 * 1024;

/** Parts of an operation that the editor decides; the session adds base, prev, seen and row. */
export type OperationParts = Pick<Operation, 'kind' | 'set' | 'inc' | 'crdt'>;

/** Fields of a view as its user sees them; null when it shows no record. */
export const visibleFields = (view: PendingView | null): RowFields | null =>
  view === null || view.deleted ? null : view.row.fields;

const greatestSeen = (view: PendingView | null, parts: OperationParts): number => {
  let seen = 0;
  for (const { field } of parts.set) seen = Math.max(seen, view?.row.editedAt[field] ?? 0);
  return seen;
};

/**
 * View for an image under way that lacks the record: its author keeps seeing what it sees until the
 * operation is decided. `staged` is the view there so far.
 */
const withoutImage = (
  before: PendingView,
  after: PendingView,
  staged: PendingView | null,
  index: number,
): PendingView => ({
  ...after,
  onImage: false,
  ops: appendRun(staged?.ops ?? noRuns, index),
  beneath: staged === null ? (before.deleted ? null : before.row) : staged.beneath,
});

/** One transaction in the making: reads records once, sees its own edits, writes all or nothing. */
export class EditSession {
  readonly core: ReplicaCore;
  readonly #draft: EditDraft;
  readonly #wallMs: number;
  readonly #records = new Map<string, SessionRecord>();
  readonly #ops: Operation[] = [];
  readonly #firstIndex: number;

  /** The session goes on behind what the draft of a write holds so far. */
  constructor(draft: EditDraft) {
    const { core } = draft;
    this.core = core;
    this.#draft = draft;
    this.#wallMs = core.options.clock.nowMs();
    this.#firstIndex = draft.end.lastIndex + 1;
  }

  /** Time (ms) of this session. */
  get wallMs(): number {
    return this.#wallMs;
  }

  /** Reads a record, or gives the one that the session holds. A `fresh` id was never used by anybody. */
  async record(table: SchemaTable, id: RecordId, fresh = false): Promise<SessionRecord> {
    const key = `${table.id}/${id}`;
    const held = this.#records.get(key);
    if (held !== undefined) return held;
    const record = this.#drafted(table, id, key) ?? (await this.#stored(table, id, fresh));
    this.#records.set(key, record);
    return record;
  }

  /** Record as an earlier transaction of the same write leaves it. */
  #drafted(table: SchemaTable, id: RecordId, key: string): SessionRecord | undefined {
    const drafted = this.#draft.record(key);
    if (drafted === undefined) return undefined;
    const { view, staged } = drafted;
    return {
      table,
      id,
      view,
      before: visibleFields(view),
      staged: staged && { view: staged.view, before: visibleFields(staged.view) },
      changed: false,
    };
  }

  async #stored(table: SchemaTable, id: RecordId, fresh: boolean): Promise<SessionRecord> {
    const { core } = this;
    const view = fresh ? null : await this.#read(table.id, id, core.readStack(table.id));
    const both = !core.isFilling(table.id) && core.isStaged(table.id, id, compareTexts);
    const staged = both && !fresh ? await this.#read(table.id, id, core.stagedStack()) : null;
    return {
      table,
      id,
      view,
      before: visibleFields(view),
      staged: both ? { view: staged, before: visibleFields(staged) } : null,
      changed: false,
    };
  }

  async #read(
    table: TableId,
    id: RecordId,
    layers: readonly number[],
  ): Promise<PendingView | null> {
    const { store } = this.core;
    const [view] = await store.getRows('view', table, [id], layers);
    if (view !== undefined) return decodeView(view);
    // The session holds the write turn, so nothing comes in between the two reads.
    const [image] = await store.getRows('image', table, [id], layers);
    return image === undefined ? null : viewOfImage(decodeRow(image));
  }

  /** Adds an operation on a record and applies it to what the session sees. */
  async add(record: SessionRecord, parts: OperationParts, known?: KnownTexts): Promise<void> {
    if (this.#ops.length >= transactionOpsMax)
      throw new TidemarkError('transaction-too-large', 'more than 1,000 operations', {
        operations: this.#ops.length + 1,
      });
    const { core } = this;
    const index = this.#firstIndex + this.#ops.length;
    const earlier = record.view?.ops ?? noRuns;
    const last = lastOfRuns(earlier);
    // Member by member: spreading and then overwriting costs ten times as much.
    const op: Operation = {
      table: record.table.id,
      record: record.id,
      kind: parts.kind,
      base: baseOfView(record.view),
      prev: last === 0 ? 0 : index - last,
      since: last === 0 ? 0 : index - firstOfRuns(earlier),
      seen: greatestSeen(record.view, parts),
      set: parts.set,
      inc: parts.inc,
      crdt: parts.crdt,
      row: null,
    };
    const crdt = needsCrdt(record.table, op) ? await core.crdt() : null;
    const { tenant, user } = core.meta;
    const context = (): ViewContext => {
      const { table } = record;
      return { tenant, user, table, crdt, sides: new Map() };
    };
    const view = viewWith(record.view, op, index, this.#wallMs, context(), known);
    this.#ops.push(
      record.table.rule === 'device-wins-full' && op.kind === 'update'
        ? { ...op, row: wholeRow(record.table, view.row.fields) }
        : op,
    );
    if (record.staged !== null) {
      const { view: staged } = record.staged;
      record.staged.view =
        record.view === null || staged?.onImage === true
          ? viewWith(staged, op, index, this.#wallMs, context())
          : withoutImage(record.view, view, staged, index);
    }
    record.view = view;
    record.changed = true;
  }

  /** Number of operations so far. */
  get size(): number {
    return this.#ops.length;
  }

  /**
   * Adds everything to the draft, or nothing; false when there is nothing to add. Throws when a bound is
   * exceeded.
   */
  async finish(atomicity: Atomicity): Promise<boolean> {
    if (this.#ops.length === 0) return false;
    const { core } = this;
    const hlc = tickHlc(this.#draft.hlc, this.#wallMs);
    const puts: LayerPut[] = [];
    const touched = new Map<TableId, RecordId[]>();
    const records = new Map<string, SessionRecord>();
    for (const [key, record] of this.#records) {
      if (!record.changed) continue;
      records.set(key, record);
      await this.#pushPuts(puts, record);
      const ids = touched.get(record.table.id);
      if (ids === undefined) touched.set(record.table.id, [record.id]);
      else ids.push(record.id);
    }
    const entry = this.#entry(
      encodeTransaction({
        schemaVersion: core.schema.customization.version,
        hlc,
        atomicity,
        ops: this.#ops,
      }),
    );
    this.#draft.take({ entry, puts, hlc, records, touched });
    return true;
  }

  #entry(payload: Uint8Array): LogEntry {
    const { crypto } = this.core.options;
    const bytes = storeTransaction(this.#ops.length, this.core.random(saltBytes), payload);
    if (bytes.length > transactionBytesMax)
      throw new TidemarkError('transaction-too-large', 'the transaction exceeds 256 KB', {
        bytes: bytes.length,
      });
    const head = nextHead(
      this.#draft.end.head,
      {
        opCount: this.#ops.length,
        payload,
        header: bytes.subarray(0, 8),
        digest: crypto.sha256(bytes.subarray(8)),
      },
      crypto.sha256,
    );
    return { index: this.#firstIndex, opCount: this.#ops.length, head, bytes };
  }

  async #pushPuts(puts: LayerPut[], record: SessionRecord): Promise<void> {
    const { core } = this;
    const { table, id, view, staged } = record;
    const indexes = core.indexesOf(table);
    const one = (
      layer: number,
      shown: PendingView | null,
      value: Uint8Array,
      before: RowFields | null,
      sure: boolean,
    ): void => {
      puts.push({ space: 'view', layer, table: table.id, id, value });
      const target = { layer, table: table.id, id };
      pushIndexPuts(puts, target, indexes, [before], visibleFields(shown), sure);
    };
    const filling = core.isFilling(table.id);
    const value = await this.#encode(record, view);
    one(core.topLayer, view, value, record.before, !filling);
    const layer = core.meta.staging?.layer as number;
    // While a table fills, readers look through the staged layer first: it must say the same.
    if (filling) one(layer, view, value, record.before, false);
    if (staged !== null)
      one(layer, staged.view, await this.#encode(record, staged.view), staged.before, true);
  }

  /** View as it is stored. Its documents are saved anew before the record is refused as too large. */
  async #encode({ table, id }: SessionRecord, shown: PendingView | null): Promise<Uint8Array> {
    const view = shown as PendingView;
    const value = encodeView(view);
    if (rowBytesOf(value) <= recordBytesMax) return value;
    const { row } = view;
    const docs =
      Object.keys(row.docs).length === 0
        ? row.docs
        : compactDocuments(await this.core.crdt(), row.docs);
    const compacted = encodeView({ ...view, row: { ...row, docs } });
    const bytes = rowBytesOf(compacted);
    if (bytes <= recordBytesMax) return compacted;
    throw new TidemarkError('record-too-large', 'the record exceeds 512 KB', {
      table: table.name,
      record: id,
      bytes,
    });
  }
}

/** The author's whole row, for device-wins-full: counters and texts stay with the server. */
const wholeRow = (table: SchemaTable, fields: RowFields): NonNullable<Operation['row']> =>
  table.fields
    .filter(({ type }) => type !== 'counter' && type !== 'text')
    .map(({ id }) => ({ field: id, value: fields[id] ?? null }));
