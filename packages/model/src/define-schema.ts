import { decodeCustomization } from './customization.js';
import { problemsError } from './error.js';
import { isLeft } from './result.js';
import type { Customization, DeleteRule, FieldDefinition, ResolutionRule } from './schema.js';
import type { AttachmentValue, FieldType } from './value.js';

/** Field of `defineSchema`, with the TypeScript type of its value. Made by the builders of `field`. */
export interface FieldSpec<V, Required extends boolean = boolean> {
  readonly id: number;
  readonly type: FieldType;
  readonly required: Required;
  readonly maxLength?: number;
  readonly options?: readonly string[];
  readonly table?: string;
  readonly rule?: Exclude<ResolutionRule, 'device-wins-full'>;
  /** Carries the value type; never present at run time. */
  readonly _value?: V;
}

type FieldRule = { readonly rule?: Exclude<ResolutionRule, 'device-wins-full'> };
type Need = { readonly required?: boolean };
type NeedOf<O> = O extends { readonly required: true } ? true : false;

const spec =
  <V>(type: FieldType) =>
  <const O extends Need & FieldRule & { readonly maxLength?: number } = Record<never, never>>(
    id: number,
    options?: O,
  ): FieldSpec<V, NeedOf<O>> =>
    ({ id, type, ...options, required: options?.required ?? false }) as FieldSpec<V, NeedOf<O>>;

/** Builders of fields. The first argument is the field's numeric id: never change or reuse it. */
export const field = {
  /** true or false. */
  boolean: spec<boolean>('boolean'),
  /** Finite IEEE number; no NaN, no -0. */
  number: spec<number>('number'),
  /** Text stored as given. */
  string: spec<string>('string'),
  /** Exact decimal as text, such as `12.5`. */
  decimal: spec<string>('decimal'),
  /** Calendar date `YYYY-MM-DD`. */
  date: spec<string>('date'),
  /** UTC instant `YYYY-MM-DDTHH:MM:SS.sssZ`. */
  datetime: spec<string>('datetime'),
  /** Number that changes by increments; concurrent increments add. */
  counter: spec<number>('counter'),
  /** Shared text; concurrent edits combine. */
  text: spec<string>('text'),
  /** Reserved: description of bytes kept elsewhere. */
  attachment: spec<AttachmentValue>('attachment'),
  /** One of the listed options. */
  option: <const V extends string, const O extends Need & FieldRule = Record<never, never>>(
    id: number,
    options: readonly V[],
    more?: O,
  ): FieldSpec<V, NeedOf<O>> =>
    ({
      id,
      type: 'option',
      options,
      ...more,
      required: more?.required ?? false,
    }) as unknown as FieldSpec<V, NeedOf<O>>,
  /** Id of a record of another table. */
  reference: <const O extends Need & FieldRule = Record<never, never>>(
    id: number,
    table: string,
    more?: O,
  ): FieldSpec<string, NeedOf<O>> =>
    ({ id, type: 'reference', table, ...more, required: more?.required ?? false }) as FieldSpec<
      string,
      NeedOf<O>
    >,
};

/** Table of `defineSchema`. Rules default to server-wins and edit-wins. */
export interface TableSpec {
  readonly id: number;
  readonly fields: Readonly<Record<string, FieldSpec<unknown>>>;
  readonly rule?: ResolutionRule;
  readonly onDelete?: DeleteRule;
  readonly indexes?: Readonly<Record<string, readonly string[]>>;
  readonly scopeKey?: string;
}

/** Schema with its TypeScript types: what `defineSchema` returns and `openReplica` takes. */
export interface TypedSchema<Tables extends Readonly<Record<string, TableSpec>>> {
  readonly customization: Customization;
  /** Carries the record types; never present at run time. */
  readonly _tables?: Tables;
}

type ValueOf<F> = F extends FieldSpec<infer V> ? V : never;
type RequiredKeys<F> = {
  [K in keyof F]: F[K] extends FieldSpec<unknown, true> ? K : never;
}[keyof F];

/** Fields of a table as the application reads them: absent values are null. */
export type FieldsOf<T extends TableSpec> = {
  readonly [K in keyof T['fields']]: K extends RequiredKeys<T['fields']>
    ? ValueOf<T['fields'][K]>
    : ValueOf<T['fields'][K]> | null;
};

/** Fields that a create takes: the required ones, and any of the others. */
export type NewFieldsOf<T extends TableSpec> = {
  readonly [K in keyof T['fields'] as K extends RequiredKeys<T['fields']> ? K : never]: ValueOf<
    T['fields'][K]
  >;
} & {
  readonly [K in keyof T['fields'] as K extends RequiredKeys<T['fields']> ? never : K]?: ValueOf<
    T['fields'][K]
  > | null;
};

/** Record of a table with its id: what `get` and `query` return. */
export type RecordOf<S, Name extends string> =
  S extends TypedSchema<infer Tables>
    ? Name extends keyof Tables
      ? { readonly id: string } & FieldsOf<Tables[Name]>
      : never
    : never;

/**
 * Defines a schema in TypeScript and infers its record types.
 *
 * `defineSchema` and the customization JSON hold the same facts: `customization` is the JSON.
 * Throws TidemarkError `invalid-customization` with every problem and its path.
 */
export const defineSchema = <const Tables extends Readonly<Record<string, TableSpec>>>(definition: {
  readonly version: number;
  readonly tables: Tables;
}): TypedSchema<Tables> => {
  const tables = Object.entries(definition.tables).map(([name, table]) => ({
    id: table.id,
    name,
    fields: Object.entries(table.fields).map(([fieldName, one]): FieldDefinition => {
      const { id, type, required, maxLength, options, table: target, rule } = one;
      return {
        id,
        name: fieldName,
        type,
        ...(required ? { required } : {}),
        ...(maxLength === undefined ? {} : { maxLength }),
        ...(options === undefined ? {} : { options }),
        ...(target === undefined ? {} : { table: target }),
        ...(rule === undefined ? {} : { rule }),
      };
    }),
    rule: table.rule ?? 'server-wins',
    onDelete: table.onDelete ?? 'edit-wins',
    indexes: Object.entries(table.indexes ?? {}).map(([indexName, fields]) => ({
      name: indexName,
      fields: [...fields],
    })),
    ...(table.scopeKey === undefined ? {} : { scopeKey: table.scopeKey }),
  }));
  const decoded = decodeCustomization({ format: 1, version: definition.version, tables });
  if (isLeft(decoded)) throw problemsError('invalid-customization', decoded.left);
  return { customization: decoded.right };
};

/** Takes a customization from JSON as a schema whose record types are not known to the compiler. */
export const schemaFromCustomization = (
  json: unknown,
): TypedSchema<Readonly<Record<string, TableSpec>>> => {
  const decoded = decodeCustomization(json);
  if (isLeft(decoded)) throw problemsError('invalid-customization', decoded.left);
  return { customization: decoded.right };
};
