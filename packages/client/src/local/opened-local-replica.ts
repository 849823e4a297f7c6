import {
  decodeRow,
  isRecordId,
  TidemarkError,
  type Atomicity,
  type Customization,
  type FieldId,
  type RecordId,
  type Schema,
  type ServerVersion,
  type TableId,
} from '@tidemark/model';
import type { AbortSignalLike, LogEnd, LogEntry, ReplicaStore } from '@tidemark/ports';
import { clearEverything, clearImage } from './clearing.js';
import { damageNoteOf, namesDamage } from './damage-note.js';
import { EditDraft } from './edit-draft.js';
import { EditGroups } from './edit-groups.js';
import { EditSession } from './edit-session.js';
import type { Folding } from './folding.js';
import type {
  EditOptions,
  HeldRow,
  LocalChange,
  LocalDamage,
  LocalReplica,
  MetaChange,
  PendingOperation,
  Query,
  RecordState,
  RecordView,
  Rewrap,
  Staging,
  TextEdit,
  TransactionEdits,
} from './local-replica.js';
import { closeHoles } from './log-mending.js';
import { markPublished, rewrap, trimLog } from './log-upkeep.js';
import { indexesOf } from './op-runs.js';
import { PendingList } from './pending-list.js';
import { decodeView } from './pending-view.js';
import { planQuery } from './query-plan.js';
import {
  createRecord,
  deleteRecord,
  editTextField,
  incrementField,
  updateRecord,
} from './record-edits.js';
import { RecordIds } from './record-ids.js';
import { recordView } from './record-view.js';
import type { ReplicaCore } from './replica-core.js';
import type { ReplicaMeta } from './replica-meta.js';
import {
  consistentRead,
  layoutRead,
  scanContents,
  scanVisible,
  visibleRows,
} from './row-reader.js';
import { countQuery, runQuery } from './run-query.js';
import { adopt, backfillIndexes } from './schema-adoption.js';
import { versionOfRow } from './staged-pages.js';
import type { LayerStaging } from './staging.js';
import { watchCallback, watchIterable } from './watch.js';

/** Most records of one page of `scan`. */
export const scanPageMax = 1_000;

/** A misspelt option must not pass for the default one. */
const oneOf = (option: string, value: string, known: readonly string[]): void => {
  if (!known.includes(value))
    throw new TidemarkError('invalid-option', `${option} is ${known.join(' or ')}`, { option });
};

/** The local half of a replica, open. */
export class OpenedLocalReplica implements LocalReplica {
  readonly damage: LocalDamage;
  readonly staging: Staging;
  readonly #core: ReplicaCore;
  readonly #layers: LayerStaging;
  readonly #folding: Folding;
  readonly #ids: RecordIds;
  readonly #groups: EditGroups;
  #keepsDamage: boolean;

  constructor(
    core: ReplicaCore,
    parts: {
      readonly staging: LayerStaging;
      readonly folding: Folding;
      readonly damage: LocalDamage;
    },
  ) {
    this.#core = core;
    this.#layers = parts.staging;
    this.#folding = parts.folding;
    this.#ids = new RecordIds(core.options.clock, { bytes: (count) => core.random(count) });
    this.#groups = new EditGroups(core);
    this.staging = parts.staging;
    this.damage = parts.damage;
    this.#keepsDamage = namesDamage(parts.damage);
  }

  readonly meta = (): ReplicaMeta => this.#core.meta;
  readonly schema = (): Schema => this.#core.schema;
  readonly logEnd = (): LogEnd => this.#core.store.log.end();
  readonly logStart = (): number => this.#core.store.log.firstIndex();
  readonly logBase = (): LogEnd => this.#core.store.log.base();
  readonly isOpen = (index: number): boolean => this.#core.open.has(index);
  readonly pendingCount = (): { readonly pending: number; readonly parked: number } =>
    this.#core.pendingCount();

  readonly updateMeta = (change: MetaChange): Promise<void> =>
    this.#core.turn.run(() =>
      this.#core.commit({
        meta: { ...this.#core.meta, ...change },
        change: { kind: 'meta', tables: new Map() },
      }),
    );

  readonly adoptCustomization = async (customization: Customization): Promise<void> => {
    const core = this.#core;
    await core.turn.run(async () => {
      if (customization.version <= core.schema.customization.version) return;
      await this.#layers.abandonInTurn();
      await adopt(core, customization);
    });
    await backfillIndexes(core);
  };

  readonly readLog = (from: number, maxBytes: number): Promise<readonly LogEntry[]> =>
    this.#core.store.log.read(from, maxBytes);
  readonly markPublished = async (to: number): Promise<void> => {
    if (this.#core.logHasHoles) await closeHoles(this.#core);
    await markPublished(this.#core, to);
  };
  readonly rewrap = (change: Rewrap): Promise<void> => rewrap(this.#core, change);
  readonly trimLog = (to: number): Promise<void> => trimLog(this.#core, to);
  readonly fold = (steps: number): Promise<boolean> => this.#folding.fold(steps);

  readonly heldRows = async (
    table: TableId,
    after: RecordId | null,
    upTo: RecordId | null,
    limit: number,
  ): Promise<readonly HeldRow[]> => {
    const page = await this.#core.store.scanRows('image', table, {
      layers: this.#core.stagedStack(),
      limit,
      ...(after === null ? {} : { after }),
      ...(upTo === null ? {} : { upTo }),
    });
    return page.rows.map(({ id, value }) => ({ id, version: versionOfRow(value) }));
  };

  readonly forgetDamage = async (): Promise<void> => {
    if (!this.#keepsDamage) return;
    await this.writeNotes([damageNoteOf(null)]);
    this.#keepsDamage = false;
  };
  readonly readNote = (key: string): Promise<Uint8Array | undefined> =>
    this.#core.store.readNote(key);
  readonly writeNotes = (
    notes: readonly { readonly key: string; readonly value: Uint8Array | null }[],
  ): Promise<void> => this.#core.turn.run(() => this.#core.commit({ batch: { notes } }));
  readonly scanNotes: ReplicaStore['scanNotes'] = (prefix, limit, reverse) =>
    this.#core.store.scanNotes(prefix, limit, reverse);

  /** `isShort` tells that the edit waits for nobody's callback: then it may share its turn with others. */
  async #edit<A>(
    options: (EditOptions & { readonly atomicity?: Atomicity }) | undefined,
    work: (session: EditSession) => Promise<A>,
    isShort = true,
  ): Promise<A> {
    const core = this.#core;
    const durability = options?.durability ?? core.options.durability ?? 'os';
    const atomicity = options?.atomicity ?? 'whole';
    let synced: Promise<void> | undefined;
    let made: A | undefined;
    // Also for an edit that changes nothing: what it relies on may not be fsynced yet.
    const written = (): void => {
      if (durability === 'disk') synced = core.fsyncs.join();
    };
    const edit = async (session: EditSession): Promise<boolean> => {
      oneOf('durability', durability, ['os', 'disk']);
      oneOf('atomicity', atomicity, ['whole', 'per-record']);
      made = await work(session);
      return session.finish(atomicity);
    };
    if (isShort) await this.#groups.run(edit, written);
    else
      await core.turn.run(async () => {
        const draft = new EditDraft(core);
        await edit(new EditSession(draft));
        await draft.write();
        written();
      });
    // Outside of the turn, so that the edits behind this one are written meanwhile and share the fsync.
    if (synced !== undefined) await synced;
    return made as A;
  }

  readonly create = (
    table: string,
    fields: Readonly<Record<string, unknown>>,
    options?: EditOptions & { readonly id?: RecordId },
  ): Promise<RecordId> =>
    this.#edit(options, (session) => createRecord(session, this.#ids, table, fields, options?.id));

  readonly update = (
    table: string,
    id: RecordId,
    fields: Readonly<Record<string, unknown>>,
    options?: EditOptions,
  ): Promise<void> => this.#edit(options, (session) => updateRecord(session, table, id, fields));

  readonly delete = (table: string, id: RecordId, options?: EditOptions): Promise<void> =>
    this.#edit(options, (session) => deleteRecord(session, table, id));

  readonly increment = (
    table: string,
    id: RecordId,
    field: string,
    by: number,
    options?: EditOptions,
  ): Promise<void> =>
    this.#edit(options, (session) => incrementField(session, table, id, field, by));

  readonly editText = (
    table: string,
    id: RecordId,
    field: string,
    edit: TextEdit,
    options?: EditOptions,
  ): Promise<void> =>
    this.#edit(options, (session) => editTextField(session, table, id, field, edit));

  readonly transaction = <A>(
    callback: (edits: TransactionEdits) => Promise<A> | A,
    options?: EditOptions & { readonly atomicity?: Atomicity },
  ): Promise<A> =>
    this.#edit(
      options,
      async (session) => {
        const edits = new SessionEdits(session, this.#ids);
        try {
          const result = await callback(edits);
          await edits.settled();
          if (edits.calls === 0)
            throw new TidemarkError('transaction-empty', 'the transaction edited nothing', {});
          return result;
        } finally {
          edits.close();
        }
      },
      false,
    );

  readonly get = (table: string, id: RecordId): Promise<RecordView | undefined> =>
    layoutRead(this.#core, async () => {
      const found = this.#core.table(table);
      if (!isRecordId(id)) return undefined;
      const [row] = await visibleRows(this.#core, found.id, [id]);
      return row === undefined ? undefined : recordView(found, id, row.fields);
    });

  readonly recordState = (table: string, id: RecordId): Promise<RecordState> =>
    layoutRead(this.#core, async () => {
      const core = this.#core;
      const { id: tableId } = core.table(table);
      if (!isRecordId(id)) return 'current';
      const [bytes] = await core.store.getRows('view', tableId, [id], core.readStack(tableId));
      if (bytes === undefined) return 'current';
      for (const index of indexesOf(decodeView(bytes).ops))
        if (core.open.has(index)) return 'parked';
      return 'pending';
    });

  async #imageRow(table: string, id: RecordId): Promise<Uint8Array | undefined> {
    const core = this.#core;
    const { id: tableId } = core.table(table);
    return layoutRead(core, async () => {
      const [bytes] = await core.store.getRows('image', tableId, [id], core.readStack(tableId));
      return bytes;
    });
  }

  readonly recordVersion = async (
    table: string,
    id: RecordId,
  ): Promise<ServerVersion | undefined> => {
    const bytes = await this.#imageRow(table, id);
    return bytes === undefined ? undefined : versionOfRow(bytes);
  };

  readonly serverRecord = async (table: string, id: RecordId): Promise<RecordView | undefined> => {
    const bytes = await this.#imageRow(table, id);
    return bytes === undefined
      ? undefined
      : recordView(this.#core.table(table), id, decodeRow(bytes).fields);
  };

  readonly query = async (tableName: string, query: Query = {}): Promise<readonly RecordView[]> => {
    const core = this.#core;
    const table = core.table(tableName);
    // Planned with each read: while a table fills, its indexes are behind.
    const rows = await consistentRead(core, table.id, async () =>
      runQuery(core, table, planQuery(table, core.indexesOf(table), query)),
    );
    return rows.map(({ id, row }) => recordView(table, id, row.fields));
  };

  readonly count = async (tableName: string, filter?: Query['filter']): Promise<number> => {
    const core = this.#core;
    const table = core.table(tableName);
    const query = filter === undefined ? {} : { filter };
    return consistentRead(core, table.id, async () =>
      countQuery(core, table, planQuery(table, core.indexesOf(table), query)),
    );
  };

  readonly scan = async (
    tableName: string,
    options: { readonly after?: RecordId; readonly limit?: number } = {},
  ): Promise<readonly RecordView[]> => {
    const table = this.#core.table(tableName);
    const found = await this.#scanPages(table.id, options, scanVisible);
    return found.map(({ id, row }) => recordView(table, id, row.fields));
  };

  readonly scanContents: LocalReplica['scanContents'] = (tableName, options = {}) =>
    this.#scanPages(this.#core.table(tableName).id, options, scanContents);

  /** Rows of one state of a table, from as many pages as `limit` needs. */
  #scanPages<A>(
    table: TableId,
    options: { readonly after?: RecordId; readonly limit?: number },
    read: (
      core: ReplicaCore,
      table: TableId,
      after: RecordId | undefined,
      limit: number,
    ) => Promise<{ readonly rows: readonly A[]; readonly next: RecordId | undefined }>,
  ): Promise<readonly A[]> {
    const core = this.#core;
    const limit = Math.min(options.limit ?? scanPageMax, scanPageMax);
    return consistentRead(core, table, async () => {
      const out: A[] = [];
      let after = options.after;
      do {
        const page = await read(core, table, after, limit);
        for (const row of page.rows) if (out.length < limit) out.push(row);
        after = page.next;
      } while (after !== undefined && out.length < limit);
      return out;
    });
  }

  readonly watch = (
    table: string,
    query: Query = {},
    signal?: AbortSignalLike,
  ): AsyncIterable<readonly RecordView[]> =>
    watchIterable(this.#core, this.#core.table(table), query, signal);

  readonly watchWith = (
    table: string,
    query: Query,
    onResult: (result: readonly RecordView[]) => void | Promise<void>,
    onError?: (error: unknown) => void,
  ): (() => void) => watchCallback(this.#core, this.#core.table(table), query, onResult, onError);

  readonly pending = (
    options: { readonly after?: number; readonly limit?: number } = {},
  ): Promise<readonly PendingOperation[]> =>
    layoutRead(this.#core, () => new PendingList(this.#core).page(options.after, options.limit));

  readonly fieldName = (table: TableId, field: FieldId): string =>
    this.#core.schema.tablesById.get(table)?.fieldsById.get(field)?.name ?? String(field);

  readonly onChange = (listener: (change: LocalChange) => void): (() => void) =>
    this.#core.listen(listener);

  readonly clear: LocalReplica['clear'] = ({ log, allow }) =>
    log ? clearEverything(this.#core, allow ?? (() => undefined)) : clearImage(this.#core);

  readonly close = (): Promise<void> => this.#core.close();
}

/** Edits of one transaction; refused once the callback has ended. */
class SessionEdits implements TransactionEdits {
  readonly #session: EditSession;
  readonly #ids: RecordIds;
  #closed = false;
  #calls = 0;
  /** Edits follow each other also when the callback does not await them. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(session: EditSession, ids: RecordIds) {
    this.#session = session;
    this.#ids = ids;
  }

  get calls(): number {
    return this.#calls;
  }

  close(): void {
    this.#closed = true;
  }

  /** Waits for edits that the callback did not await. */
  async settled(): Promise<void> {
    await this.#last.catch(() => undefined);
  }

  #do<A>(work: () => Promise<A>): Promise<A> {
    if (this.#closed)
      return Promise.reject(
        new TidemarkError('transaction-closed', 'the transaction has ended', {}),
      );
    const done = this.#last.catch(() => undefined).then(work);
    this.#last = done;
    return done;
  }

  #edit<A>(work: (session: EditSession) => Promise<A>): Promise<A> {
    this.#calls += 1;
    return this.#do(() => work(this.#session));
  }

  readonly create = (
    table: string,
    fields: Readonly<Record<string, unknown>>,
    id?: RecordId,
  ): Promise<RecordId> =>
    this.#edit((session) => createRecord(session, this.#ids, table, fields, id));
  readonly update = (
    table: string,
    id: RecordId,
    fields: Readonly<Record<string, unknown>>,
  ): Promise<void> => this.#edit((session) => updateRecord(session, table, id, fields));
  readonly delete = (table: string, id: RecordId): Promise<void> =>
    this.#edit((session) => deleteRecord(session, table, id));
  readonly increment = (table: string, id: RecordId, field: string, by: number): Promise<void> =>
    this.#edit((session) => incrementField(session, table, id, field, by));
  readonly editText = (table: string, id: RecordId, field: string, edit: TextEdit): Promise<void> =>
    this.#edit((session) => editTextField(session, table, id, field, edit));

  readonly get = (tableName: string, id: RecordId): Promise<RecordView | undefined> =>
    this.#do(async () => {
      const table = this.#session.core.table(tableName);
      const { view } = await this.#session.record(table, id);
      return view === null || view.deleted ? undefined : recordView(table, id, view.row.fields);
    });
}
