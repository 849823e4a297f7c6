import type { FieldId, Value } from '@tidemark/model';
import { likePrefix } from './like-pattern.js';
import type { ResolvedFilter, ResolvedLiteral, ResolvedNode } from './resolve-filter.js';
import { compareOrdered } from './value-order.js';

/**
 * Range of non-null values in the field's order; at least one bound, at most one on each side.
 *
 * Text bounds are in code point order, which is the byte order of UTF-8.
 */
export interface IndexRange {
  readonly gt?: ResolvedLiteral;
  readonly gte?: ResolvedLiteral;
  readonly lt?: ResolvedLiteral;
  readonly lte?: ResolvedLiteral;
}

/** How an index serves a filter: `equals` for its leading fields, then `range` on the next field. */
export interface IndexPlan {
  readonly equals: readonly Value[];
  readonly range?: IndexRange;
}

/**
 * Constant that the filter pins a field to in its top-level conjunction; `undefined` when it does not.
 *
 * `null` means that the field must be null. Sound, not complete: every record that passes the filter has
 * this value, but a pin that hides in a disjunction or negation is not found.
 */
export const equalityKey = (resolved: ResolvedFilter, field: FieldId): Value | undefined =>
  pinOf(conjunctsOf(resolved.root), field);

/** Ids of the table's fields that the filter reads, ascending; meta fields are left out. */
export const fieldsRead = (resolved: ResolvedFilter): readonly FieldId[] => {
  const found = new Set<FieldId>();
  const visit = (node: ResolvedNode): void => {
    if (node.kind === 'and' || node.kind === 'or') node.items.forEach(visit);
    else if (node.kind === 'not') visit(node.item);
    else if ('field' in node && node.field > 0) found.add(node.field);
  };
  visit(resolved.root);
  return [...found].sort((a, b) => a - b);
};

/** Range that the filter's top-level conjunction sets for a field; `undefined` when it sets none. */
export const indexRange = (resolved: ResolvedFilter, field: FieldId): IndexRange | undefined =>
  rangeOf(conjunctsOf(resolved.root), field);

/**
 * Plans the use of an index over the given fields, in their order.
 *
 * Every record that passes the filter lies within the plan; the filter must still be applied to what the
 * index yields. With an empty `equals` and no `range` the index does not help.
 */
export const planIndex = (resolved: ResolvedFilter, indexFields: readonly FieldId[]): IndexPlan => {
  const conjuncts = conjunctsOf(resolved.root);
  const equals: Value[] = [];
  for (const field of indexFields) {
    const pin = pinOf(conjuncts, field);
    if (pin === undefined) {
      const range = rangeOf(conjuncts, field);
      return range === undefined ? { equals } : { equals, range };
    }
    equals.push(pin);
  }
  return { equals };
};

const conjunctsOf = (node: ResolvedNode): readonly ResolvedNode[] =>
  node.kind === 'and' ? node.items.flatMap(conjunctsOf) : [node];

const pinOf = (conjuncts: readonly ResolvedNode[], field: FieldId): Value | undefined => {
  for (const node of conjuncts) {
    if (node.kind === 'compare' && node.field === field && node.operator === '=') return node.value;
    if (node.kind === 'null' && node.field === field && !node.negated) return null;
    if (node.kind === 'in' && node.field === field && !node.negated && node.values.length === 1) {
      return node.values[0];
    }
  }
  return undefined;
};

type Order = Parameters<typeof compareOrdered>[0];

interface Bound {
  readonly value: ResolvedLiteral;
  readonly inclusive: boolean;
}

/** The tighter of two bounds on one side; `side` is 1 for lower bounds, -1 for upper bounds. */
const tighter = (order: Order, side: 1 | -1, a: Bound | undefined, b: Bound): Bound => {
  if (a === undefined) return b;
  const difference = side * compareOrdered(order, a.value, b.value);
  if (difference === 0) return a.inclusive ? b : a;
  return difference > 0 ? a : b;
};

const rangeOf = (conjuncts: readonly ResolvedNode[], field: FieldId): IndexRange | undefined => {
  let lower: Bound | undefined;
  let upper: Bound | undefined;
  for (const node of conjuncts) {
    if (node.kind === 'compare' && node.field === field) {
      const bound = { value: node.value, inclusive: node.operator.endsWith('=') };
      if (node.operator.startsWith('>')) lower = tighter(node.order, 1, lower, bound);
      if (node.operator.startsWith('<')) upper = tighter(node.order, -1, upper, bound);
    } else if ((node.kind === 'starts-with' || node.kind === 'like') && node.field === field) {
      const prefix = node.kind === 'like' ? likePrefix(node.text) : node.text;
      if (prefix === '') continue;
      lower = tighter('text', 1, lower, { value: prefix, inclusive: true });
      const end = prefixEnd(prefix);
      if (end !== undefined) upper = tighter('text', -1, upper, { value: end, inclusive: false });
    }
  }
  return lower === undefined && upper === undefined
    ? undefined
    : { ...lowerMember(lower), ...upperMember(upper) };
};

const lowerMember = (bound: Bound | undefined): IndexRange =>
  bound === undefined ? {} : bound.inclusive ? { gte: bound.value } : { gt: bound.value };

const upperMember = (bound: Bound | undefined): IndexRange =>
  bound === undefined ? {} : bound.inclusive ? { lte: bound.value } : { lt: bound.value };

const codePointMax = 0x10ffff;

/** Least text above all texts with this prefix; `undefined` when there is none. */
const prefixEnd = (prefix: string): string | undefined => {
  const points = [...prefix];
  while (points.length > 0) {
    const last = (points.pop() as string).codePointAt(0) as number;
    if (last === codePointMax) continue;
    // Surrogates are no characters: the code point after U+D7FF is U+E000.
    return points.join('') + String.fromCodePoint(last === 0xd7ff ? 0xe000 : last + 1);
  }
  return undefined;
};
