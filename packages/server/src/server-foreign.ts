import { TidemarkError, type SchemaTable } from '@tidemark/model';
import { entryItemsMax, type InputEntry, type Merger } from '@tidemark/merger';
import type { ForeignRow, Tables } from './server-types.js';
import { checkId, fieldsOf, tableOf } from './server-writes.js';

type Report = Extract<InputEntry, { readonly kind: 'foreign' }>['rows'][number];

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

const refuse = (table: SchemaTable, member: string, wanted: string): never => {
  throw new TidemarkError('invalid-value', `${member} of a row of ${table.name} is ${wanted}`);
};

/** Checks a row and turns its names into ids. The fold passes over an entry that holds one it cannot read. */
const bindRow = (merger: Merger, row: ForeignRow<Tables>): Report => {
  const { id, fields, modifiedOn, rowVersion, deleted } = row;
  const table = tableOf(merger.schema(), row.table);
  checkId(id);
  if (!isCount(modifiedOn)) refuse(table, 'modifiedOn', 'a whole number of ms');
  if (rowVersion !== undefined && !isCount(rowVersion))
    refuse(table, 'rowVersion', 'a whole number from 0');
  if (deleted !== undefined && typeof deleted !== 'boolean')
    refuse(table, 'deleted', 'true or false');
  return {
    table: table.id,
    id,
    fields: fieldsOf(table, fields as never),
    modifiedOn,
    ...(rowVersion === undefined ? {} : { rowVersion }),
    ...(deleted === undefined ? {} : { deleted }),
  };
};

/**
 * Reports rows of a system of record, in entries of at most 1,000. All are checked before the first is stored.
 * Rejects with `invalid-id`, `invalid-value`, `unknown-table`, `unknown-field`.
 */
export const reportForeign = async (
  merger: Merger,
  backend: string,
  rows: readonly ForeignRow<Tables>[],
): Promise<void> => {
  if (typeof backend !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(backend))
    throw new TidemarkError('invalid-id', 'a backend is named by 1 to 64 of [A-Za-z0-9_-]');
  const bound = rows.map((row) => bindRow(merger, row));
  for (let at = 0; at < bound.length; at += entryItemsMax)
    await merger.submit({ kind: 'foreign', backend, rows: bound.slice(at, at + entryItemsMax) });
};
