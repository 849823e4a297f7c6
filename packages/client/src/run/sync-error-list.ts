import {
  checkValue,
  invariant,
  resolutionFields,
  resolutionsTable,
  syncErrorFromFields,
  syncErrorsTable,
  TidemarkError,
  type RecordId,
  type ResolutionAction,
  type ResolutionChoice,
  type ResolutionVerdict,
  type RowFields,
  type SchemaTable,
  type ShownVersion,
  type SyncErrorConflict,
  type SyncErrorKind,
  type SyncErrorRow,
  type SyncErrorState,
  type Value,
} from '@tidemark/model';
import type { AbortSignalLike } from '@tidemark/ports';
import type { EditOptions, LocalReplica, RecordView } from '../local/local-replica.js';
import { newestValues } from './newest-values.js';

/** Most sync errors that a list returns. */
export const syncErrorsListMax = 10_000;
const pageRecords = 500;

/** One field that no rule could decide. `field` null: whether the record lives (values true and false). */
export interface ConflictView {
  readonly table: string;
  readonly record: RecordId;
  readonly field: string | null;
  /** What the author had seen, what it wrote, and what the server holds in the image now. */
  readonly base: Value;
  readonly ours: Value;
  readonly theirs: Value;
  readonly rule: string;
}

/** A failure kept for a person, by names. */
export interface SyncErrorView {
  /** OpId text of the root. */
  readonly id: string;
  readonly kind: SyncErrorKind;
  readonly state: SyncErrorState;
  readonly message: string;
  readonly table: string;
  readonly record: RecordId;
  readonly conflicts: readonly ConflictView[];
  /** Operations that wait: of the root transaction and of its dependents. */
  readonly operations: number;
  readonly parkedOn: number;
  /** What `resolve` takes now; empty when it is decided. */
  readonly actions: readonly ResolutionAction[];
  /** True while a resolution of this replica is on its way. */
  readonly resolving: boolean;
  readonly lastResolution: { readonly id: string; readonly verdict: ResolutionVerdict } | null;
  /** Versions of the records as they are shown here: a resolution names them. */
  readonly shown: readonly ShownVersion[];
}

/** A person's choice for one conflict. `value` is the new value when `pick` says so. */
export interface ConflictChoice {
  readonly table: string;
  readonly record: RecordId;
  readonly field: string | null;
  readonly pick: 'mine' | 'theirs' | 'value';
  readonly value?: Value;
}

/** What to do with a sync error. `merge` needs a choice for every conflict. */
export interface ResolveOptions extends EditOptions {
  readonly action: ResolutionAction;
  readonly choices?: readonly ConflictChoice[];
  /** The error as it was shown; the newest one when left out. */
  readonly shown?: readonly ShownVersion[];
}

/** Sync errors of a replica. */
export interface SyncErrorList {
  /** Open and ignored ones, oldest id first; `all` also the resolved ones that are still kept. */
  readonly list: (options?: {
    readonly state?: 'waiting' | 'open' | 'ignored' | 'resolved' | 'all';
  }) => Promise<readonly SyncErrorView[]>;
  readonly get: (id: string) => Promise<SyncErrorView | undefined>;
  /** Emits the waiting ones now and after each change. A slow consumer gets the newest list only. */
  readonly watch: (signal?: AbortSignalLike) => AsyncIterable<readonly SyncErrorView[]>;
  /**
   * Decides: an operation like any other, also offline. Resolves with the id of the resolution; its
   * verdict comes back in `lastResolution`. Rejects with `invalid-resolution` or `invalid-value`.
   */
  readonly resolve: (id: string, options: ResolveOptions) => Promise<RecordId>;
}

const tableOf = (local: LocalReplica, id: number): SchemaTable | undefined =>
  local.schema().tablesById.get(id);

const systemTable = (local: LocalReplica, id: number): SchemaTable => {
  const table = tableOf(local, id);
  invariant(table !== undefined, 'every schema has the system tables');
  return table;
};

/** Fields by numeric id of a record that was read by names. */
export const fieldsOfView = (table: SchemaTable, view: RecordView): RowFields => {
  const fields: Record<number, Value> = {};
  for (const { id, name } of table.fields) {
    const value = view[name];
    if (value !== null && value !== undefined) fields[id] = value;
  }
  return fields;
};

/** Actions that fit a sync error in its state. */
export const actionsFor = (row: SyncErrorRow): readonly ResolutionAction[] => {
  if (row.state === 'resolved') return [];
  if (row.state === 'ignored') return ['un-ignore'];
  const root = row.ranges[0];
  const several = root !== undefined && root.to > root.from;
  return [
    'retry',
    ...(row.conflicts.length > 0 && row.kind !== 'poison' ? (['merge'] as const) : []),
    'take-server',
    'ignore',
    ...(several && row.kind !== 'poison' ? (['split'] as const) : []),
  ];
};

const recordsOf = (row: SyncErrorRow): readonly (readonly [table: number, record: RecordId])[] => {
  const found = new Map<string, readonly [number, RecordId]>();
  const all = [...row.conflicts, { table: row.table, record: row.record }];
  for (const { table, record } of all) found.set(`${table}/${record}`, [table, record]);
  return [...found.values()];
};

const shownVersions = async (
  local: LocalReplica,
  row: SyncErrorRow,
): Promise<readonly ShownVersion[]> => {
  const shown: ShownVersion[] = [];
  for (const [id, record] of recordsOf(row)) {
    const table = tableOf(local, id);
    if (table === undefined) continue;
    const version = await local.recordVersion(table.name, record);
    shown.push({ table: id, record, incarnation: version?.incarnation ?? 0, n: version?.n ?? 0 });
  }
  return shown;
};

const conflictView = async (
  local: LocalReplica,
  conflict: SyncErrorConflict,
): Promise<ConflictView> => {
  const table = tableOf(local, conflict.table);
  const theirs =
    table === undefined ? undefined : await local.serverRecord(table.name, conflict.record);
  const field = conflict.field === 0 ? null : local.fieldName(conflict.table, conflict.field);
  return {
    table: table?.name ?? String(conflict.table),
    record: conflict.record,
    field,
    base: conflict.base,
    ours: conflict.ours,
    theirs: field === null ? theirs !== undefined : (theirs?.[field] ?? null),
    rule: conflict.rule,
  };
};

/** Roots for which this replica made a resolution that is not decided yet. */
const resolvingRoots = async (local: LocalReplica): Promise<ReadonlySet<string>> => {
  const { name } = systemTable(local, resolutionsTable);
  const rows = await local.scan(name, { limit: syncErrorsListMax });
  return new Set(rows.map((row) => row['root'] as string));
};

const errorView = async (
  local: LocalReplica,
  row: SyncErrorRow,
  resolving: ReadonlySet<string>,
): Promise<SyncErrorView> => {
  const conflicts: ConflictView[] = [];
  for (const conflict of row.conflicts) conflicts.push(await conflictView(local, conflict));
  return {
    id: row.root,
    kind: row.kind,
    state: row.state,
    message: row.message,
    table: tableOf(local, row.table)?.name ?? String(row.table),
    record: row.record,
    conflicts,
    operations: row.ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0),
    parkedOn: row.parkedOn,
    actions: actionsFor(row),
    resolving: resolving.has(row.root),
    lastResolution: row.lastResolution,
    shown: await shownVersions(local, row),
  };
};

const readRow = async (local: LocalReplica, id: string): Promise<SyncErrorRow | undefined> => {
  const table = systemTable(local, syncErrorsTable);
  const view = await local.get(table.name, id);
  return view && syncErrorFromFields(id, fieldsOfView(table, view));
};

const fits = (state: string, row: SyncErrorRow): boolean =>
  state === 'all' || (state === 'waiting' ? row.state !== 'resolved' : row.state === state);

const listRows = async (local: LocalReplica, state: string): Promise<readonly SyncErrorRow[]> => {
  const table = systemTable(local, syncErrorsTable);
  const rows: SyncErrorRow[] = [];
  let after: RecordId | undefined;
  for (;;) {
    const page = await local.scan(table.name, {
      limit: pageRecords,
      ...(after === undefined ? {} : { after }),
    });
    for (const view of page) {
      const row = syncErrorFromFields(view.id, fieldsOfView(table, view));
      if (fits(state, row)) rows.push(row);
    }
    after = page[page.length - 1]?.id;
    if (page.length < pageRecords || rows.length >= syncErrorsListMax)
      return rows.slice(0, syncErrorsListMax);
  }
};

const refuse = (message: string, id: string): never => {
  throw new TidemarkError('invalid-resolution', message, { error: id });
};

const choiceOf = (local: LocalReplica, id: string, choice: ConflictChoice): ResolutionChoice => {
  const table = local.schema().tablesByName.get(choice.table);
  const field = choice.field === null ? undefined : table?.fieldsByName.get(choice.field);
  if (table === undefined || (choice.field !== null && field === undefined))
    return refuse('a choice names an unknown table or field', id);
  const base = { table: table.id, record: choice.record, field: field?.id ?? 0 } as const;
  if (choice.pick === 'mine' || choice.pick === 'theirs') return { ...base, pick: choice.pick };
  if (choice.pick !== 'value') return refuse('a choice picks mine, theirs or a value', id);
  if (field === undefined || choice.value === undefined)
    return refuse('a choice of a value needs a field and the value', id);
  const problem = checkValue(table, field, choice.value);
  if (problem !== undefined)
    throw new TidemarkError(problem.code, problem.message, {
      table: table.name,
      field: field.name,
    });
  return { ...base, pick: 'value', value: choice.value };
};

const sameTarget = (
  a: Pick<ResolutionChoice, 'table' | 'record' | 'field'>,
  b: Pick<ResolutionChoice, 'table' | 'record' | 'field'>,
): boolean => a.table === b.table && a.record === b.record && a.field === b.field;

const checkedChoices = (
  local: LocalReplica,
  row: SyncErrorRow,
  { action, choices = [] }: ResolveOptions,
): readonly ResolutionChoice[] => {
  if (action !== 'merge') {
    if (choices.length > 0) refuse(`${action} takes no choices`, row.root);
    return [];
  }
  const chosen = choices.map((choice) => choiceOf(local, row.root, choice));
  if (chosen.some((choice) => !row.conflicts.some((conflict) => sameTarget(conflict, choice))))
    refuse('a choice names something that is not in conflict', row.root);
  if (row.conflicts.some((conflict) => !chosen.some((choice) => sameTarget(conflict, choice))))
    refuse('merge needs a choice for every conflict', row.root);
  return chosen;
};

/** Builds the list over the local half: it reads the image and writes resolutions through the log. */
export const syncErrorList = (local: LocalReplica): SyncErrorList => {
  const get = async (id: string): Promise<SyncErrorView | undefined> => {
    const row = await readRow(local, id);
    return row && errorView(local, row, await resolvingRoots(local));
  };
  const list: SyncErrorList['list'] = async ({ state = 'waiting' } = {}) => {
    const resolving = await resolvingRoots(local);
    const views: SyncErrorView[] = [];
    for (const row of await listRows(local, state))
      views.push(await errorView(local, row, resolving));
    return views;
  };
  return {
    list,
    get,
    watch: (signal) =>
      newestValues(
        () => list(),
        (changed) => local.onChange(changed),
        signal,
      ),
    resolve: async (id, options) => {
      const row = await readRow(local, id);
      if (row === undefined) return refuse('no such sync error', id);
      if (!actionsFor(row).includes(options.action))
        return refuse(`${String(options.action)} is not offered for this sync error`, id);
      const choices = checkedChoices(local, row, options);
      const shown = options.shown ?? (await shownVersions(local, row));
      const table = systemTable(local, resolutionsTable);
      const fields = resolutionFields({ root: id, action: options.action, shown, choices });
      const named: Record<string, Value> = {};
      for (const field of table.fields) {
        const value = fields[field.id];
        if (value !== undefined) named[field.name] = value;
      }
      const { durability } = options;
      return local.create(table.name, named, durability === undefined ? {} : { durability });
    },
  };
};
