import type { RecordId, RowFields, SchemaTable, Value } from '@tidemark/model';
import type { RecordView } from './local-replica.js';

/** Builds the record that the application reads: every field of the table by name, absent ones null. */
export const recordView = (table: SchemaTable, id: RecordId, fields: RowFields): RecordView => {
  const view: Record<string, Value> = { id };
  for (const field of table.fields) view[field.name] = fields[field.id] ?? null;
  return view as RecordView;
};
