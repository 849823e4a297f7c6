import {
  fieldIdMax,
  fieldTypes,
  isRecordId,
  printOpId,
  userTableIdMax,
  type BaseVersion,
  type Customization,
  type Envelope,
  type FieldDefinition,
  type FieldId,
  type FieldType,
  type Operation,
  type OpId,
  type Row,
  type RowFields,
  type ServerVersion,
  type TableDefinition,
  type Transaction,
  type Value,
} from '@tidemark/model';
import fc from 'fast-check';

/** Well-formed texts that break careless code: separators, wildcards, prototypes, Unicode. */
export const nastyTexts: readonly string[] = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '*',
  '>',
  'a.b',
  '.',
  ' ',
  ' leading and trailing ',
  'a/b',
  '..',
  '"',
  '\\',
  "'",
  '%',
  '_',
  '\n',
  '\t',
  '\u0001',
  '\u007f',
  '\ufeff',
  '\u2028',
  'é',
  'e\u0301',
  'ß',
  'İ',
  '日本',
  '\u{1f600}',
  '\u{10ffff}',
  '\uffff',
  '0',
  '-0',
  '1e3',
  'null',
  'undefined',
  'NaN',
];

const unit = fc.oneof(
  fc.constantFrom('a', 'b', 'Z', '0', '-', '_'),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  fc.constantFrom(...nastyTexts),
);

/** Well-formed text, often nasty, at most `lengthMax` pieces long. */
export const text = (lengthMax = 12): fc.Arbitrary<string> =>
  fc.oneof(fc.constantFrom('', ...nastyTexts), fc.string({ unit, maxLength: lengthMax }));

/** Text with at least one lone surrogate. */
export const illFormedText: fc.Arbitrary<string> = fc
  .tuple(text(3), fc.integer({ min: 0xd800, max: 0xdfff }), text(3))
  // Neighbours never end or start with half a pair, so the surrogate stays alone.
  .map(([before, code, after]) => `${before}${String.fromCharCode(code)}${after}`);

/** Valid record id. */
export const recordId: fc.Arbitrary<string> = fc.oneof(
  fc.uuid({ version: 7 }),
  text(20).filter(isRecordId),
  fc.constantFrom('a'.repeat(255), '\u{1f600}'.repeat(63), 'é'.repeat(127)),
);

/** Text that is not a record id: empty, too long, with NUL or a lone surrogate. */
export const invalidRecordId: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom('', 'a'.repeat(256), 'é'.repeat(128), '\u{1f600}'.repeat(64), '\0', 'a\0b'),
  illFormedText,
);

/** Valid replica id. */
export const replicaId: fc.Arbitrary<string> = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);

/** Count within what JSON and the formats hold exactly. */
export const count: fc.Arbitrary<number> = fc.oneof(
  fc.nat({ max: 10 }),
  fc.maxSafeNat(),
  fc.constantFrom(0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);

/** Position of an operation. */
export const opId: fc.Arbitrary<OpId> = fc.record({
  replica: replicaId,
  epoch: fc.nat(),
  index: fc.integer({ min: 1, max: 999_999_999_999_999 }),
});

/** Numeric id of a user table. */
export const tableId: fc.Arbitrary<number> = fc.integer({ min: 1, max: userTableIdMax });
/** Numeric id of a field. */
export const fieldId: fc.Arbitrary<number> = fc.integer({ min: 1, max: fieldIdMax });

const finite = fc.oneof(
  fc.constantFrom(0, 1, -1, 0.1, 5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, 2 ** 53),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
);

const digits = (min: number, max: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: min, maxLength: max });

const decimal = fc.tuple(fc.boolean(), digits(1, 30), digits(0, 30)).map(([minus, whole, part]) => {
  const left = whole.replace(/^0+(?=.)/, '');
  const right = part.replace(/0+$/, '');
  const body = right === '' ? left : `${left}.${right}`;
  return minus && body !== '0' ? `-${body}` : body;
});

const datetime = fc
  .date({
    min: new Date('0000-01-01T00:00:00.000Z'),
    max: new Date('9999-12-31T23:59:59.999Z'),
    noInvalidDate: true,
  })
  .map((date) => date.toISOString());

const attachment = fc.record({
  sha256: fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 64, maxLength: 64 }),
  bytes: count,
  mediaType: text(5),
  name: text(5),
});

const values: Readonly<Record<FieldType, fc.Arbitrary<Value>>> = {
  boolean: fc.boolean(),
  number: finite,
  string: text(),
  decimal,
  date: datetime.map((instant) => instant.slice(0, 10)),
  datetime,
  option: text(5).filter((option) => option !== ''),
  reference: recordId,
  attachment,
  counter: finite,
  text: text(),
};

/** Canonical non-null value of a field type. */
export const valueOf = (type: FieldType): fc.Arbitrary<Value> => values[type];

/** Canonical value of any type, or null. */
export const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  ...fieldTypes.map((type) => values[type]),
);

/** Server version within what pages hold: 32 bits of incarnation, 48 bits of n. */
export const serverVersion: fc.Arbitrary<ServerVersion> = fc.record({
  incarnation: fc.oneof(fc.nat({ max: 3 }), fc.constant(2 ** 32 - 1)),
  n: fc.oneof(fc.nat({ max: 9 }), fc.constantFrom(2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1)),
});

const baseVersion: fc.Arbitrary<BaseVersion> = fc.record({
  incarnation: count,
  n: count,
  born: opId.map(printOpId),
  modifiedOn: count,
});

const perField = <A extends { readonly field: FieldId }>(
  one: fc.Arbitrary<A>,
): fc.Arbitrary<readonly A[]> =>
  fc.uniqueArray(one, { maxLength: 4, selector: ({ field }) => field });

/** Operation of any kind and shape that the transaction format holds; it need not fit a schema. */
export const operation: fc.Arbitrary<Operation> = fc
  .record({
    table: count,
    record: recordId,
    kind: fc.constantFrom('create', 'update', 'delete'),
    base: fc.option(baseVersion),
    prev: count,
    seen: count,
    set: perField(fc.record({ field: fieldId, before: value, after: value })),
    inc: perField(fc.record({ field: fieldId, by: finite })),
    crdt: perField(fc.record({ field: fieldId, changes: fc.uint8Array({ maxLength: 20 }) })),
    row: fc.option(perField(fc.record({ field: fieldId, value })).filter((row) => row.length > 0)),
    further: count,
  })
  .map(({ further, ...op }) => ({
    ...op,
    since: op.prev === 0 ? 0 : Math.min(op.prev + further, Number.MAX_SAFE_INTEGER),
  }));

/** Transaction of one to five operations. */
export const transaction: fc.Arbitrary<Transaction> = fc.record({
  schemaVersion: count,
  hlc: fc.record({ wallMs: count, counter: count }),
  atomicity: fc.constantFrom('whole', 'per-record'),
  ops: fc.array(operation, { minLength: 1, maxLength: 5 }),
});

const byField = <A>(one: fc.Arbitrary<A>): fc.Arbitrary<Readonly<Record<FieldId, A>>> =>
  fc
    .uniqueArray(fc.tuple(fieldId, one), { maxLength: 5, selector: ([id]) => id })
    .map((entries) => Object.fromEntries(entries) as Record<FieldId, A>);

/** Row with fields of any type; no field is null, as in encoded rows. */
export const row: fc.Arbitrary<Row> = fc.record({
  version: fc.record({ incarnation: count, n: count }),
  born: opId.map(printOpId),
  modifiedOn: count,
  modifiedBy: text(),
  createdOn: count,
  owner: text(),
  fields: byField(value.filter((one) => one !== null)) as fc.Arbitrary<RowFields>,
  docs: byField(fc.base64String()),
  editedAt: byField(count),
});

const head = fc.uint8Array({ minLength: 32, maxLength: 32 });

/** Envelope of one to four transactions of any bytes. */
export const envelope: fc.Arbitrary<Envelope> = fc.record({
  replica: replicaId,
  epoch: count,
  user: text(),
  from: fc.integer({ min: 1, max: 1_000 }),
  to: fc.integer({ min: 1_000, max: 1_000_000 }),
  offsetMs: fc.integer().map((ms) => (ms === 0 ? 0 : ms)),
  headBefore: head,
  headAfter: head,
  signature: text(),
  transactions: fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 4 }),
});

const name = fc.oneof(
  fc.stringMatching(/^[a-z_][A-Za-z0-9_]{0,6}$/),
  fc.constantFrom('constructor', 'toString', 'valueOf', 'length', 'prototype'),
);
const fieldName = name.filter((one) => one !== 'id' && one !== '__proto__');
const tableName = fieldName.filter(
  (one) => !one.startsWith('sync_') && one !== 'resolutions' && one !== 'customizations',
);

const fieldDefinition = (
  tableNames: readonly string[],
): fc.Arbitrary<Omit<FieldDefinition, 'id' | 'name'>> =>
  fc.constantFrom(...fieldTypes).chain((type) => {
    const merges = type === 'counter' || type === 'text';
    return fc
      .record(
        {
          required: fc.boolean(),
          rule: fc.constantFrom('server-wins', 'device-wins', 'latest-wins', 'manual'),
          maxLength: fc.integer({ min: 1, max: 1_000 }),
        },
        { requiredKeys: [] },
      )
      .chain(({ required, rule, maxLength }) =>
        fc.record({
          type: fc.constant(type),
          ...(required === undefined || merges ? {} : { required: fc.constant(required) }),
          ...(maxLength === undefined || (type !== 'string' && type !== 'text')
            ? {}
            : { maxLength: fc.constant(maxLength) }),
          ...(type === 'option'
            ? { options: fc.uniqueArray(values.option, { minLength: 1, maxLength: 4 }) }
            : {}),
          ...(type === 'reference' ? { table: fc.constantFrom(...tableNames) } : {}),
          ...(rule === undefined || merges ? {} : { rule: fc.constant(rule) }),
        }),
      ) as fc.Arbitrary<Omit<FieldDefinition, 'id' | 'name'>>;
  });

const canBeIndexed = ({ type }: FieldDefinition): boolean =>
  type !== 'attachment' && type !== 'counter' && type !== 'text';

const tableDefinition = (
  own: string,
  id: number,
  tableNames: readonly string[],
): fc.Arbitrary<TableDefinition> =>
  fc
    .uniqueArray(fc.tuple(fieldId, fieldName, fieldDefinition(tableNames)), {
      minLength: 1,
      maxLength: 5,
      comparator: (a, b) => a[0] === b[0] || a[1] === b[1],
    })
    .map((fields) => fields.map(([field, called, rest]) => ({ id: field, name: called, ...rest })))
    .chain((fields) => {
      const candidates = fields.filter(canBeIndexed).map((field) => field.name);
      const some = fc.subarray(candidates, { minLength: Math.min(1, candidates.length) });
      return fc
        .record({
          rule: fc.constantFrom(
            'server-wins' as const,
            'device-wins' as const,
            'device-wins-full' as const,
            'latest-wins' as const,
            'manual' as const,
          ),
          onDelete: fc.constantFrom(
            'edit-wins' as const,
            'delete-wins' as const,
            'manual' as const,
          ),
          indexed: some,
          scoped: fc.boolean(),
        })
        .map(({ rule, onDelete, indexed, scoped }) => ({
          id,
          name: own,
          fields,
          rule,
          onDelete,
          indexes: indexed.length === 0 ? [] : [{ name: 'first', fields: indexed.slice(0, 4) }],
          ...(scoped && indexed[0] !== undefined ? { scopeKey: indexed[0] } : {}),
        }));
    });

/** Valid customization of one to four tables. */
export const customization: fc.Arbitrary<Customization> = fc
  .uniqueArray(fc.tuple(tableId, tableName), {
    minLength: 1,
    maxLength: 4,
    comparator: (a, b) => a[0] === b[0] || a[1] === b[1],
  })
  .chain((named) => {
    const names = named.map(([, called]) => called);
    return fc.record({
      format: fc.constant(1 as const),
      version: fc.integer({ min: 1, max: 1_000_000 }),
      tables: fc.tuple(...named.map(([id, called]) => tableDefinition(called, id, names))),
    });
  });

/** Bytes made from valid ones: cut, lengthened, or with up to three bytes replaced. */
export const mutatedBytes = (valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(
      valid,
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }),
      fc.integer({ min: -5, max: 5 }),
    )
    .map(([bytes, replacements, longer]) => {
      const out = new Uint8Array(Math.max(0, bytes.length + longer));
      out.set(bytes.subarray(0, out.length));
      for (const [at, byte] of replacements) if (out.length > 0) out[at % out.length] = byte;
      return out;
    });
