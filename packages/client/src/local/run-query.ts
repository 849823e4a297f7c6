import { equalBytes, TidemarkError, type SchemaTable } from '@tidemark/model';
import type { IndexEntry } from '@tidemark/ports';
import { indexKey } from './index-key.js';
import { queryRecordsMax, type QueryPlan } from './query-plan.js';
import type { ReplicaCore } from './replica-core.js';
import { scanVisible, visibleRows, type VisibleRow } from './row-reader.js';
import { TopRows } from './top-rows.js';

/** Rows read in one step of a query. */
const scanRowsMax = 512;

/** Visits matching rows in the plan's order of reading until `visit` returns false. */
const visitRows = async (
  core: ReplicaCore,
  table: SchemaTable,
  plan: QueryPlan,
  visit: (row: VisibleRow) => boolean,
): Promise<void> => {
  if (plan.index !== null) return visitIndex(core, table, plan, visit);
  let after: string | undefined;
  for (;;) {
    const page = await scanVisible(core, table.id, after, scanRowsMax);
    for (const row of page.rows) if (plan.matches(row) && !visit(row)) return;
    if (page.next === undefined) return;
    after = page.next;
  }
};

const visitIndex = async (
  core: ReplicaCore,
  table: SchemaTable,
  plan: QueryPlan,
  visit: (row: VisibleRow) => boolean,
): Promise<void> => {
  const { index, range } = plan.index as NonNullable<QueryPlan['index']>;
  let after: IndexEntry | undefined;
  // The first step is small where the limit is, the next ones grow.
  let limit =
    Math.min(scanRowsMax, (plan.inOrder ? plan.limit : undefined) ?? scanRowsMax) + plan.offset;
  for (;;) {
    limit = Math.max(16, Math.min(limit, scanRowsMax));
    const entries = await core.store.scanIndex(table.id, index.no, range, {
      layers: core.readStack(table.id),
      limit,
      reverse: plan.reverse,
      ...(after === undefined ? {} : { after }),
    });
    const rows = await visibleRows(
      core,
      table.id,
      entries.map(({ id }) => id),
    );
    for (const [i, entry] of entries.entries()) {
      const row = rows[i];
      if (row === undefined) continue;
      // While a table fills, an entry may be older than what the user sees of the record.
      if (!equalBytes(indexKey(index.fields, row.fields), entry.key)) continue;
      const visibleRow = { id: entry.id, row };
      if (plan.matches(visibleRow) && !visit(visibleRow)) return;
    }
    if (entries.length < limit) return;
    after = entries.at(-1);
    limit *= 4;
  }
};

const tooLarge = (table: SchemaTable): TidemarkError =>
  new TidemarkError('query-too-large', `more than ${queryRecordsMax} records; give a limit`, {
    table: table.name,
  });

/** Runs a planned query. The caller sees to one state of the table. Throws `query-too-large`. */
export const runQuery = async (
  core: ReplicaCore,
  table: SchemaTable,
  plan: QueryPlan,
): Promise<readonly VisibleRow[]> => {
  const { limit, offset } = plan;
  if (limit === 0) return [];
  const wanted = limit === undefined ? undefined : limit + offset;
  const bounded = wanted !== undefined && wanted <= queryRecordsMax;
  if (!plan.inOrder && bounded) {
    const top = new TopRows(wanted, plan.compare);
    await visitRows(core, table, plan, (row) => {
      top.add(row);
      return true;
    });
    return top.sorted().slice(offset);
  }
  const rows: VisibleRow[] = [];
  let skip = plan.inOrder ? offset : 0;
  await visitRows(core, table, plan, (row) => {
    if (skip > 0) {
      skip -= 1;
      return true;
    }
    if (rows.length >= queryRecordsMax) throw tooLarge(table);
    rows.push(row);
    return !(plan.inOrder && rows.length === limit);
  });
  if (plan.inOrder) return rows;
  rows.sort(plan.compare);
  return rows.slice(offset, wanted);
};

/** Counts the records of a plan. */
export const countQuery = async (
  core: ReplicaCore,
  table: SchemaTable,
  plan: QueryPlan,
): Promise<number> => {
  let count = 0;
  await visitRows(core, table, plan, () => {
    count += 1;
    return true;
  });
  return count;
};
