import { compareTexts } from '@tidemark/filter';
import {
  decodeRow,
  resolutionActions,
  syncErrorFromFields,
  syncErrorsTable,
  TidemarkError,
  type RecordId,
  type ResolutionAction,
  type ResolutionChoice,
  type ResolutionVerdict,
  type Schema,
  type ShownVersion,
  type SyncErrorRow,
  type SyncErrorState,
  type TableId,
  type Value,
} from '@tidemark/model';
import type { AppliedStore } from './applied-store.js';
import { listLimit } from './list-limit.js';

/** Sync errors that one page of a list holds at most. */
export const syncErrorsPageMax = 1_000;
const scanBytesMax = 1024 * 1024;

/** One field that waits for a decision, by names, with what the server holds now. */
export interface ConflictView {
  readonly table: string;
  readonly record: string;
  /** Null: whether the record lives (values true and false). */
  readonly field: string | null;
  readonly base: Value;
  readonly ours: Value;
  /** Value of the server now; null as well when there is no live record. */
  readonly theirs: Value;
  readonly rule: string;
}

/** Sync error as a person sees it. */
export interface SyncErrorView {
  /** OpId text of the root. */
  readonly id: string;
  readonly replica: string;
  readonly user: string;
  readonly kind: SyncErrorRow['kind'];
  readonly state: SyncErrorState;
  readonly message: string;
  readonly table: string;
  readonly record: string;
  readonly conflicts: readonly ConflictView[];
  readonly ranges: SyncErrorRow['ranges'];
  readonly parkedOn: number;
  readonly disposition: SyncErrorRow['disposition'];
  readonly resolvedBy: string | null;
  readonly lastResolution: SyncErrorRow['lastResolution'];
  /** Versions to name in a resolution. */
  readonly shown: readonly ShownVersion[];
}

/** Choice for one conflicting field, by names; field null decides whether the record lives. */
export interface ChoiceInput {
  readonly table: string;
  readonly record: string;
  readonly field: string | null;
  readonly pick: 'mine' | 'theirs' | 'value';
  readonly value?: Value;
}

/** Resolution that an administrator decides. */
export interface ResolveInput {
  readonly action: ResolutionAction;
  readonly choices?: readonly ChoiceInput[];
  /** What the person saw; what is current when absent. */
  readonly shown?: readonly ShownVersion[];
  readonly user: string;
}

/** Verdict on a resolution, and the sync error after it. */
export interface ResolveResult {
  readonly verdict: ResolutionVerdict;
  readonly error: SyncErrorView;
}

/** Reads a sync error; undefined when there is none with this root. */
export const readSyncError = async (
  applied: AppliedStore,
  root: string,
): Promise<SyncErrorRow | undefined> => {
  const [stored] = await applied.store.getRecords(syncErrorsTable, [root]);
  return stored === undefined || stored.deleted
    ? undefined
    : syncErrorFromFields(root, decodeRow(stored.row).fields);
};

interface Concerned {
  readonly table: TableId;
  readonly record: RecordId;
}

const concernedBy = (row: SyncErrorRow): readonly Concerned[] => {
  const byKey = new Map<string, Concerned>();
  for (const { table, record } of [{ table: row.table, record: row.record }, ...row.conflicts])
    byKey.set(`${table}/${record}`, { table, record });
  return [...byKey.values()].sort((a, b) => a.table - b.table || compareTexts(a.record, b.record));
};

/** Shows a sync error by names, with what the server holds now. */
export const showSyncError = async (
  applied: AppliedStore,
  schema: Schema,
  row: SyncErrorRow,
): Promise<SyncErrorView> => {
  const shown: ShownVersion[] = [];
  const live = new Map<string, Readonly<Record<number, Value>>>();
  for (const { table, record } of concernedBy(row)) {
    const [stored] = await applied.store.getRecords(table, [record]);
    const { incarnation, n } = stored?.version ?? { incarnation: 0, n: 0 };
    shown.push({ table, record, incarnation, n });
    if (stored !== undefined && !stored.deleted)
      live.set(`${table}/${record}`, decodeRow(stored.row).fields);
  }
  const tableName = (id: TableId): string => schema.tablesById.get(id)?.name ?? String(id);
  const fieldName = (table: TableId, id: number): string | null =>
    id === 0 ? null : (schema.tablesById.get(table)?.fieldsById.get(id)?.name ?? String(id));
  const { root, table, record, conflicts, ...rest } = row;
  return {
    id: root,
    ...rest,
    table: tableName(table),
    record,
    conflicts: conflicts.map((one) => {
      const fields = live.get(`${one.table}/${one.record}`);
      return {
        table: tableName(one.table),
        record: one.record,
        field: fieldName(one.table, one.field),
        base: one.base,
        ours: one.ours,
        theirs: one.field === 0 ? fields !== undefined : (fields?.[one.field] ?? null),
        rule: one.rule,
      };
    }),
    shown,
  };
};

/** Lists sync errors in the order of their roots after `after`. Rejects with `invalid-option` for a limit that is none. */
export const listSyncErrors = async (
  applied: AppliedStore,
  schema: Schema,
  options: {
    readonly state?: SyncErrorState;
    readonly after?: string;
    readonly limit?: number;
  },
): Promise<readonly SyncErrorView[]> => {
  const limit = listLimit(options.limit, syncErrorsPageMax);
  const found: SyncErrorView[] = [];
  let after = options.after;
  while (found.length < limit) {
    const page = await applied.store.scanRecords(syncErrorsTable, {
      ...(after === undefined ? {} : { after }),
      maxBytes: scanBytesMax,
      maxRecords: syncErrorsPageMax,
    });
    for (const record of page.records) {
      if (record.deleted || found.length >= limit) continue;
      const row = syncErrorFromFields(record.id, decodeRow(record.row).fields);
      if (options.state === undefined || row.state === options.state)
        found.push(await showSyncError(applied, schema, row));
    }
    if (page.next === undefined) break;
    after = page.next;
  }
  return found;
};

/** Choices by numeric ids. Throws `invalid-resolution` for names that are not there. */
export const resolveChoices = (
  schema: Schema,
  input: ResolveInput,
): readonly ResolutionChoice[] => {
  if (!resolutionActions.includes(input.action))
    throw new TidemarkError('invalid-resolution', 'there is no such action');
  return (input.choices ?? []).map(({ table: tableName, record, field: name, pick, value }) => {
    const table = schema.tablesByName.get(tableName);
    const field = name === null ? 0 : table?.fieldsByName.get(name)?.id;
    if (table === undefined || field === undefined)
      throw new TidemarkError('invalid-resolution', `there is no field ${tableName}.${name ?? ''}`);
    return { table: table.id, record, field, pick, ...(value === undefined ? {} : { value }) };
  });
};
