import {
  compileFilter,
  compareOrdered,
  compareTexts,
  decodeFilter,
  metaFieldIds,
  parseFilter,
  planIndex,
  resolveFilter,
  type FilterExpression,
  type FilterPredicate,
  type IndexPlan,
  type ResolvedFilter,
  type ValueOrder,
} from '@tidemark/filter';
import {
  isLeft,
  problemsError,
  TidemarkError,
  type FieldDefinition,
  type FieldType,
  type SchemaTable,
  type Value,
} from '@tidemark/model';
import type { IndexRange as KeyRange } from '@tidemark/ports';
import { firstNonNull, keyPrefixEnd, pushComponent } from './index-key.js';
import type { TableIndex } from './index-entries.js';
import type { Query } from './local-replica.js';
import type { VisibleRow } from './row-reader.js';

/** Most records that a query without limit may return. */
export const queryRecordsMax = 100_000;
/** Most order fields of a query. */
export const orderFieldsMax = 8;

/** Compares two rows in the order of a query. */
export type RowOrder = (a: VisibleRow, b: VisibleRow) => number;

/** How a query is answered: through an index, or by scanning in id order. */
export interface QueryPlan {
  readonly matches: (row: VisibleRow) => boolean;
  readonly compare: RowOrder;
  readonly limit: number | undefined;
  readonly offset: number;
  /** Null: scan in id order. */
  readonly index: { readonly index: TableIndex; readonly range: KeyRange } | null;
  /** True when rows come in the order asked for, so that reading may stop at the limit. */
  readonly inOrder: boolean;
  readonly reverse: boolean;
}

interface OrderField {
  readonly id: number;
  readonly type: FieldType;
  readonly descending: boolean;
}

const orderOf = (type: FieldType): ValueOrder => {
  if (type === 'boolean' || type === 'decimal') return type;
  return type === 'number' || type === 'counter' ? 'number' : 'text';
};

const metaTypes: Readonly<Record<string, FieldType>> = {
  $id: 'string',
  $modifiedOn: 'number',
  $createdOn: 'number',
  $modifiedBy: 'string',
  $owner: 'string',
};

const orderField = (
  table: SchemaTable,
  { field, direction }: NonNullable<Query['order']>[number],
): OrderField => {
  if (direction !== undefined && direction !== 'asc' && direction !== 'desc')
    throw new TidemarkError('invalid-option', 'direction is asc or desc', { field });
  const descending = direction === 'desc';
  const meta = Object.hasOwn(metaTypes, field) ? metaTypes[field] : undefined;
  if (meta !== undefined)
    return { id: metaFieldIds[field as keyof typeof metaFieldIds], type: meta, descending };
  const found = table.fieldsByName.get(field);
  if (found === undefined || found.type === 'attachment')
    throw new TidemarkError('unknown-field', `${table.name} has no such field to sort by`, {
      table: table.name,
      field,
    });
  return { id: found.id, type: found.type, descending };
};

const valueOf = ({ id, row }: VisibleRow, field: number): Value => {
  switch (field) {
    case metaFieldIds.$id:
      return id;
    case metaFieldIds.$modifiedOn:
      return row.modifiedOn;
    case metaFieldIds.$createdOn:
      return row.createdOn;
    case metaFieldIds.$modifiedBy:
      return row.modifiedBy;
    case metaFieldIds.$owner:
      return row.owner;
    default:
      return row.fields[field] ?? null;
  }
};

const compareValues = (type: FieldType, a: Value, b: Value): number => {
  if (a === null || b === null || typeof a === 'object' || typeof b === 'object')
    return (a === null ? 0 : 1) - (b === null ? 0 : 1);
  return compareOrdered(orderOf(type), a, b);
};

const compareBy = (fields: readonly OrderField[]): RowOrder => {
  const tiesDescend = fields.at(-1)?.descending === true;
  return (a, b) => {
    for (const { id, type, descending } of fields) {
      const order = compareValues(type, valueOf(a, id), valueOf(b, id));
      if (order !== 0) return descending ? -order : order;
    }
    const ties = compareTexts(a.id, b.id);
    return tiesDescend ? -ties : ties;
  };
};

const resolve = (table: SchemaTable, filter: string | FilterExpression): ResolvedFilter => {
  let expression: FilterExpression;
  if (typeof filter === 'string') {
    const parsed = parseFilter(filter);
    if (isLeft(parsed)) throw problemsError('invalid-filter', [parsed.left]);
    expression = parsed.right;
  } else {
    const decoded = decodeFilter(filter);
    if (isLeft(decoded)) throw problemsError('invalid-filter', decoded.left);
    expression = decoded.right;
  }
  const resolved = resolveFilter(expression, table);
  if (isLeft(resolved)) throw problemsError('invalid-filter', resolved.left);
  return resolved.right;
};

const wholeNumber = (value: number | undefined, name: string): void => {
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0))
    throw new TidemarkError('invalid-option', `${name} is a whole number from 0`, { option: name });
};

/** Range of index keys that holds every record of an index plan. */
const keyRange = (index: TableIndex, plan: IndexPlan): KeyRange => {
  const prefix: number[] = [];
  let cut = false;
  plan.equals.forEach((value, i) => {
    cut = pushComponent(prefix, (index.fields[i] as FieldDefinition).type, value) || cut;
  });
  const whole = { gte: Uint8Array.from(prefix), lt: keyPrefixEnd(prefix) };
  const field = index.fields[plan.equals.length];
  const { range } = plan;
  if (range === undefined || field === undefined || cut) return whole;
  const bound = (value: Value): { readonly key: number[]; readonly cut: boolean } => {
    const key = [...prefix];
    return { cut: pushComponent(key, field.type, value), key };
  };
  const { gt, gte, lt, lte } = range;
  let from = Uint8Array.from([...prefix, ...firstNonNull]);
  let to = whole.lt;
  if (gte !== undefined) from = Uint8Array.from(bound(gte).key);
  if (gt !== undefined) {
    const { key, cut: inexact } = bound(gt);
    from = inexact ? Uint8Array.from(key) : (keyPrefixEnd(key) as Uint8Array<ArrayBuffer>);
  }
  if (lte !== undefined) to = keyPrefixEnd(bound(lte).key);
  if (lt !== undefined) {
    const { key, cut: inexact } = bound(lt);
    to = inexact ? keyPrefixEnd(key) : Uint8Array.from(key);
  }
  return { gte: from, lt: to };
};

/** Tells whether an index yields the order, after the fields that the filter pins. */
const yieldsOrder = (index: TableIndex, plan: IndexPlan, order: readonly OrderField[]): boolean => {
  if (order.length === 0) return false;
  const { descending } = order[0] as OrderField;
  // A pinned field has one value, so it may be left out of the order or be part of it.
  const pinned = new Set(index.fields.slice(0, plan.equals.length).map(({ id }) => id));
  const wanted = order.filter(({ id }) => !pinned.has(id));
  const rest = index.fields.slice(plan.equals.length);
  return (
    order.every((field) => field.descending === descending) &&
    wanted.length === rest.length &&
    wanted.every(({ id }, i) => rest[i]?.id === id)
  );
};

const emptyPlan: IndexPlan = { equals: [] };

const chooseIndex = (
  indexes: readonly TableIndex[],
  resolved: ResolvedFilter | null,
  order: readonly OrderField[],
): { readonly index: TableIndex; readonly plan: IndexPlan; readonly ordered: boolean } | null => {
  let best: {
    readonly index: TableIndex;
    readonly plan: IndexPlan;
    readonly ordered: boolean;
    readonly score: number;
  } | null = null;
  for (const index of indexes) {
    if (!index.ready) continue;
    const ids = index.fields.map(({ id }) => id);
    const plan = resolved === null ? emptyPlan : planIndex(resolved, ids);
    const ordered = yieldsOrder(index, plan, order);
    const score = plan.equals.length * 4 + (plan.range === undefined ? 0 : 2) + (ordered ? 1 : 0);
    if (score > 0 && (best === null || score > best.score)) best = { index, plan, ordered, score };
  }
  return best;
};

/** Plans a query. Throws `invalid-filter`, `unknown-field`, `invalid-option`. */
export const planQuery = (
  table: SchemaTable,
  indexes: readonly TableIndex[],
  query: Query,
): QueryPlan => {
  wholeNumber(query.limit, 'limit');
  wholeNumber(query.offset, 'offset');
  const { order: fields = [] } = query;
  const isField = (one: unknown): boolean =>
    typeof one === 'object' &&
    one !== null &&
    typeof (one as { field?: unknown }).field === 'string';
  if (!Array.isArray(fields) || !fields.every(isField))
    throw new TidemarkError('invalid-option', 'order is a list of fields', { option: 'order' });
  const order = fields.map((one) => orderField(table, one));
  if (order.length > orderFieldsMax)
    throw new TidemarkError('invalid-option', `at most ${orderFieldsMax} order fields`, {});
  const resolved = query.filter === undefined ? null : resolve(table, query.filter);
  const predicate: FilterPredicate | null = resolved === null ? null : compileFilter(resolved);
  const chosen = chooseIndex(indexes, resolved, order);
  const matches = ({ id, row }: VisibleRow): boolean =>
    predicate === null ||
    predicate({
      id,
      fields: row.fields,
      modifiedOn: row.modifiedOn,
      createdOn: row.createdOn,
      modifiedBy: row.modifiedBy,
      owner: row.owner,
    });
  return {
    matches,
    compare: compareBy(order),
    limit: query.limit,
    offset: query.offset ?? 0,
    index:
      chosen === null ? null : { index: chosen.index, range: keyRange(chosen.index, chosen.plan) },
    inOrder: chosen === null ? order.length === 0 : chosen.ordered,
    reverse: chosen?.ordered === true && order[0]?.descending === true,
  };
};
