import type { FieldId, TableId } from './ids.js';
import type { FieldType } from './value.js';

/**
 * Rule that decides a conflict. `device-wins-full` is a rule of tables only: the author's whole row
 * replaces the server's when the record changed since.
 */
export type ResolutionRule =
  'server-wins' | 'device-wins' | 'device-wins-full' | 'latest-wins' | 'manual';

/** Every resolution rule. */
export const resolutionRules: readonly ResolutionRule[] = [
  'server-wins',
  'device-wins',
  'device-wins-full',
  'latest-wins',
  'manual',
];

/** Rule for a delete that meets an edit, or an edit that meets a delete. */
export type DeleteRule = 'edit-wins' | 'delete-wins' | 'manual';

/** Every delete rule. */
export const deleteRules: readonly DeleteRule[] = ['edit-wins', 'delete-wins', 'manual'];

/** Field of a table. `table` names the target of a reference; `rule` overrides the table's rule. */
export interface FieldDefinition {
  readonly id: FieldId;
  readonly name: string;
  readonly type: FieldType;
  readonly required?: boolean;
  readonly maxLength?: number;
  readonly options?: readonly string[];
  readonly table?: string;
  readonly rule?: Exclude<ResolutionRule, 'device-wins-full'>;
}

/** Declared index: fields by name, in order. The record id breaks ties. */
export interface IndexDefinition {
  readonly name: string;
  readonly fields: readonly string[];
}

/** Table with its fields and rules. `scopeKey` names the field whose equality filters cut downloads. */
export interface TableDefinition {
  readonly id: TableId;
  readonly name: string;
  readonly fields: readonly FieldDefinition[];
  readonly rule: ResolutionRule;
  readonly onDelete: DeleteRule;
  readonly indexes: readonly IndexDefinition[];
  readonly scopeKey?: string;
}

/** Customization: the versioned schema with rules that an administrator publishes. */
export interface Customization {
  readonly format: 1;
  readonly version: number;
  readonly tables: readonly TableDefinition[];
}

/** Highest numeric id of a user table; greater ids belong to system tables. */
export const userTableIdMax = 59_999;
/** Highest numeric id of a field. */
export const fieldIdMax = 9_999;

/** Schema is a customization with look-ups by id and name; build it with `indexSchema`. */
export interface Schema {
  readonly customization: Customization;
  readonly tablesById: ReadonlyMap<TableId, SchemaTable>;
  readonly tablesByName: ReadonlyMap<string, SchemaTable>;
}

/** Table of a Schema with its fields by id and by name. */
export interface SchemaTable extends TableDefinition {
  readonly fieldsById: ReadonlyMap<FieldId, FieldDefinition>;
  readonly fieldsByName: ReadonlyMap<string, FieldDefinition>;
  /** True when the table or one of its fields is decided by latest-wins: rows then carry `editedAt`. */
  readonly keepsEditedAt: boolean;
}

const indexTable = (table: TableDefinition): SchemaTable => ({
  ...table,
  fieldsById: new Map(table.fields.map((field) => [field.id, field])),
  fieldsByName: new Map(table.fields.map((field) => [field.name, field])),
  keepsEditedAt:
    table.rule === 'latest-wins' || table.fields.some((field) => field.rule === 'latest-wins'),
});

/** Indexes a valid customization, together with the system tables, for look-ups. */
export const indexSchema = (
  customization: Customization,
  systemTables: readonly TableDefinition[],
): Schema => {
  const tables = [...customization.tables, ...systemTables].map(indexTable);
  return {
    customization,
    tablesById: new Map(tables.map((table) => [table.id, table])),
    tablesByName: new Map(tables.map((table) => [table.name, table])),
  };
};

/** Rule that decides a conflict on a field: the field's own, else the table's. */
export const ruleOfField = (table: TableDefinition, field: FieldDefinition): ResolutionRule =>
  field.rule ?? table.rule;
