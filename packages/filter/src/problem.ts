import type { Problem } from '@tidemark/model';

/**
 * One thing wrong with a filter or scope. It names fields and kinds, never constants: they may be private.
 *
 * `path` leads into the expression (`all[1].field`); `position` is the UTF-16 offset in a text, and
 * `expected` says what would have been right there.
 */
export interface FilterProblem extends Problem {
  readonly position?: number;
  readonly expected?: string;
}
