import type { FieldsOf, FieldSpec, TableSpec, TypedSchema, Value } from '@tidemark/model';

/** Tables of a schema by name, as `defineSchema` takes them. */
export type Tables = Readonly<Record<string, TableSpec>>;
/** Name of a table of a schema. */
export type TableName<T extends Tables> = keyof T & string;

/** Fields that a server write sets: any of the table's; null clears one. */
export type WriteFields<T extends TableSpec> = {
  readonly [K in keyof T['fields']]?: FieldsOf<T>[K] | null;
};

type CounterNames<T extends TableSpec> = {
  [K in keyof T['fields']]: T['fields'][K] extends FieldSpec<number> ? K : never;
}[keyof T['fields']];

/** Amounts by which counters change. */
export type Increments<T extends TableSpec> = { readonly [K in CounterNames<T>]?: number };

/** Record of the server: id and fields, absent values are null. */
export type ServerRecord<T extends TableSpec> = { readonly id: string } & FieldsOf<T>;

/** One operation of `server.write`. */
export type WriteOperation<T extends Tables> = {
  [N in TableName<T>]:
    | {
        /** `put` creates the record or sets the fields of the live one; `patch` only the latter. */
        readonly kind: 'put' | 'patch';
        readonly table: N;
        readonly id: string;
        readonly fields: WriteFields<T[N]>;
      }
    | { readonly kind: 'delete'; readonly table: N; readonly id: string }
    | {
        readonly kind: 'increment';
        readonly table: N;
        readonly id: string;
        readonly by: Increments<T[N]>;
      };
}[TableName<T>];

/** Collects the operations of one `server.write`. */
export interface Writer<T extends Tables> {
  readonly put: <N extends TableName<T>>(table: N, id: string, fields: WriteFields<T[N]>) => void;
  readonly patch: <N extends TableName<T>>(table: N, id: string, fields: WriteFields<T[N]>) => void;
  readonly delete: (table: TableName<T>, id: string) => void;
  readonly increment: <N extends TableName<T>>(table: N, id: string, by: Increments<T[N]>) => void;
}

/** What `server.write` takes: operations, also as a stream, or a callback that collects them. */
export type WriteInput<T extends Tables> =
  | Iterable<WriteOperation<T>>
  | AsyncIterable<WriteOperation<T>>
  | ((writer: Writer<T>) => void | Promise<void>);

/** Row of a system of record, by names. `modifiedOn` in ms. */
export type ForeignRow<T extends Tables> = {
  [N in TableName<T>]: {
    readonly table: N;
    readonly id: string;
    readonly fields: WriteFields<T[N]>;
    readonly modifiedOn: number;
    readonly rowVersion?: number;
    readonly deleted?: boolean;
  };
}[TableName<T>];

/** Schema whose tables are `T`. */
export type SchemaOf<T extends Tables> = TypedSchema<T>;

/** Untyped operation, as the door handles it inside. */
export interface LooseOperation {
  readonly kind: 'put' | 'patch' | 'delete' | 'increment';
  readonly table: string;
  readonly id: string;
  readonly fields?: Readonly<Record<string, Value | undefined>>;
  readonly by?: Readonly<Record<string, number | undefined>>;
}
