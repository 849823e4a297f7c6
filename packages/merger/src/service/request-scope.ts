import type { LogPart } from '@tidemark/merge';
import { decodeScope, resolveScope, type TableScope } from '@tidemark/filter';
import {
  decodeRow,
  encodeRow,
  isLeft,
  parseOpId,
  problemsError,
  projectRow,
  syncErrorsTable,
  type FieldId,
  type Hash,
  type Row,
  type Schema,
  type TableId,
} from '@tidemark/model';
import type { StoredRecord } from '@tidemark/ports';
import { scopeHashOf } from '@tidemark/protocol';

/** Scope of one table as the download evaluates it. */
export interface ReadScope extends TableScope {
  /** Projected fields as a set; null for all. */
  readonly projection: ReadonlySet<FieldId> | null;
}

/** Scope of a replica: the tables it asked for and its own sync errors, by table id, ascending. */
export interface RequestScope {
  readonly hash: string;
  readonly tables: ReadonlyMap<TableId, ReadScope>;
}

/** Parts of another replica's log that a clone shares, by replica. */
type Shared = ReadonlyMap<string, readonly LogPart[]>;

const isShared = (shared: Shared, id: string): boolean => {
  const root = parseOpId(id);
  const parts = root && shared.get(root.replica);
  return (
    parts?.some(
      ({ epoch, from, to }) => epoch === root?.epoch && from < root.index && root.index <= to,
    ) === true
  );
};

/**
 * A replica always holds its own sync errors, those of its origins about operations that it shares, and
 * nobody else's.
 */
const ownSyncErrors = (replica: string, lineage: readonly LogPart[]): ReadScope => {
  const shared = new Map<string, LogPart[]>();
  for (const part of lineage) {
    const parts = shared.get(part.replica);
    if (parts === undefined) shared.set(part.replica, [part]);
    else parts.push(part);
  }
  return {
    tableId: syncErrorsTable,
    tableName: 'sync_errors',
    fields: 'all',
    filter: ({ id, fields }) =>
      fields[1] === replica || (shared.has(fields[1] as string) && isShared(shared, id)),
    reads: [1],
    key: shared.size === 0 ? { field: 1, value: replica } : null,
    projection: null,
  };
};

/**
 * Takes the scope of a request from JSON. Rejects with `invalid-scope` and every problem.
 *
 * `sync_errors` is always part of it, limited to the caller's replica and what it shares with the origins
 * in `lineage`; other system tables never are.
 */
export const readRequestScope = (
  json: unknown,
  schema: Schema,
  replica: string,
  lineage: readonly LogPart[],
  hash: Hash,
): RequestScope => {
  const decoded = decodeScope(json);
  if (isLeft(decoded)) throw problemsError('invalid-scope', decoded.left);
  const resolved = resolveScope(decoded.right, schema);
  if (isLeft(resolved)) throw problemsError('invalid-scope', resolved.left);
  const tables = new Map<TableId, ReadScope>();
  for (const [id, table] of resolved.right.tables)
    tables.set(id, {
      ...table,
      projection: table.fields === 'all' ? null : new Set(table.fields),
    });
  tables.set(syncErrorsTable, ownSyncErrors(replica, lineage));
  return { hash: scopeHashOf(decoded.right, hash), tables };
};

/** Tells whether a live row belongs to the scope of its table. */
export const isInScope = (scope: ReadScope, id: string, row: Row): boolean =>
  scope.filter === null ||
  scope.filter({
    id,
    fields: row.fields,
    modifiedOn: row.modifiedOn,
    createdOn: row.createdOn,
    modifiedBy: row.modifiedBy,
    owner: row.owner,
  });

/** Row bytes as the scope shows them; null when the record is outside. Decodes only where it must. */
export const scopedBytes = (scope: ReadScope, record: StoredRecord): Uint8Array | null => {
  if (record.deleted) return null;
  if (scope.filter === null && scope.projection === null) return record.row;
  const row = decodeRow(record.row);
  if (!isInScope(scope, record.id, row)) return null;
  return scope.projection === null ? record.row : encodeRow(projectRow(row, scope.projection));
};
