import type { ServerBatch } from '@tidemark/ports';
import type { PreparedSource } from './prepared-cache.js';
import type { PackParts } from './prepared-pack.js';
import { openPreparedTables, type PreparedTables } from './prepared-tables.js';
import { openScopePostings, type ScopePostings } from './scope-postings.js';

export { preparedDefault } from './prepared-cache.js';

/** What is prepared for first fills: of whole tables, and of scopes that pin a scope key. */
export interface PreparedFills {
  readonly tables: PreparedTables;
  readonly postings: ScopePostings;
  readonly onCommit: (batch: ServerBatch) => void;
}

/** Opens what a store has prepared for first fills. */
export const openPreparedFills = (
  source: PreparedSource & { readonly parts: PackParts },
): PreparedFills => {
  const tables = openPreparedTables(source);
  const postings = openScopePostings(source);
  return {
    tables,
    postings,
    onCommit: (batch) => {
      tables.onCommit(batch);
      postings.onCommit(batch);
    },
  };
};
