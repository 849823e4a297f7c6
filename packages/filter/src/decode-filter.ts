import { left, right, type Result } from '@tidemark/model';
import { nameProblem, patternProblem, sizeProblem, textProblem } from './bounds.js';
import {
  filterDepthMax,
  filterListMax,
  filterNodesMax,
  filterProblemsMax,
  type ComparisonOperator,
  type FilterExpression,
  type FilterLiteral,
} from './expression.js';
import type { FilterProblem } from './problem.js';

/**
 * Decodes an expression from untrusted JSON into a fresh value, or lists what is wrong, at most 20.
 *
 * Unknown members are refused: a misspelt one would widen what the filter lets through. Only own
 * members are read, so `__proto__` cannot supply any. Never throws.
 */
export const decodeFilter = (json: unknown): Result<readonly FilterProblem[], FilterExpression> => {
  const state: DecodeState = { problems: [], nodes: 0 };
  const expression = decodeNode(json, '', 1, state);
  if (expression === undefined || state.problems.length > 0) return left(state.problems);
  const problem = sizeProblem(expression);
  return problem === undefined ? right(expression) : left([{ path: '', message: problem }]);
};

interface DecodeState {
  readonly problems: FilterProblem[];
  nodes: number;
}

type Members = Readonly<Record<string, unknown>>;

const membersByKind: Readonly<Record<FilterExpression['kind'], readonly string[]>> = {
  and: ['all'],
  or: ['any'],
  not: ['not'],
  compare: ['field', 'operator', 'value'],
  in: ['field', 'negated', 'values'],
  null: ['field', 'negated'],
  like: ['field', 'text'],
  'starts-with': ['field', 'text'],
  contains: ['field', 'text'],
};

const operators: ReadonlySet<unknown> = new Set<ComparisonOperator>([
  '=',
  '!=',
  '<',
  '<=',
  '>',
  '>=',
]);

const report = (state: DecodeState, path: string, message: string): undefined => {
  if (state.problems.length < filterProblemsMax) state.problems.push({ path, message });
  return undefined;
};

const decodeNode = (
  json: unknown,
  path: string,
  depth: number,
  state: DecodeState,
): FilterExpression | undefined => {
  state.nodes += 1;
  if (depth > filterDepthMax)
    return report(state, path, `filter is nested deeper than ${filterDepthMax}`);
  if (state.nodes > filterNodesMax) {
    // Reported once: the walk over the remaining members ends at once, node by node.
    return state.nodes === filterNodesMax + 1
      ? report(state, path, `filter has more than ${filterNodesMax} nodes`)
      : undefined;
  }
  const members = readMembers(json, path, state);
  if (members === undefined) return undefined;
  const at = (name: string): string => (path === '' ? name : `${path}.${name}`);
  const kind = members['kind'] as FilterExpression['kind'];
  switch (kind) {
    case 'and': {
      const all = decodeNodes(members['all'], at('all'), depth, state);
      return all && { kind, all };
    }
    case 'or': {
      const any = decodeNodes(members['any'], at('any'), depth, state);
      return any && { kind, any };
    }
    case 'not': {
      const not = decodeNode(members['not'], at('not'), depth + 1, state);
      return not && { kind, not };
    }
    default:
      return decodeCondition(kind, members, at, state);
  }
};

/** Own members of a node of a known kind, without any others. */
const readMembers = (json: unknown, path: string, state: DecodeState): Members | undefined => {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return report(state, path, 'expected an expression');
  }
  const kind: unknown = Object.hasOwn(json, 'kind') ? (json as Members)['kind'] : undefined;
  if (typeof kind !== 'string' || !Object.hasOwn(membersByKind, kind)) {
    return report(state, path, `expected a kind out of ${Object.keys(membersByKind).join(', ')}`);
  }
  const expected = membersByKind[kind as FilterExpression['kind']];
  const names = Object.keys(json);
  if (
    names.length !== expected.length + 1 ||
    !expected.every((name) => Object.hasOwn(json, name))
  ) {
    return report(state, path, `expected exactly the members kind, ${expected.join(', ')}`);
  }
  return json as Members;
};

const decodeNodes = (
  json: unknown,
  path: string,
  depth: number,
  state: DecodeState,
): readonly FilterExpression[] | undefined => {
  if (!Array.isArray(json) || json.length < 2 || json.length > filterNodesMax) {
    return report(state, path, `expected 2 to ${filterNodesMax} expressions`);
  }
  const nodes: FilterExpression[] = [];
  for (let i = 0; i < json.length; i += 1) {
    const node = decodeNode(json[i], `${path}[${i}]`, depth + 1, state);
    if (node !== undefined) nodes.push(node);
  }
  return nodes.length === json.length ? nodes : undefined;
};

const decodeCondition = (
  kind: Exclude<FilterExpression['kind'], 'and' | 'or' | 'not'>,
  members: Members,
  at: (name: string) => string,
  state: DecodeState,
): FilterExpression | undefined => {
  const { field, negated, operator, text } = members;
  const problem = typeof field === 'string' ? nameProblem(field) : 'expected a field name';
  if (problem !== undefined || typeof field !== 'string') {
    return report(state, at('field'), problem ?? 'expected a field name');
  }
  if ((kind === 'in' || kind === 'null') && typeof negated !== 'boolean') {
    return report(state, at('negated'), 'expected true or false');
  }
  switch (kind) {
    case 'null':
      return { kind, field, negated: negated === true };
    case 'in': {
      const values = decodeList(members['values'], at('values'), state);
      return values && { kind, field, negated: negated === true, values };
    }
    case 'compare': {
      if (!operators.has(operator))
        return report(state, at('operator'), 'expected =, !=, <, <=, > or >=');
      const value = decodeLiteral(members['value'], at('value'), state);
      if (value === undefined) return undefined;
      return value === null
        ? report(state, at('value'), 'null is compared by an expression of kind null')
        : { kind, field, operator: operator as ComparisonOperator, value };
    }
    case 'like':
    case 'starts-with':
    case 'contains': {
      if (typeof text !== 'string') return report(state, at('text'), 'expected a text');
      const wrong = patternProblem(kind, text);
      return wrong === undefined ? { kind, field, text } : report(state, at('text'), wrong);
    }
  }
};

const decodeList = (
  json: unknown,
  path: string,
  state: DecodeState,
): readonly FilterLiteral[] | undefined => {
  if (!Array.isArray(json) || json.length < 1 || json.length > filterListMax) {
    return report(state, path, `expected 1 to ${filterListMax} constants`);
  }
  const values: FilterLiteral[] = [];
  for (let i = 0; i < json.length; i += 1) {
    const value = decodeLiteral(json[i], `${path}[${i}]`, state);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values;
};

const decodeLiteral = (
  json: unknown,
  path: string,
  state: DecodeState,
): FilterLiteral | undefined => {
  if (json === null || typeof json === 'boolean') return json;
  if (typeof json === 'number' && Number.isFinite(json)) return json + 0;
  if (typeof json !== 'string') return report(state, path, 'expected a constant');
  const problem = textProblem(json);
  return problem === undefined ? json : report(state, path, problem);
};
