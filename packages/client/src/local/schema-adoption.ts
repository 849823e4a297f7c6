import {
  destructiveChanges,
  problemsError,
  TidemarkError,
  type Customization,
  type FieldId,
  type Schema,
  type SchemaTable,
  type TableId,
} from '@tidemark/model';
import type { LayerPut } from '@tidemark/ports';
import { pushIndexPuts } from './index-entries.js';
import { schemaOf, type ReplicaCore } from './replica-core.js';
import { tableMeta, type IndexMeta } from './replica-meta.js';
import { scanVisible } from './row-reader.js';

const backfillRowsPerStep = 500;

const sameFields = (a: readonly FieldId[], b: readonly FieldId[]): boolean =>
  a.length === b.length && a.every((id, i) => id === b[i]);

/**
 * Indexes of every table after a change of schema. Numbers are given by fields, never by position, and
 * stay; an index that a newer customization leaves out is kept up.
 */
export const mergeIndexes = (
  current: Readonly<Record<TableId, readonly IndexMeta[]>>,
  schema: Schema,
  ready: boolean,
): Readonly<Record<TableId, readonly IndexMeta[]>> => {
  const out: Record<TableId, readonly IndexMeta[]> = { ...current };
  for (const table of schema.tablesById.values()) {
    const metas = [...(current[table.id] ?? [])];
    for (const { fields: names } of table.indexes) {
      const fields = names.map((name) => table.fieldsByName.get(name)?.id as FieldId);
      if (metas.some((meta) => sameFields(meta.fields, fields))) continue;
      metas.push({ no: Math.max(0, ...metas.map(({ no }) => no)) + 1, fields, ready });
    }
    if (metas.length > 0) out[table.id] = metas;
  }
  return out;
};

/** Takes a newer customization in one write; new indexes are not used before their backfill. */
export const adopt = async (core: ReplicaCore, customization: Customization): Promise<void> => {
  const { meta, schema } = core;
  if (customization.version <= schema.customization.version) return;
  const problems = destructiveChanges(schema.customization, customization);
  if (problems.length > 0) throw problemsError('destructive-change', problems);
  await core.commit({
    meta: {
      ...meta,
      customizationVersion: customization.version,
      indexes: mergeIndexes(meta.indexes, schemaOf(customization), false),
    },
    customization,
    touched: 'all',
    change: {
      kind: 'meta',
      tables: new Map(customization.tables.map(({ id }) => [id, null] as const)),
    },
  });
};

/**
 * Brings the state up to the stored schema. They are written together; but where that write failed and was
 * applied all the same, later ones stored the state of before it again.
 */
export const followSchema = async (core: ReplicaCore): Promise<void> => {
  const { meta, schema } = core;
  const { version } = schema.customization;
  if (meta.customizationVersion >= version) return;
  const indexes = mergeIndexes(meta.indexes, schema, false);
  await core.commit({ meta: { ...meta, customizationVersion: version, indexes } });
};

/**
 * Builds the indexes that are not ready, in bounded steps between the writes of others. A table whose rows are
 * damaged is left to the next repair.
 */
export const backfillIndexes = async (core: ReplicaCore): Promise<void> => {
  for (const table of core.schema.tablesById.values()) {
    if (!(core.meta.indexes[table.id] ?? []).some(({ ready }) => !ready)) continue;
    try {
      await backfillTable(core, table);
    } catch (cause) {
      if (!(cause instanceof TidemarkError) || cause.code !== 'storage-damaged') throw cause;
      await core.turn.run(() => wantRepair(core, table.id));
    }
  }
};

const backfillTable = async (core: ReplicaCore, table: SchemaTable): Promise<void> => {
  let after: string | undefined;
  do {
    const from = after;
    after = await core.turn.run(() => backfillStep(core, table, from));
  } while (after !== undefined);
};

/** Damaged rows: the next run repairs the table. Queries do without its new indexes until the next opening. */
const wantRepair = (core: ReplicaCore, table: TableId): Promise<void> => {
  const { meta } = core;
  const repaired = { ...tableMeta(meta, table), repair: true };
  return core.commit({ meta: { ...meta, tables: { ...meta.tables, [table]: repaired } } });
};

/** One step; `undefined` when the table is done. */
const backfillStep = async (
  core: ReplicaCore,
  table: SchemaTable,
  after: string | undefined,
): Promise<string | undefined> => {
  const { meta } = core;
  const page = await scanVisible(core, table.id, after, backfillRowsPerStep);
  const indexes = core.indexesOf(table).filter(({ ready }) => !ready);
  const puts: LayerPut[] = [];
  for (const { id, row } of page.rows) {
    const target = { layer: core.topLayer, table: table.id, id };
    pushIndexPuts(puts, target, indexes, [], row.fields, false);
  }
  const done = page.next === undefined;
  const metas = (meta.indexes[table.id] ?? []).map((index) => ({ ...index, ready: true }));
  await core.commit({
    batch: { puts },
    ...(done ? { meta: { ...meta, indexes: { ...meta.indexes, [table.id]: metas } } } : {}),
  });
  return page.next;
};
