import { customization } from '@tidemark/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  customizationBytesMax,
  decodeCustomization,
  destructiveChanges,
  fieldsPerTableMax,
  indexesPerTableMax,
  optionsMax,
  tablesMax,
} from './customization.js';
import { indexSchema, type Customization } from './schema.js';
import { systemTables } from './system-tables.js';

const field = { id: 1, name: 'title', type: 'string' };
const table = {
  ...{ id: 1, name: 'visits', fields: [field] as unknown[], rule: 'server-wins' },
  ...{ onDelete: 'edit-wins', indexes: [] as unknown[] },
};
const whole = (...tables: readonly unknown[]): unknown => ({ format: 1, version: 1, tables });

const problemsOf = (json: unknown): readonly (readonly [string, string])[] => {
  const decoded = decodeCustomization(json);
  return decoded._tag === 'Left'
    ? decoded.left.map(({ path, message }) => [path, message] as const)
    : [];
};
const pathsOf = (json: unknown): readonly string[] => problemsOf(json).map(([path]) => path);

const decodedOf = (json: unknown): Customization => {
  const decoded = decodeCustomization(json);
  if (decoded._tag === 'Left') throw new Error(JSON.stringify(decoded.left));
  return decoded.right;
};

describe('[MOD-13] a shape that is wrong', () => {
  test('every problem is reported with its path', () => {
    const json = {
      format: 2,
      tables: [
        table,
        {
          ...table,
          name: 7,
          rule: 'first-wins',
          scopeKey: 1,
          indexes: [{ name: 'byTitle', fields: ['title', 3] }, { fields: 'title' }],
          fields: [
            field,
            { id: '2', name: 'b', type: 'text', rule: 'nobody-wins' },
            { name: 'c', type: 'colour', options: ['x', 1], required: 'yes' },
            null,
          ],
        },
        'visits',
        [],
      ],
    };
    expect(new Map(problemsOf(json))).toEqual(
      new Map([
        ['format', 'expected 1, got number'],
        ['version', 'expected number, got nothing'],
        ['tables[1].name', 'expected string, got number'],
        [
          'tables[1].rule',
          'expected server-wins | device-wins | device-wins-full | latest-wins | manual, got string',
        ],
        ['tables[1].scopeKey', 'expected string, got number'],
        ['tables[1].indexes[0].fields[1]', 'expected string, got number'],
        ['tables[1].indexes[1].name', 'expected string, got nothing'],
        ['tables[1].indexes[1].fields', 'expected a list of names, got string'],
        ['tables[1].fields[1].id', 'expected number, got string'],
        [
          'tables[1].fields[1].rule',
          'expected server-wins | device-wins | device-wins-full | latest-wins | manual, got string',
        ],
        ['tables[1].fields[2].id', 'expected number, got nothing'],
        [
          'tables[1].fields[2].type',
          'expected boolean | number | string | decimal | date | datetime | option | reference | attachment | counter | text, got string',
        ],
        ['tables[1].fields[2].options[1]', 'expected string, got number'],
        ['tables[1].fields[2].required', 'expected boolean, got string'],
        ['tables[1].fields[3]', 'expected a field, got null'],
        ['tables[2]', 'expected a table, got string'],
        ['tables[3]', 'expected a table, got list'],
        // Of another kind, and told all the same.
        ['tables[1].id', '"1" is used twice'],
      ]),
    );
  });

  test.each([
    ['null', null, 'expected a customization, got null'],
    ['a list', [], 'expected a customization, got list'],
    ['a text', 'x', 'expected a customization, got string'],
    ['nothing', undefined, 'expected a customization, got nothing'],
  ])('%s', (_name, json, message) => {
    expect(problemsOf(json)[0]?.[1]).toBe(message);
  });

  test('at most 100 problems are reported', () => {
    expect(problemsOf(whole(...Array.from({ length: tablesMax }, () => 1))).length).toBe(100);
    const bad = Array.from({ length: 300 }, () => ({ ...field, id: 0 }));
    expect(problemsOf(whole({ ...table, fields: bad })).length).toBe(100);
  });

  test('no value of the input is repeated', () => {
    const text = JSON.stringify(problemsOf(whole({ ...table, rule: 'secret', id: 'secret' })));
    expect(text).not.toContain('secret');
  });
});

describe('[MOD-14] a meaning that is wrong', () => {
  const one = (change: object): unknown => whole({ ...table, fields: [{ ...field, ...change }] });
  const cases: Readonly<Record<string, readonly [unknown, readonly string[]]>> = {
    'version 0': [{ format: 1, version: 0, tables: [table] }, ['version']],
    'no fields': [whole({ ...table, fields: [] }), ['tables[0].fields']],
    'table id 60,000': [whole({ ...table, id: 60_000 }), ['tables[0].id']],
    'a fraction as id': [one({ id: 1.5 }), ['tables[0].fields[0].id']],
    'field id 10,000': [one({ id: 10_000 }), ['tables[0].fields[0].id']],
    'a name with a dot': [one({ name: 'a.b' }), ['tables[0].fields[0].name']],
    'the name id': [one({ name: 'id' }), ['tables[0].fields[0].name']],
    'the name __proto__': [one({ name: '__proto__' }), ['tables[0].fields[0].name']],
    'a table named __proto__': [whole({ ...table, name: '__proto__' }), ['tables[0].name']],
    'a reserved prefix': [whole({ ...table, name: 'sync_visits' }), ['tables[0].name']],
    'the name of a system table': [whole({ ...table, name: 'resolutions' }), ['tables[0].name']],
    'a table twice': [whole(table, table), ['tables[1].name', 'tables[1].id']],
    'a field twice': [
      whole({ ...table, fields: [field, field] }),
      ['tables[0].fields[1].id', 'tables[0].fields[1].name'],
    ],
    'an option field without options': [one({ type: 'option' }), ['tables[0].fields[0].options']],
    'equal options': [
      one({ type: 'option', options: ['a', 'a'] }),
      ['tables[0].fields[0].options'],
    ],
    'an empty option': [one({ type: 'option', options: [''] }), ['tables[0].fields[0].options']],
    'an option that is no canonical value': [
      one({ type: 'option', options: ['x'.repeat(256)] }),
      ['tables[0].fields[0].options'],
    ],
    'a lone surrogate': [
      one({ type: 'option', options: ['\ud800'] }),
      ['tables[0].fields[0].options'],
    ],
    'options on a text': [one({ options: ['a'] }), ['tables[0].fields[0].options']],
    'a reference to nowhere': [one({ type: 'reference' }), ['tables[0].fields[0].table']],
    'a reference to an unknown table': [
      one({ type: 'reference', table: 'constructor' }),
      ['tables[0].fields[0].table'],
    ],
    'a target on a text': [one({ table: 'visits' }), ['tables[0].fields[0].table']],
    'a length on a number': [
      one({ type: 'number', maxLength: 3 }),
      ['tables[0].fields[0].maxLength'],
    ],
    'length 0': [one({ maxLength: 0 }), ['tables[0].fields[0].maxLength']],
    'a length over the maximum': [one({ maxLength: 65_537 }), ['tables[0].fields[0].maxLength']],
    'a rule of tables on a field': [
      one({ rule: 'device-wins-full' }),
      ['tables[0].fields[0].rule'],
    ],
    'a rule on a counter': [one({ type: 'counter', rule: 'manual' }), ['tables[0].fields[0].rule']],
    'a required counter': [
      one({ type: 'counter', required: true }),
      ['tables[0].fields[0].required'],
    ],
    'an index without fields': [
      whole({ ...table, indexes: [{ name: 'a', fields: [] }] }),
      ['tables[0].indexes[0].fields'],
    ],
    'an index on a missing field': [
      whole({ ...table, indexes: [{ name: 'a', fields: ['title', 'toString'] }] }),
      ['tables[0].indexes[0].fields[1]'],
    ],
    'an index twice': [
      whole({
        ...table,
        indexes: [
          { name: 'a', fields: ['title'] },
          { name: 'a', fields: ['title'] },
        ],
      }),
      ['tables[0].indexes[1].name'],
    ],
    'a scope key that cannot be indexed': [
      whole({
        ...table,
        fields: [field, { id: 2, name: 'body', type: 'text' }],
        scopeKey: 'body',
      }),
      ['tables[0].scopeKey'],
    ],
    'too many tables': [
      whole(
        ...Array.from({ length: tablesMax + 1 }, (_, i) => ({
          ...table,
          id: i + 1,
          name: `t${i}`,
        })),
      ),
      ['tables'],
    ],
    'too many fields': [
      whole({
        ...table,
        fields: Array.from({ length: fieldsPerTableMax + 1 }, (_, i) => ({
          ...field,
          id: i + 1,
          name: `f${i}`,
        })),
      }),
      ['tables[0].fields'],
    ],
    'too many indexes': [
      whole({
        ...table,
        indexes: Array.from({ length: indexesPerTableMax + 1 }, (_, i) => ({
          name: `i${i}`,
          fields: ['title'],
        })),
      }),
      ['tables[0].indexes'],
    ],
    'too many options': [
      one({ type: 'option', options: Array.from({ length: optionsMax + 1 }, (_, i) => `o${i}`) }),
      ['tables[0].fields[0].options'],
    ],
    'too many bytes': [
      one({
        type: 'option',
        options: Array.from({ length: 1_000 }, (_, i) => String(i).padEnd(250)),
      }),
      [''],
    ],
  };

  test.each(Object.keys(cases))('%s', (name) => {
    const [json, paths] = cases[name] as readonly [unknown, readonly string[]];
    expect(pathsOf(json)).toEqual(paths);
  });

  test('is told beside a wrong shape, and nothing is said twice of one place', () => {
    const fields = [field, { ...field, id: 10_000, name: 'a b' }, { id: 2, name: 'c', type: 'no' }];
    const indexes = [{ name: 'by', fields: ['nowhere'] }];
    const json = {
      ...{ format: 1, version: 0 },
      tables: [
        { ...table, fields, indexes },
        { ...table, id: 'x', name: 'notes', indexes },
      ],
    };
    expect(pathsOf(json)).toEqual([
      'tables[0].fields[2].type',
      'tables[1].id',
      'version',
      'tables[0].fields[1].id',
      'tables[0].fields[1].name',
      'tables[1].indexes[0].fields[0]',
    ]);
  });

  test('every problem is reported, not only the first', () => {
    const json = whole({
      ...table,
      id: 0,
      scopeKey: 'none',
      fields: [{ ...field, id: 0, name: '' }],
    });
    expect(pathsOf(json)).toEqual([
      'tables[0].id',
      'tables[0].fields[0].id',
      'tables[0].fields[0].name',
      'tables[0].scopeKey',
    ]);
  });
});

describe('[MOD-15] customization JSON', () => {
  test('decoding inverts encoding', () => {
    fc.assert(
      fc.property(customization, (one) => {
        expect(decodedOf(JSON.parse(JSON.stringify(one)))).toEqual(one);
      }),
    );
  });

  test('known properties come in one order, unknown ones are dropped', () => {
    fc.assert(
      fc.property(customization, (one) => {
        const turn = (json: unknown): unknown => {
          if (Array.isArray(json)) return json.map(turn);
          if (typeof json !== 'object' || json === null) return json;
          const entries = Object.entries(json).map(([key, inner]) => [key, turn(inner)] as const);
          return Object.fromEntries([['$new', 1] as const, ...entries.reverse()]);
        };
        expect(JSON.stringify(decodedOf(turn(one)))).toBe(JSON.stringify(decodedOf(one)));
      }),
    );
  });

  test('decoding is total', () => {
    const json = fc.oneof(
      fc.jsonValue(),
      fc.jsonValue().map((one) => whole(one)),
      fc.jsonValue().map((one) => whole({ ...table, fields: [one], indexes: [one] })),
      fc.anything(),
    );
    fc.assert(
      fc.property(json, (one) => {
        const decoded = decodeCustomization(one);
        if (decoded._tag === 'Left') expect(decoded.left.length).toBeGreaterThan(0);
        else expect(decoded.right.format).toBe(1);
      }),
    );
  });

  test('a member __proto__ changes nothing', () => {
    const text = JSON.stringify(whole(table)).replaceAll('{', '{"__proto__":{"required":true},');
    const decoded = decodedOf(JSON.parse(text));
    expect(JSON.stringify(decoded)).toBe(JSON.stringify(decodedOf(whole(table))));
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test('unknown members do not count towards the size', () => {
    const padded = (name: string): unknown => ({ ...(whole(table) as object), padding: name });
    expect(pathsOf(padded('x'.repeat(customizationBytesMax)))).toEqual([]);
  });
});

describe('[MOD-16] look-ups', () => {
  test('names of the prototype are neither tables nor fields', () => {
    const schema = indexSchema(decodedOf(whole(table)), systemTables);
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
      expect(schema.tablesByName.get(name)).toBeUndefined();
      expect(schema.tablesByName.get('visits')?.fieldsByName.get(name)).toBeUndefined();
    }
  });

  test('a valid customization never hides a system table', () => {
    fc.assert(
      fc.property(customization, (one) => {
        const schema = indexSchema(one, systemTables);
        for (const system of systemTables) {
          expect(schema.tablesByName.get(system.name)?.id).toBe(system.id);
          expect(schema.tablesById.get(system.id)?.name).toBe(system.name);
        }
        for (const own of one.tables) expect(schema.tablesByName.get(own.name)?.id).toBe(own.id);
      }),
    );
  });
});

describe('[MOD-17] what a published customization may change', () => {
  const full = {
    ...table,
    scopeKey: 'title',
    fields: [
      { ...field, maxLength: 10 },
      { id: 2, name: 'state', type: 'option', options: ['open', 'done'] },
      { id: 3, name: 'parent', type: 'reference', table: 'visits' },
      { id: 4, name: 'need', type: 'string', required: true },
    ],
  };
  const current = decodedOf(whole(full));
  const other = { ...table, id: 2, name: 'other' };
  const after = (change: object, ...more: readonly unknown[]): readonly string[] =>
    destructiveChanges(
      current,
      decodedOf({ format: 1, version: 2, tables: [{ ...full, ...change }, ...more] }),
    ).map(({ path, message }) => `${path}: ${message}`);
  const field2 = (index: number, change: object): object => ({
    fields: full.fields.map((one, i) => (i === index ? { ...one, ...change } : one)),
  });

  test('additions and rules', () => {
    expect(after({}, other)).toEqual([]);
    expect(after({ fields: [...full.fields, { id: 9, name: 'new', type: 'date' }] })).toEqual([]);
    expect(after({ rule: 'manual', onDelete: 'manual' })).toEqual([]);
    expect(after({ indexes: [{ name: 'byTitle', fields: ['title'] }] })).toEqual([]);
    expect(after(field2(0, { maxLength: 11, rule: 'manual' }))).toEqual([]);
    expect(after(field2(1, { options: ['done', 'new', 'open'] }))).toEqual([]);
    expect(after(field2(3, { required: false }))).toEqual([]);
  });

  test('anything else is named', () => {
    expect(after({ name: 'calls', fields: full.fields.filter(({ id }) => id !== 3) })).toEqual([
      'tables.visits: the table was renamed',
      'tables.visits.parent: the field was removed',
    ]);
    expect(after({ scopeKey: 'state' })).toEqual(['tables.visits: the scope key was changed']);
    expect(after(field2(3, { name: 'needed' }))).toEqual([
      'tables.visits.need: the field was renamed',
    ]);
    expect(after(field2(3, { type: 'number' }))).toEqual([
      'tables.visits.need: the field was retyped',
    ]);
    expect(after(field2(2, { table: 'other' }), other)).toEqual([
      'tables.visits.parent: the reference was retargeted',
    ]);
    expect(after(field2(1, { required: true }))).toEqual([
      'tables.visits.state: an optional field cannot become required',
    ]);
    expect(after(field2(1, { options: ['open'] }))).toEqual([
      'tables.visits.state: an option was removed',
    ]);
    expect(after(field2(0, { maxLength: 9 }))).toEqual([
      'tables.visits.title: the maximum length was reduced',
    ]);
    expect(
      after({ fields: [...full.fields, { id: 9, name: 'x', type: 'date', required: true }] }),
    ).toEqual(['tables.visits.x: a field added to an existing table cannot be required']);
  });

  test('a lower version or a missing table', () => {
    expect(destructiveChanges(current, { ...current, tables: [] }).map(({ path }) => path)).toEqual(
      ['version', 'tables.visits'],
    );
  });
});
