/** Constant in a filter. Dates, times, decimals, options and references are written as text. */
export type FilterLiteral = null | boolean | number | string;

/** Operators that compare a field with one constant. */
export type ComparisonOperator = '=' | '!=' | '<' | '<=' | '>' | '>=';

/**
 * Expression over one record: a JSON-safe tagged union, as `parseFilter` and `decodeFilter` build it.
 *
 * `field` is a field's name, or a meta field: `$id`, `$modifiedOn`, `$createdOn`, `$modifiedBy`, `$owner`.
 * `and` and `or` hold at least two members. A comparison with null is always the kind `null`.
 */
export type FilterExpression =
  | { readonly kind: 'and'; readonly all: readonly FilterExpression[] }
  | { readonly kind: 'or'; readonly any: readonly FilterExpression[] }
  | { readonly kind: 'not'; readonly not: FilterExpression }
  | {
      readonly kind: 'compare';
      readonly field: string;
      readonly operator: ComparisonOperator;
      readonly value: Exclude<FilterLiteral, null>;
    }
  | {
      readonly kind: 'in';
      readonly field: string;
      readonly negated: boolean;
      readonly values: readonly FilterLiteral[];
    }
  | { readonly kind: 'null'; readonly field: string; readonly negated: boolean }
  | {
      readonly kind: 'like' | 'starts-with' | 'contains';
      readonly field: string;
      readonly text: string;
    };

/** Maximum nesting of a filter: people write 3 levels, generators seldom 10. */
export const filterDepthMax = 32;
/** Maximum number of nodes (comparisons and connectives) of a filter. */
export const filterNodesMax = 500;
/** Maximum number of constants in one `in` list. */
export const filterListMax = 1_000;
/** Maximum length of one constant text in UTF-8 bytes. */
export const filterStringBytesMax = 4 * 1024;
/**
 * Maximum length of the pattern of `like` and `contains` in UTF-16 units. It bounds the matching of a
 * record at text length x 255 steps, whatever the pattern.
 */
export const filterPatternLengthMax = 255;
/** Maximum length of a field name in UTF-16 units. */
export const filterNameLengthMax = 255;
/** Maximum length of a filter's text in UTF-16 units: 1,000 UUIDs in a list fit. */
export const filterTextLengthMax = 64 * 1024;
/** Maximum number of problems reported at once. */
export const filterProblemsMax = 20;
