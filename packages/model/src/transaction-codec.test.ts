import { mutatedBytes, transaction } from '@tidemark/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8Encode } from './bytes.js';
import { transactionOpsMax, type Transaction } from './operation.js';
import { decodeTransaction, encodeTransaction } from './transaction-codec.js';

const json = (value: unknown): Uint8Array => utf8Encode(JSON.stringify(value));
const op = [
  1,
  'a',
  1,
  [1, 5, 'r/1/1', 1_000],
  2,
  3,
  [[4, 'x', 'y']],
  [[5, 2]],
  [[6, 'AQID']],
  0,
  5,
];
const payload = (...ops: readonly unknown[]): unknown => [7, 1_000, 0, 0, ops];
const decodeOp = (...elements: readonly unknown[]) => decodeTransaction(json(payload(elements)));

const decoded: Transaction = {
  schemaVersion: 7,
  hlc: { wallMs: 1_000, counter: 0 },
  atomicity: 'whole',
  ops: [
    {
      table: 1,
      record: 'a',
      kind: 'update',
      base: { incarnation: 1, n: 5, born: 'r/1/1', modifiedOn: 1_000 },
      prev: 2,
      since: 5,
      seen: 3,
      set: [{ field: 4, before: 'x', after: 'y' }],
      inc: [{ field: 5, by: 2 }],
      crdt: [{ field: 6, changes: Uint8Array.of(1, 2, 3) }],
      row: null,
    },
  ],
};

test('[MOD-33] a payload is positional JSON', () => {
  expect(decodeTransaction(json(payload(op)))).toEqual({ _tag: 'Right', right: decoded });
  expect(encodeTransaction(decoded)).toEqual(json(payload(op)));
});

test('[MOD-34] decoding inverts encoding', () => {
  fc.assert(
    fc.property(transaction, (one) => {
      expect(decodeTransaction(encodeTransaction(one))).toEqual({ _tag: 'Right', right: one });
    }),
  );
});

test('[MOD-35] decoding is total: any bytes give a transaction or name what is malformed', () => {
  const bytes = fc.oneof(
    fc.uint8Array(),
    mutatedBytes(transaction.map(encodeTransaction)),
    fc.jsonValue().map(json),
    fc.jsonValue().map((value) => json(payload(value))),
  );
  fc.assert(
    fc.property(bytes, (some) => {
      const result = decodeTransaction(some);
      if (result._tag === 'Left') expect(result.left).toMatch(/^[A-Za-z: ]{1,40}$/);
      else expect(result.right.ops.length).toBeGreaterThan(0);
    }),
  );
});

test('[MOD-35] very deep JSON is malformed, not a crash', () => {
  const deep = utf8Encode(`${'['.repeat(120_000)}${']'.repeat(120_000)}`);
  expect(decodeTransaction(deep)._tag).toBe('Left');
  const deepValue = `[1,0,0,0,[[1,"a",0,0,0,0,[[1,null,${'['.repeat(60_000)}${']'.repeat(60_000)}]]]]]`;
  expect(decodeTransaction(utf8Encode(deepValue))).toEqual({ _tag: 'Left', left: 'value' });
});

test('[MOD-36] unknown trailing elements are ignored on every level', () => {
  const longer = [
    ...op.slice(0, 3),
    [1, 5, 'r/1/1', 1_000, 'new'],
    2,
    3,
    [[4, 'x', 'y', { new: 1 }]],
    [[5, 2, 'new']],
    [[6, 'AQID', 'new']],
    0,
    5,
    { new: true },
  ];
  const bytes = json([...(payload(longer) as readonly unknown[]), 'new', { __proto__: null }]);
  expect(decodeTransaction(bytes)).toEqual({ _tag: 'Right', right: decoded });
});

test('[MOD-36] parts at the end may be missing', () => {
  expect(decodeOp(1, 'a', 2, 0, 0, 0)).toEqual({
    _tag: 'Right',
    right: {
      ...decoded,
      ops: [
        {
          ...{ table: 1, record: 'a', kind: 'delete', base: null, prev: 0, since: 0, seen: 0 },
          ...{ set: [], inc: [], crdt: [], row: null },
        },
      ],
    },
  });
});

describe('[MOD-37] what is refused', () => {
  const cases: Readonly<Record<string, readonly [unknown, string]>> = {
    'no list': [{}, 'transaction'],
    'no operation': [[7, 1, 0, 0, []], 'operations'],
    'another atomicity': [[7, 1, 0, 2, [op]], 'atomicity'],
    'a negative time': [[7, -1, 0, 0, [op]], 'wall time'],
    'a fraction': [[7, 1, 0.5, 0, [op]], 'counter'],
    'a short operation': [payload([1, 'a', 1, 0, 0]), 'operation'],
    'an operation that is an object': [payload({ 0: 1, length: 9 }), 'operation'],
    'an unknown kind': [payload([1, 'a', 3, 0, 0, 0]), 'kind'],
    'a record id with NUL': [payload([1, 'a\0', 1, 0, 0, 0]), 'record id'],
    'a lone surrogate in an id': [payload([1, '\ud800', 1, 0, 0, 0]), 'record id'],
    'a short base': [payload([1, 'a', 1, [1, 2], 0, 0]), 'base'],
    'a long birth': [payload([1, 'a', 1, [1, 2, 'x'.repeat(161), 3], 0, 0]), 'base'],
    'field id 0': [payload([1, 'a', 1, 0, 0, 0, [[0, null, 1]]]), 'field id'],
    'field id 10,000': [payload([1, 'a', 1, 0, 0, 0, [[10_000, null, 1]]]), 'field id'],
    'a field twice': [
      payload([
        1,
        'a',
        1,
        0,
        0,
        0,
        [
          [1, 0, 1],
          [1, 0, 2],
        ],
      ]),
      'set: a field twice',
    ],
    'an empty list of changes': [payload([1, 'a', 1, 0, 0, 0, []]), 'set'],
    'a change without an after': [payload([1, 'a', 1, 0, 0, 0, [[1, 0]]]), 'value'],
    'a list as value': [payload([1, 'a', 1, 0, 0, 0, [[1, 0, [1]]]]), 'value'],
    'an object as value': [payload([1, 'a', 1, 0, 0, 0, [[1, 0, { a: 1 }]]]), 'value'],
    'a text increment': [payload([1, 'a', 1, 0, 0, 0, 0, [[1, '2']]]), 'increment'],
    'CRDT changes that are no base64': [
      payload([1, 'a', 1, 0, 0, 0, 0, 0, [[1, '*']]]),
      'CRDT changes',
    ],
    'too many operations': [payload(...Array(transactionOpsMax + 1).fill(op)), 'operations'],
  };

  test.each(Object.keys(cases))('%s', (name) => {
    const [value, problem] = cases[name] as readonly [unknown, string];
    expect(decodeTransaction(json(value))).toEqual({ _tag: 'Left', left: problem });
  });

  test.each(['[7,-0,0,0,[[1,"a",1,0,0,0]]]', '[7,1,0,0,[[1,"a",1,0,0,0,[[1,0,-0]]]]]', '1e999'])(
    'minus zero and overflow: %s',
    (text) => {
      expect(decodeTransaction(utf8Encode(text))._tag).toBe('Left');
    },
  );

  test('text that is no JSON, bytes that are no UTF-8', () => {
    expect(decodeTransaction(utf8Encode('[7,'))).toEqual({ _tag: 'Left', left: 'JSON' });
    expect(decodeTransaction(Uint8Array.of(0xff))).toEqual({ _tag: 'Left', left: 'JSON' });
    expect(decodeTransaction(new Uint8Array(0))).toEqual({ _tag: 'Left', left: 'JSON' });
  });
});

test('[MOD-38] __proto__ as key, id or value changes no prototype', () => {
  const bytes = utf8Encode(
    '[7,1,0,0,[[1,"__proto__",1,0,0,0,[[1,"__proto__",{"__proto__":1,"sha256":"","bytes":0,"mediaType":"","name":""}]]]]]',
  );
  expect(decodeTransaction(bytes)).toEqual({ _tag: 'Left', left: 'value' });
  const named = decodeOp(1, '__proto__', 1, 0, 0, 0, [[1, null, '__proto__']]);
  expect(named._tag === 'Right' && named.right.ops[0]?.record).toBe('__proto__');
  expect(Object.keys(Object.prototype)).toEqual([]);
});
