import {
  parseFilter,
  resolveFilter,
  resolveScope,
  compileFilter,
  type FilterPredicate,
  type TableSelection,
} from '@tidemark/filter';
import {
  decodeRow,
  fieldBytesOfRow,
  isLeft,
  isRecordId,
  problemsError,
  projectRow,
  TidemarkError,
  type Row,
  type SchemaTable,
  type Value,
} from '@tidemark/model';
import type { Merger } from '@tidemark/merger';
import { startContentFingerprint } from '@tidemark/protocol';
import type { StoredRecord } from '@tidemark/ports';
import { nodeCrypto } from '@tidemark/crypto-node';
import { tableOf } from './server-writes.js';

/** Records that one query returns at most. */
export const queryRecordsMax = 10_000;
const scanBytesMax = 1024 * 1024;
const scanRecordsMax = 5_000;

/** Record by field names. */
export type NamedRecord = { readonly id: string } & Readonly<Record<string, Value>>;

const nameRecord = (table: SchemaTable, id: string, row: Row): NamedRecord => {
  const out: Record<string, Value> = {};
  for (const field of table.fields) out[field.name] = row.fields[field.id] ?? null;
  return { id, ...out } as NamedRecord;
};

const filterInput = (id: string, row: Row) => ({
  id,
  fields: row.fields,
  modifiedOn: row.modifiedOn,
  createdOn: row.createdOn,
  modifiedBy: row.modifiedBy,
  owner: row.owner,
});

/** Reads one live record. */
export const getRecord = async (
  merger: Merger,
  tableName: string,
  id: string,
): Promise<NamedRecord | undefined> => {
  const table = tableOf(merger.schema(), tableName);
  if (!isRecordId(id)) return undefined;
  const [stored] = await merger.store.getRecords(table.id, [id]);
  return stored === undefined || stored.deleted
    ? undefined
    : nameRecord(table, id, decodeRow(stored.row));
};

async function* liveRecords(
  merger: Merger,
  table: SchemaTable,
  after: string | undefined,
): AsyncGenerator<StoredRecord> {
  let last = after;
  for (;;) {
    const { records, next } = await merger.store.scanRecords(table.id, {
      ...(last === undefined ? {} : { after: last }),
      maxBytes: scanBytesMax,
      maxRecords: scanRecordsMax,
    });
    for (const record of records) if (!record.deleted) yield record;
    if (next === undefined) return;
    last = next;
  }
}

const compile = (table: SchemaTable, text: string): FilterPredicate => {
  const parsed = parseFilter(text);
  if (isLeft(parsed)) throw problemsError('invalid-filter', [parsed.left]);
  const resolved = resolveFilter(parsed.right, table);
  if (isLeft(resolved)) throw problemsError('invalid-filter', resolved.left);
  return compileFilter(resolved.right);
};

/** What to read of a table: records in id order after `after`. */
export interface ServerQuery {
  readonly filter?: string;
  readonly after?: string;
  /** Whole number, at most `queryRecordsMax`. Without it more matches than that are refused. */
  readonly limit?: number;
}

/** Throws `invalid-option` for a limit that is none. */
const limitOf = ({ limit }: ServerQuery): number | undefined => {
  if (
    limit === undefined ||
    (Number.isSafeInteger(limit) && limit >= 0 && limit <= queryRecordsMax)
  )
    return limit;
  throw new TidemarkError('invalid-option', `limit is 0 to ${queryRecordsMax}; go on with after`, {
    option: 'limit',
  });
};

/** Reads records in id order. Throws `query-too-large` without a limit, so that nothing is cut unseen. */
export const queryRecords = async (
  merger: Merger,
  tableName: string,
  query: ServerQuery,
): Promise<readonly NamedRecord[]> => {
  const table = tableOf(merger.schema(), tableName);
  const limit = limitOf(query);
  const accepts = query.filter === undefined ? undefined : compile(table, query.filter);
  const found: NamedRecord[] = [];
  if (limit === 0) return found;
  for await (const { id, row: bytes } of liveRecords(merger, table, query.after)) {
    const row = decodeRow(bytes);
    if (accepts !== undefined && !accepts(filterInput(id, row))) continue;
    if (found.length >= queryRecordsMax)
      throw new TidemarkError(
        'query-too-large',
        `more than ${queryRecordsMax} records; give a limit`,
        {
          table: tableName,
        },
      );
    found.push(nameRecord(table, id, row));
    if (found.length === limit) break;
  }
  return found;
};

/** Content fingerprint of a table, as a device with this selection has it. */
export const fingerprintTable = async (
  merger: Merger,
  tableName: string,
  selection: TableSelection,
): Promise<string> => {
  const table = tableOf(merger.schema(), tableName);
  const scope = resolveScope({ tables: { [tableName]: selection } }, merger.schema());
  if (isLeft(scope)) throw problemsError('invalid-scope', scope.left);
  const part = scope.right.tables.get(table.id);
  const projection = part === undefined || part.fields === 'all' ? null : new Set(part.fields);
  const filter = part?.filter ?? null;
  const fingerprint = startContentFingerprint(nodeCrypto.sha256);
  for await (const { id, row: bytes } of liveRecords(merger, table, undefined)) {
    if (filter === null && projection === null) {
      fingerprint.addBytes(id, fieldBytesOfRow(bytes));
      continue;
    }
    const row = decodeRow(bytes);
    if (filter !== null && !filter(filterInput(id, row))) continue;
    fingerprint.add({
      id,
      fields: projection === null ? row.fields : projectRow(row, projection).fields,
    });
  }
  return fingerprint.digest();
};
