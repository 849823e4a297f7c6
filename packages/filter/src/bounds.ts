import { isWellFormed, utf8Length } from '@tidemark/model';
import {
  filterDepthMax,
  filterNameLengthMax,
  filterNodesMax,
  filterPatternLengthMax,
  filterStringBytesMax,
  filterTextLengthMax,
  type FilterExpression,
} from './expression.js';
import { isLikePattern } from './like-pattern.js';
import { printFilter } from './print-filter.js';

/** Says what is wrong with a constant text; `undefined` when it may stand in a filter. */
export const textProblem = (text: string): string | undefined => {
  if (!isWellFormed(text)) return 'text holds a lone surrogate';
  if (utf8Length(text) > filterStringBytesMax) {
    return `text exceeds ${filterStringBytesMax} bytes`;
  }
  return undefined;
};

/** Says what is wrong with the text of `like`, `starts with` or `contains`. */
export const patternProblem = (
  kind: 'like' | 'starts-with' | 'contains',
  text: string,
): string | undefined => {
  if (kind !== 'starts-with' && text.length > filterPatternLengthMax) {
    return `pattern exceeds ${filterPatternLengthMax} characters`;
  }
  if (kind === 'like' && !isLikePattern(text)) {
    return 'a backslash in a pattern must be followed by %, _ or a backslash';
  }
  return textProblem(text);
};

/** Says what is wrong with a field name as such; whether the table has it is `resolveFilter`'s matter. */
export const nameProblem = (name: string): string | undefined =>
  name.length > 0 && name.length <= filterNameLengthMax && isWellFormed(name)
    ? undefined
    : `a field name must have 1 to ${filterNameLengthMax} well-formed characters`;

/** Says which bound of the whole an expression exceeds: depth, nodes or length of its text. */
export const sizeProblem = (expression: FilterExpression): string | undefined => {
  let nodes = 0;
  let level: readonly FilterExpression[] = [expression];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > filterDepthMax) return `filter is nested deeper than ${filterDepthMax}`;
    nodes += level.length;
    if (nodes > filterNodesMax) return `filter has more than ${filterNodesMax} nodes`;
    level = level.flatMap((node) =>
      node.kind === 'and'
        ? node.all
        : node.kind === 'or'
          ? node.any
          : node.kind === 'not'
            ? [node.not]
            : [],
    );
  }
  return printFilter(expression).length > filterTextLengthMax
    ? `filter text exceeds ${filterTextLengthMax} characters`
    : undefined;
};
