import {
  isCanonicalValue,
  left,
  right,
  type FieldDefinition,
  type FieldId,
  type FieldType,
  type Result,
  type TableDefinition,
  type TableId,
} from '@tidemark/model';
import {
  filterProblemsMax,
  type ComparisonOperator,
  type FilterExpression,
  type FilterLiteral,
} from './expression.js';
import type { FilterProblem } from './problem.js';
import { epochMsOfDatetime } from './instant.js';
import { canonicalDecimal, type ValueOrder } from './value-order.js';

/** Numeric ids of the meta fields in resolved filters; negative, so that no table's field collides. */
export const metaFieldIds = {
  $id: -1,
  $modifiedOn: -2,
  $createdOn: -3,
  $modifiedBy: -4,
  $owner: -5,
} as const;

/** Constant of a resolved filter, in the canonical form of its field. */
export type ResolvedLiteral = boolean | number | string;

/** Node of a resolved filter: names are numeric ids, constants canonical, orders known. */
export type ResolvedNode =
  | { readonly kind: 'and' | 'or'; readonly items: readonly ResolvedNode[] }
  | { readonly kind: 'not'; readonly item: ResolvedNode }
  | {
      readonly kind: 'compare';
      readonly field: FieldId;
      readonly order: ValueOrder;
      readonly operator: ComparisonOperator;
      readonly value: ResolvedLiteral;
    }
  | {
      readonly kind: 'in';
      readonly field: FieldId;
      readonly negated: boolean;
      readonly values: readonly (ResolvedLiteral | null)[];
    }
  | { readonly kind: 'null'; readonly field: FieldId; readonly negated: boolean }
  | {
      readonly kind: 'like' | 'starts-with' | 'contains';
      readonly field: FieldId;
      readonly text: string;
    };

/** Filter bound to one table: input of `compileFilter` and of the planning functions. */
export interface ResolvedFilter {
  readonly table: TableId;
  readonly root: ResolvedNode;
}

type Domain = FieldType | 'instant';

/** Field as the resolver sees it: a field of the table or a meta field. */
interface Target {
  readonly id: FieldId;
  readonly domain: Domain;
  readonly options?: readonly string[];
}

const metaTargets: ReadonlyMap<string, Target> = new Map<string, Target>([
  ['$id', { id: metaFieldIds.$id, domain: 'string' }],
  ['$modifiedOn', { id: metaFieldIds.$modifiedOn, domain: 'instant' }],
  ['$createdOn', { id: metaFieldIds.$createdOn, domain: 'instant' }],
  ['$modifiedBy', { id: metaFieldIds.$modifiedBy, domain: 'string' }],
  ['$owner', { id: metaFieldIds.$owner, domain: 'string' }],
]);

interface ResolveState {
  readonly targets: ReadonlyMap<string, Target>;
  readonly table: string;
  readonly problems: FilterProblem[];
}

/**
 * Binds a filter to a table: names become field ids, constants canonical values of their field's type.
 *
 * Fails with every unknown field and every constant or operator that does not fit, at most 20.
 */
export const resolveFilter = (
  expression: FilterExpression,
  table: TableDefinition,
): Result<readonly FilterProblem[], ResolvedFilter> => {
  const targets = new Map(metaTargets);
  for (const field of table.fields) targets.set(field.name, targetOf(field));
  const state: ResolveState = { targets, table: table.name, problems: [] };
  const root = resolveNode(expression, '', state);
  return root === undefined || state.problems.length > 0
    ? left(state.problems.slice(0, filterProblemsMax))
    : right({ table: table.id, root });
};

const targetOf = ({ id, type, options }: FieldDefinition): Target =>
  options === undefined ? { id, domain: type } : { id, domain: type, options };

const report = (state: ResolveState, path: string, message: string): undefined => {
  state.problems.push({ path, message });
  return undefined;
};

const resolveNode = (
  node: FilterExpression,
  path: string,
  state: ResolveState,
): ResolvedNode | undefined => {
  switch (node.kind) {
    case 'and':
    case 'or': {
      const [name, members] = node.kind === 'and' ? ['all', node.all] : ['any', node.any];
      const items: ResolvedNode[] = [];
      members.forEach((member, i) => {
        const item = resolveNode(member, join(path, `${name}[${i}]`), state);
        if (item !== undefined) items.push(item);
      });
      return { kind: node.kind, items };
    }
    case 'not': {
      const item = resolveNode(node.not, join(path, 'not'), state);
      return item && { kind: 'not', item };
    }
    default: {
      const target = state.targets.get(node.field);
      return target === undefined
        ? report(state, join(path, 'field'), `table ${state.table} has no field ${node.field}`)
        : resolveCondition(node, target, path, state);
    }
  }
};

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);

const resolveCondition = (
  node: Exclude<FilterExpression, { readonly kind: 'and' | 'or' | 'not' }>,
  target: Target,
  path: string,
  state: ResolveState,
): ResolvedNode | undefined => {
  const { id: field, domain } = target;
  if (node.kind === 'null') return { kind: 'null', field, negated: node.negated };
  if (domain === 'attachment') {
    return report(
      state,
      path,
      `field ${node.field} is an attachment: only is null and is not null apply`,
    );
  }
  switch (node.kind) {
    case 'compare': {
      const value = canonicalLiteral(target, node.value);
      return value === undefined
        ? report(state, join(path, 'value'), `field ${node.field} needs ${needOf(target)}`)
        : { kind: 'compare', field, order: orderOf(domain), operator: node.operator, value };
    }
    case 'in': {
      const values: (ResolvedLiteral | null)[] = [];
      for (let i = 0; i < node.values.length; i += 1) {
        const literal = node.values[i] as FilterLiteral;
        const value = literal === null ? null : canonicalLiteral(target, literal);
        if (value === undefined) {
          return report(
            state,
            join(path, `values[${i}]`),
            `field ${node.field} needs ${needOf(target)}`,
          );
        }
        values.push(value);
      }
      return { kind: 'in', field, negated: node.negated, values };
    }
    default:
      return matchesText(domain)
        ? { kind: node.kind, field, text: node.text }
        : report(
            state,
            path,
            `field ${node.field} is a ${domain}: ${node.kind} applies to text only`,
          );
  }
};

const matchesText = (domain: Domain): boolean =>
  domain === 'string' || domain === 'text' || domain === 'option' || domain === 'reference';

const orderOf = (domain: Domain): ValueOrder => {
  if (domain === 'boolean' || domain === 'decimal') return domain;
  return domain === 'number' || domain === 'counter' || domain === 'instant' ? 'number' : 'text';
};

/** Canonical value of the target's type that the literal means; `undefined` when it does not fit. */
const canonicalLiteral = (
  { domain, options }: Target,
  literal: Exclude<FilterLiteral, null>,
): ResolvedLiteral | undefined => {
  switch (domain) {
    case 'instant':
      if (typeof literal === 'number') return Number.isFinite(literal) ? literal : undefined;
      return isCanonicalValue('datetime', literal) && typeof literal === 'string'
        ? epochMsOfDatetime(literal)
        : undefined;
    case 'decimal': {
      // The parser lets only numbers through whose digits survived; exponents are for numbers alone.
      const decimal = canonicalDecimal(String(literal));
      return decimal !== undefined && isCanonicalValue('decimal', decimal) ? decimal : undefined;
    }
    case 'option':
      return typeof literal === 'string' && (options === undefined || options.includes(literal))
        ? literal
        : undefined;
    case 'string':
    case 'text':
    case 'reference':
      // Any text may be compared, also one that the field could never hold: then it just never matches.
      return typeof literal === 'string' ? literal : undefined;
    default:
      return isCanonicalValue(domain, literal) && literal !== null && typeof literal !== 'object'
        ? literal
        : undefined;
  }
};

const needOf = ({ domain }: Target): string => {
  switch (domain) {
    case 'boolean':
      return 'true or false';
    case 'number':
    case 'counter':
      return 'a number';
    case 'decimal':
      return 'a decimal; as text when it is very small, very large or has many digits';
    case 'date':
      return 'a date as text, YYYY-MM-DD';
    case 'datetime':
      return 'a UTC time as text, YYYY-MM-DDTHH:MM:SS.sssZ';
    case 'instant':
      return 'milliseconds or a UTC time as text, YYYY-MM-DDTHH:MM:SS.sssZ';
    case 'option':
      return 'one of its options';
    default:
      return 'a text';
  }
};
