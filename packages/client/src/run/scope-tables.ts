import { resolveScope } from '@tidemark/filter';
import {
  invariant,
  isLeft,
  syncErrorsTable,
  TidemarkError,
  type Schema,
  type TableId,
} from '@tidemark/model';
import type { Scope } from '@tidemark/filter';

/** Table of a download, by id and name. */
export interface ScopeTable {
  readonly id: TableId;
  readonly name: string;
}

/** User tables of a scope by schema: every look at a status asks, and neither of them is ever changed. */
const known = new WeakMap<Schema, WeakMap<Scope, readonly ScopeTable[]>>();

/** User tables of a scope, ascending. Throws `invalid-scope` with every problem. */
export const userTables = (scope: Scope, schema: Schema): readonly ScopeTable[] => {
  let ofSchema = known.get(schema);
  if (ofSchema === undefined) {
    ofSchema = new WeakMap();
    known.set(schema, ofSchema);
  }
  let tables = ofSchema.get(scope);
  if (tables === undefined) {
    tables = resolvedTables(scope, schema);
    ofSchema.set(scope, tables);
  }
  return tables;
};

const resolvedTables = (scope: Scope, schema: Schema): readonly ScopeTable[] => {
  const resolved = resolveScope(scope, schema);
  if (isLeft(resolved))
    throw new TidemarkError(
      'invalid-scope',
      resolved.left.map(({ path, message }) => `${path}: ${message}`).join('; '),
      { problems: resolved.left.map(({ path, message }) => ({ path, message })) },
    );
  return [...resolved.right.tables.values()].map(({ tableId, tableName }) => ({
    id: tableId,
    name: tableName,
  }));
};

/** Everything that a download covers: the user tables, then the replica's sync errors. */
export const downloadTables = (scope: Scope, schema: Schema): readonly ScopeTable[] => {
  const errors = schema.tablesById.get(syncErrorsTable);
  invariant(errors !== undefined, 'every schema has the system tables');
  return [...userTables(scope, schema), { id: errors.id, name: errors.name }];
};
