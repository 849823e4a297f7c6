import type { FieldDefinition, Operation, TableDefinition } from '@tidemark/model';
import type { FieldCrdt } from '@tidemark/ports';

/** Fields of each such table. */
export const fields: readonly FieldDefinition[] = [
  { id: 1, name: 'title', type: 'string', maxLength: 20 },
  { id: 2, name: 'phone', type: 'string' },
  { id: 3, name: 'note', type: 'text', maxLength: 30 },
  { id: 9, name: 'essay', type: 'text' },
  { id: 4, name: 'count', type: 'counter' },
  { id: 5, name: 'parent', type: 'reference', table: 't1' },
];
/** Table with a field of each kind that merge treats in its own way. */
export const tableOf = (id: number, more: Partial<TableDefinition> = {}): TableDefinition => ({
  id,
  name: `t${id}`,
  fields,
  rule: 'manual',
  onDelete: 'edit-wins',
  indexes: [],
  ...more,
});
/** Record of the rules' tests. */
export const record = 'r';

/** Change of one plain field. */
export const set = (field: number, before: string | null, after: string | null) => [
  { field, before, after },
];

/** Whole history of a text that one actor changed from one value to another, as edits of field 3. */
export const typing = (
  crdt: FieldCrdt,
  table: number,
  from: string,
  to: string,
  actor: number,
): Operation['crdt'] => {
  const genesis = crdt.genesis({ tenant: 'acme', table, record, field: 3 }, from);
  const { document } = crdt.editText(genesis, to, new Uint8Array(16).fill(actor), 0);
  return [{ field: 3, changes: crdt.changesOf(document) }];
};
