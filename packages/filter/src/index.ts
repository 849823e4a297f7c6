export {
  filterDepthMax,
  filterNodesMax,
  filterListMax,
  filterStringBytesMax,
  filterPatternLengthMax,
  filterNameLengthMax,
  filterTextLengthMax,
  filterProblemsMax,
  type FilterExpression,
  type FilterLiteral,
  type ComparisonOperator,
} from './expression.js';
export type { FilterProblem } from './problem.js';
export { parseFilter } from './parse-filter.js';
export { printFilter } from './print-filter.js';
export { decodeFilter } from './decode-filter.js';
export {
  resolveFilter,
  metaFieldIds,
  type ResolvedFilter,
  type ResolvedNode,
  type ResolvedLiteral,
} from './resolve-filter.js';
export { compileFilter, type FilterInput, type FilterPredicate } from './compile-filter.js';
export {
  equalityKey,
  fieldsRead,
  indexRange,
  planIndex,
  type IndexPlan,
  type IndexRange,
} from './plan-index.js';
export { compareTexts, compareDecimals, compareOrdered, type ValueOrder } from './value-order.js';
export {
  decodeScope,
  resolveScope,
  scopeText,
  scopeTextLengthMax,
  type Scope,
  type TableSelection,
  type TableScope,
  type ResolvedScope,
} from './scope.js';
export { membershipChange, type MembershipChange } from './membership.js';
