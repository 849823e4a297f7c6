import { describe, expect, expectTypeOf, test } from 'vitest';
import {
  defineSchema,
  field,
  schemaFromCustomization,
  type NewFieldsOf,
  type RecordOf,
  type TypedSchema,
} from './define-schema.js';
import { TidemarkError } from './error.js';
import type { AttachmentValue } from './value.js';

const schema = defineSchema({
  version: 3,
  tables: {
    customers: { id: 1, fields: { name: field.string(1, { required: true, maxLength: 80 }) } },
    visits: {
      id: 2,
      rule: 'latest-wins',
      onDelete: 'manual',
      scopeKey: 'customer',
      indexes: { byDay: ['day', 'customer'] },
      fields: {
        customer: field.reference(1, 'customers', { required: true }),
        day: field.date(2),
        at: field.datetime(3, { required: false }),
        done: field.boolean(4),
        size: field.number(5, { rule: 'manual' }),
        price: field.decimal(6),
        state: field.option(7, ['open', 'closed'], { required: true }),
        mood: field.option(8, ['good', 'bad']),
        seen: field.counter(9),
        note: field.text(10),
        photo: field.attachment(11),
      },
    },
  },
});
type Tables = typeof schema extends TypedSchema<infer T> ? T : never;
type Visit = RecordOf<typeof schema, 'visits'>;
type NewVisit = NewFieldsOf<Tables['visits']>;

describe('[MOD-18] defineSchema', () => {
  test('holds the same facts as the customization JSON', () => {
    expect(schema.customization).toEqual({
      format: 1,
      version: 3,
      tables: [
        {
          ...{ id: 1, name: 'customers', rule: 'server-wins', onDelete: 'edit-wins', indexes: [] },
          fields: [{ id: 1, name: 'name', type: 'string', required: true, maxLength: 80 }],
        },
        {
          ...{ id: 2, name: 'visits', rule: 'latest-wins', onDelete: 'manual' },
          scopeKey: 'customer',
          indexes: [{ name: 'byDay', fields: ['day', 'customer'] }],
          fields: [
            { id: 1, name: 'customer', type: 'reference', required: true, table: 'customers' },
            { id: 2, name: 'day', type: 'date' },
            { id: 3, name: 'at', type: 'datetime' },
            { id: 4, name: 'done', type: 'boolean' },
            { id: 5, name: 'size', type: 'number', rule: 'manual' },
            { id: 6, name: 'price', type: 'decimal' },
            { id: 7, name: 'state', type: 'option', required: true, options: ['open', 'closed'] },
            { id: 8, name: 'mood', type: 'option', options: ['good', 'bad'] },
            { id: 9, name: 'seen', type: 'counter' },
            { id: 10, name: 'note', type: 'text' },
            { id: 11, name: 'photo', type: 'attachment' },
          ],
        },
      ],
    });
    const json: unknown = JSON.parse(JSON.stringify(schema.customization));
    expect(schemaFromCustomization(json).customization).toEqual(schema.customization);
  });

  test('throws every problem with its path', () => {
    const define = (): unknown =>
      defineSchema({
        version: 1,
        tables: {
          sync_x: { id: 1, fields: { a: field.string(0), b: field.reference(2, 'none') } },
        },
      });
    expect(define).toThrow(TidemarkError);
    expect(define).toThrow(
      /^invalid-customization: tables\[0\]\.fields\[0\]\.id: .*; tables\[0\]\.fields\[1\]\.table: .*; tables\[0\]\.name: /,
    );
    expect(() => schemaFromCustomization({})).toThrow(/^invalid-customization: format: /);
  });
});

describe('[MOD-19] record types', () => {
  // `npm run check` compiles this file: a wrong type fails there.
  test('a record has its id and every field, null where it is not required', () => {
    expectTypeOf<Visit>().toEqualTypeOf<
      { readonly id: string } & {
        readonly customer: string;
        readonly day: string | null;
        readonly at: string | null;
        readonly done: boolean | null;
        readonly size: number | null;
        readonly price: string | null;
        readonly state: 'open' | 'closed';
        readonly mood: 'good' | 'bad' | null;
        readonly seen: number | null;
        readonly note: string | null;
        readonly photo: AttachmentValue | null;
      }
    >();
    const visit = { state: 'open' } as Visit;
    expect(visit.state).toBe('open');
  });

  test('a create needs the required fields and takes the others', () => {
    const least: NewVisit = { customer: 'c1', state: 'open' };
    const more: NewVisit = { ...least, day: null, mood: 'good', size: 1 };
    // @ts-expect-error -- the customer is required
    const none: NewVisit = { state: 'open' };
    // @ts-expect-error -- not one of the options
    const wrong: NewVisit = { customer: 'c1', state: 'closd' };
    // @ts-expect-error -- a number, not a text
    const typed: NewVisit = { ...least, size: '1' };
    expect([least, more, none, wrong, typed]).toHaveLength(5);
  });

  test('an unknown table has no record type', () => {
    expectTypeOf<RecordOf<typeof schema, 'nobody'>>().toBeNever();
    expectTypeOf<RecordOf<typeof schema, 'customers'>>().toEqualTypeOf<
      { readonly id: string } & { readonly name: string }
    >();
    expect(Object.keys(schema)).toEqual(['customization']);
  });
});
