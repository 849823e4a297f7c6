import type { FieldId, Value } from '@tidemark/model';
import type { ComparisonOperator } from './expression.js';
import { compileLike } from './like-pattern.js';
import {
  metaFieldIds,
  type ResolvedFilter,
  type ResolvedLiteral,
  type ResolvedNode,
} from './resolve-filter.js';
import { compareDecimals, compareTexts, type ValueOrder } from './value-order.js';

/** What a filter sees of one record. Absent fields are null; times are server times in ms. */
export interface FilterInput {
  readonly id: string;
  readonly fields: Readonly<Record<FieldId, Value>>;
  readonly modifiedOn: number;
  readonly createdOn: number;
  readonly modifiedBy: string;
  readonly owner: string;
}

/** Predicate over one record. */
export type FilterPredicate = (record: FilterInput) => boolean;

/**
 * Compiles a resolved filter to a pure predicate that never throws.
 *
 * Logic is two-valued: see the FLT rules for null. Compile once, call for every record.
 */
export const compileFilter = (resolved: ResolvedFilter): FilterPredicate =>
  compileNode(resolved.root);

const compileNode = (node: ResolvedNode): FilterPredicate => {
  switch (node.kind) {
    case 'and':
      return compileAll(node.items.map(compileNode));
    case 'or':
      return compileAny(node.items.map(compileNode));
    case 'not': {
      const inner = compileNode(node.item);
      return (record) => !inner(record);
    }
    case 'null': {
      const { negated } = node;
      return compileRead(node.field, (value) => (value === null) !== negated);
    }
    case 'in': {
      const { negated } = node;
      const values: ReadonlySet<Value> = new Set(node.values);
      return compileRead(node.field, (value) => values.has(value) !== negated);
    }
    case 'compare':
      return compileRead(node.field, compileComparison(node.operator, node.order, node.value));
    case 'starts-with': {
      const { text } = node;
      return compileRead(
        node.field,
        (value) => typeof value === 'string' && value.startsWith(text),
      );
    }
    case 'contains': {
      const { text } = node;
      return compileRead(node.field, (value) => typeof value === 'string' && value.includes(text));
    }
    case 'like': {
      const matches = compileLike(node.text);
      return compileRead(node.field, (value) => typeof value === 'string' && matches(value));
    }
  }
};

const compileAll = (items: readonly FilterPredicate[]): FilterPredicate => {
  const [first, second] = items;
  if (items.length === 2 && first !== undefined && second !== undefined) {
    return (record) => first(record) && second(record);
  }
  // Plain loop: hot path, every candidate record of a pull or query runs through it.
  return (record) => {
    for (const item of items) if (!item(record)) return false;
    return true;
  };
};

const compileAny =
  (items: readonly FilterPredicate[]): FilterPredicate =>
  (record) => {
    for (const item of items) if (item(record)) return true;
    return false;
  };

const compileRead = (field: FieldId, test: (value: Value) => boolean): FilterPredicate => {
  switch (field) {
    case metaFieldIds.$id:
      return (record) => test(record.id);
    case metaFieldIds.$modifiedOn:
      return (record) => test(record.modifiedOn);
    case metaFieldIds.$createdOn:
      return (record) => test(record.createdOn);
    case metaFieldIds.$modifiedBy:
      return (record) => test(record.modifiedBy);
    case metaFieldIds.$owner:
      return (record) => test(record.owner);
    default:
      return (record) => test(record.fields[field] ?? null);
  }
};

type ValueTest = (value: Value) => boolean;

const compileComparison = (
  operator: ComparisonOperator,
  order: ValueOrder,
  constant: ResolvedLiteral,
): ValueTest => {
  // Values are canonical, so equality needs no order.
  if (operator === '=') return (value) => value === constant;
  if (operator === '!=') return (value) => value !== constant;
  const accepts = acceptorOf(operator);
  if (typeof constant === 'string') {
    const compare = order === 'decimal' ? compareDecimals : compareTexts;
    return (value) => typeof value === 'string' && accepts(compare(value, constant));
  }
  const type = typeof constant;
  const size = Number(constant);
  return (value) => typeof value === type && accepts(Number(value) - size);
};

const acceptorOf = (operator: '<' | '<=' | '>' | '>='): ((difference: number) => boolean) => {
  switch (operator) {
    case '<':
      return (difference) => difference < 0;
    case '<=':
      return (difference) => difference <= 0;
    case '>':
      return (difference) => difference > 0;
    case '>=':
      return (difference) => difference >= 0;
  }
};
