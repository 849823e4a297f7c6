import { customization, operation } from '@tidemark/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkOperation, checkValue } from './check-operation.js';
import { defineSchema, field } from './define-schema.js';
import type { FieldChange, Operation } from './operation.js';
import { indexSchema } from './schema.js';
import { systemTables } from './system-tables.js';

const { customization: own } = defineSchema({
  version: 1,
  tables: {
    visits: {
      id: 1,
      fields: {
        title: field.string(1, { required: true, maxLength: 3 }),
        state: field.option(2, ['open', 'done']),
        seen: field.counter(3),
        note: field.text(4),
        price: field.decimal(5),
      },
    },
  },
});
const schema = indexSchema(own, systemTables);

const op = (change: Partial<Operation>): Operation => ({
  ...{ table: 1, record: 'a', kind: 'update', base: null, prev: 0, since: 0, seen: 0 },
  ...{ set: [], inc: [], crdt: [], row: null },
  ...change,
});
const set = (...pairs: readonly (readonly [number, FieldChange['after']])[]) =>
  pairs.map(([id, after]) => ({ field: id, before: null, after }));
const codeOf = (change: Partial<Operation>): string | undefined => {
  const problem = checkOperation(schema, op(change));
  return problem === undefined ? undefined : `${problem.code} ${problem.table}.${problem.field}`;
};

describe('[MOD-20] an operation is checked against the schema', () => {
  const cases: Readonly<Record<string, readonly [Partial<Operation>, string | undefined]>> = {
    'a good update': [{ set: set([1, 'abc'], [2, 'open'], [5, '1.5']) }, undefined],
    'a field set to null': [{ set: set([2, null]) }, undefined],
    'a create with what is required': [{ kind: 'create', set: set([1, 'a'], [3, 4]) }, undefined],
    'an increment': [{ inc: [{ field: 3, by: -1 }] }, undefined],
    'a CRDT edit': [{ crdt: [{ field: 4, changes: new Uint8Array(1) }] }, undefined],
    'a plain write to a text': [{ set: set([4, 'all']) }, undefined],
    'a delete': [{ kind: 'delete' }, undefined],
    'an unknown table': [{ table: 9 }, 'unknown-table 9.'],
    'an unknown field': [{ set: set([9, 1]) }, 'unknown-field visits.9'],
    'an increment of an unknown field': [{ inc: [{ field: 9, by: 1 }] }, 'unknown-field visits.9'],
    'another type': [{ set: set([1, 1]) }, 'invalid-value visits.title'],
    'a decimal that is not canonical': [{ set: set([5, '1.50']) }, 'invalid-value visits.price'],
    'a text that is too long': [{ set: set([1, 'abcd']) }, 'invalid-value visits.title'],
    'an unknown option': [{ set: set([2, 'constructor']) }, 'invalid-value visits.state'],
    'a required field set to null': [{ set: set([1, null]) }, 'required-field visits.title'],
    'a create without a required field': [{ kind: 'create' }, 'required-field visits.title'],
    'a counter set by an update': [{ set: set([3, 1]) }, 'invalid-value visits.seen'],
    'an increment of a text': [{ inc: [{ field: 1, by: 1 }] }, 'invalid-value visits.title'],
    'an endless increment': [{ inc: [{ field: 3, by: Infinity }] }, 'invalid-value visits.seen'],
    'a CRDT edit of a string': [
      { crdt: [{ field: 1, changes: new Uint8Array(1) }] },
      'invalid-value visits.title',
    ],
  };

  test.each(Object.keys(cases))('%s', (name) => {
    const [change, expected] = cases[name] as readonly [Partial<Operation>, string | undefined];
    expect(codeOf(change)).toBe(expected);
  });

  test('total on any operation and schema; no value is repeated', () => {
    fc.assert(
      fc.property(customization, operation, fc.nat(), (any, one, pick) => {
        const indexed = indexSchema(any, systemTables);
        const table = any.tables[pick % any.tables.length]?.id ?? 0;
        const secret = 'secret-'.repeat(30);
        const changes = one.set.map((change) => ({ ...change, after: secret }));
        for (const candidate of [one, { ...one, table }, { ...one, table, set: changes }]) {
          const problem = checkOperation(indexed, candidate);
          if (problem !== undefined) expect(problem.message).not.toContain('secret-');
        }
      }),
    );
  });
});

test('[MOD-20] a single value is checked alike', () => {
  const table = schema.tablesByName.get('visits');
  const title = table?.fieldsByName.get('title');
  if (table === undefined || title === undefined) throw new Error('no visits.title');
  expect(checkValue(table, title, 'abc')).toBeUndefined();
  expect(checkValue(table, title, '\u{1f600}\u{1f600}')?.code).toBe('invalid-value');
  expect(checkValue(table, title, null)?.code).toBe('required-field');
});
