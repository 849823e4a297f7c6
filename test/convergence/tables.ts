import type { Customization, FieldDefinition, TableDefinition } from '@tidemark/model';

/** Field ids of the test tables. */
export const fieldIds = { a: 1, b: 2, c: 3, count: 4, note: 5, parent: 6, d: 7 } as const;

const fields = (own: FieldDefinition['rule']): readonly FieldDefinition[] => [
  { id: fieldIds.a, name: 'a', type: 'string' },
  { id: fieldIds.b, name: 'b', type: 'string' },
  { id: fieldIds.c, name: 'c', type: 'string', ...(own === undefined ? {} : { rule: own }) },
  { id: fieldIds.count, name: 'count', type: 'counter' },
  { id: fieldIds.note, name: 'note', type: 'text' },
];

/** Every rule of a table with every rule of a field beside it, and every rule of deletes. */
const tables: readonly TableDefinition[] = [
  {
    id: 1,
    name: 'server_wins',
    rule: 'server-wins',
    onDelete: 'edit-wins',
    indexes: [],
    fields: fields('manual'),
  },
  {
    id: 2,
    name: 'device_wins',
    rule: 'device-wins',
    onDelete: 'delete-wins',
    indexes: [{ name: 'by_a', fields: ['a'] }],
    fields: fields('latest-wins'),
  },
  {
    id: 3,
    name: 'full_row',
    rule: 'device-wins-full',
    onDelete: 'edit-wins',
    indexes: [],
    fields: fields('server-wins'),
  },
  {
    id: 4,
    name: 'latest',
    rule: 'latest-wins',
    onDelete: 'delete-wins',
    indexes: [],
    scopeKey: 'b',
    fields: fields('device-wins'),
  },
  {
    id: 5,
    name: 'manual',
    rule: 'manual',
    onDelete: 'manual',
    indexes: [],
    fields: fields('server-wins'),
  },
  {
    id: 6,
    name: 'children',
    rule: 'server-wins',
    onDelete: 'manual',
    indexes: [],
    fields: [
      ...fields('device-wins'),
      { id: fieldIds.parent, name: 'parent', type: 'reference', table: 'manual' },
    ],
  },
];

const later: TableDefinition = {
  id: 7,
  name: 'later',
  rule: 'latest-wins',
  onDelete: 'edit-wins',
  indexes: [],
  fields: fields(undefined),
};

/** Customization of the test tables; version 2 adds a field to each table, version 3 one more table. */
export const customizationOf = (version: 1 | 2 | 3): Customization => {
  const added: FieldDefinition = {
    id: fieldIds.d,
    name: 'd',
    type: 'string',
    rule: 'latest-wins',
  };
  const grown = tables.map((table) => ({ ...table, fields: [...table.fields, added] }));
  if (version === 1) return { format: 1, version, tables };
  return { format: 1, version, tables: version === 2 ? grown : [...grown, later] };
};
