import { beforeAll, describe, expect, test } from 'vitest';
import { fromBase64, type Operation } from '@tidemark/model';
import {
  clockLeadMsMax,
  composeTransactions,
  foreignTransaction,
  serverTransaction,
} from '@tidemark/merge';
import type { FieldCrdt } from '@tidemark/ports';
import { MergeWorld, openCrdt, operation, outcomesOf, schemaOf } from './merge-world.js';
import { fields, record, set, tableOf, typing as edits } from './rule-tables.js';

const schema = schemaOf([
  tableOf(1),
  tableOf(2, { rule: 'latest-wins', onDelete: 'manual' }),
  tableOf(3, { rule: 'device-wins-full' }),
  tableOf(4, { rule: 'server-wins' }),
]);
let crdt: FieldCrdt;
beforeAll(async () => {
  crdt = await openCrdt();
});

const typing = (table: number, from: string, to: string, actor: number): Operation['crdt'] =>
  edits(crdt, table, from, to, actor);

/** World in which a record of each table is known to all, and operations on it. */
const seeded = () => {
  const world = new MergeWorld(schema, crdt);
  for (const table of [1, 2, 3, 4])
    world.send(
      'server',
      [
        operation('create', {
          table,
          record,
          set: [...set(1, null, 'A'), ...set(2, null, '1'), ...set(3, null, 'hello')],
        }),
      ],
      { kind: 'server' },
    );
  const bases = new Map([1, 2, 3, 4].map((table) => [table, world.base(table, record)]));
  const op = (kind: Operation['kind'], table: number, parts: Partial<Operation> = {}) =>
    operation(kind, { table, record, base: bases.get(table) ?? null, ...parts });
  return { world, op };
};

describe('checks', () => {
  const bad: readonly (readonly [string, Partial<Operation>])[] = [
    ['an unknown field', { set: set(77, null, 'x') }],
    ['a wrong type', { set: [{ field: 1, before: null, after: 7 }] }],
    ['a wrong value in the whole row', { row: [{ field: 1, value: 7 }] }],
    ['an unknown field in the whole row', { row: [{ field: 77, value: 'x' }] }],
    ['a counter that overflows', { inc: [{ field: 4, by: Number.MAX_VALUE }] }],
  ];
  for (const [name, parts] of bad)
    test(`[MRG-2] ${name} parks as invalid and names the field`, () => {
      const { world, op } = seeded();
      world.send('other', [op('update', 1, { inc: [{ field: 4, by: Number.MAX_VALUE }] })]);
      const decision = world.send('author', [op('update', 1, parts), op('update', 4)]);
      expect(outcomesOf(decision)).toEqual(['parked', 'parked']);
      expect(decision.parks[0]).toMatchObject({
        kind: 'invalid',
        root: 'author/1/1',
        conflicts: [],
      });
      expect(decision.parks[0]?.message).toMatch(/t1(\.(title|count))?/);
    });

  test('[MRG-2] a newer schema version, and texts that grow too long together, are invalid', () => {
    const { world, op } = seeded();
    const newer = world.send('author', [op('update', 1)], { schemaVersion: 2 });
    expect(newer.parks[0]?.kind).toBe('invalid');
    world.send('other', [op('update', 1, { crdt: typing(1, 'hello', 'hello 123456789012', 1) })]);
    const long = op('update', 1, { crdt: typing(1, 'hello', '1234567890123 hello', 2) });
    expect(world.send('author', [long]).parks[0]?.kind).toBe('invalid');
  });

  test('[MRG-2] a record whose row would not fit a message is invalid', () => {
    const long = (text: string) => [
      seeded().op('create', 1, { base: null, set: set(9, null, text) }),
    ];
    const world = new MergeWorld(schema, crdt);
    expect(world.send('author', long('é'.repeat(460_000))).parks[0]?.kind).toBe('invalid');
    expect(outcomesOf(world.send('other', long('x'.repeat(880_000))))).toEqual(['applied']);
  });

  test('[MRG-3] a refusal parks the whole transaction, also one decided per record', () => {
    const { world, op } = seeded();
    const ops = [op('update', 1), op('update', 4)];
    const decision = world.send('author', ops, { refusal: 'closed', atomicity: 'per-record' });
    expect(outcomesOf(decision)).toEqual(['rejected', 'rejected']);
    expect(decision.parks).toMatchObject([{ kind: 'rejected', message: 'closed', ops: [1, 2] }]);
  });
});

describe('parts and chains', () => {
  test('[MRG-4, MRG-5] one conflict parks its transaction, and what depends on it waits', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 1, { set: set(1, 'A', 'X') })]);
    const clash = op('update', 1, { set: set(1, 'A', 'B') });
    const first = world.send('author', [clash, op('update', 4, { set: set(1, 'A', 'D') })]);
    expect(outcomesOf(first)).toEqual(['parked', 'parked']);
    expect(first.parks[0]?.conflicts).toEqual([
      { op: 1, table: 1, record, field: 1, base: 'A', ours: 'B', rule: 'manual' },
    ]);
    const later = world.send('author', [op('update', 4, { prev: 1, set: set(2, '1', '2') })]);
    expect(later.parks[0]).toMatchObject({ root: 'author/1/1', dependent: true });
    const free = world.send('author', [op('update', 2, { set: set(2, '1', '2') })]);
    expect(outcomesOf(free)).toEqual(['applied']);
  });

  test('[MRG-5] per record, and on split, the untroubled parts apply', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 1, { set: set(1, 'A', 'X') })]);
    const ops = [
      operation('create', { table: 4, record: 'child', set: set(5, null, 'new') }),
      op('update', 1, { set: set(1, 'A', 'B') }),
      op('update', 4, { set: set(1, 'A', 'D') }),
      operation('create', {
        table: 1,
        record: 'new',
        set: set(1, null, 'far too long for a title'),
      }),
    ];
    const outcomes = ['parked', 'parked', 'applied', 'parked'];
    const apart = world.send('author', ops, { atomicity: 'per-record' });
    expect(outcomesOf(apart)).toEqual(outcomes);
    expect(apart.parks.map(({ root, dependent }) => [root, dependent])).toEqual([
      ['author/1/2', false],
      ['author/1/4', false],
      ['author/1/4', true],
    ]);
    const split = world.send('third', ops, {
      resolution: { action: 'split', by: 'user-1', choices: [] },
    });
    expect(outcomesOf(split)).toEqual(['parked', 'parked', 'same', 'parked']);
  });

  test('[MRG-5] per record, what refers to a create that parks waits with it, also where it is troubled itself', () => {
    const { world } = seeded();
    const [troubled, refers] = [set(1, null, 'far too long for a title'), set(5, null, 'new')];
    const ops = [
      operation('create', { table: 4, record: 'grandchild', set: refers }),
      operation('create', { table: 4, record: 'child', set: [...troubled, ...refers] }),
      operation('create', { table: 1, record: 'new', set: troubled }),
    ];
    const apart = world.send('author', ops, { atomicity: 'per-record' });
    expect(
      apart.parks.map(({ root, dependent, ops: parked }) => [root, dependent, parked]),
    ).toEqual([
      ['author/1/3', false, [3]],
      ['author/1/3', true, [1]],
      ['author/1/3', true, [2]],
    ]);
  });

  test('[MRG-6, MRG-7] what only the author touched is clean, also after its own recreate', () => {
    const { world, op } = seeded();
    const made = [
      op('update', 4, { set: set(1, 'A', 'B') }),
      op('delete', 4, { prev: 1 }),
      op('create', 4, { prev: 1, set: set(1, null, 'N') }),
      op('update', 4, { prev: 1, set: set(1, 'N', 'M') }),
      op('delete', 4, { prev: 1 }),
    ];
    const decisions = made.map((one) => world.send('author', [one]));
    expect(outcomesOf(...decisions)).toEqual([
      'applied',
      'applied',
      'applied',
      'applied',
      'applied',
    ]);
    expect(world.record(4, record)).toMatchObject({ deleted: true, row: { born: 'author/1/3' } });
  });

  test('[MRG-8, MRG-9] a superseded chain is judged by its first value until the base has passed it', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 4, { set: set(1, 'A', 'X') })]);
    const first = world.send('author', [op('update', 4, { set: set(1, 'A', 'B') })]);
    expect(first.chains[0]?.chain?.fields[1]).toEqual({ before: 'A', end: 'superseded', index: 1 });
    const second = world.send('author', [op('update', 4, { prev: 1, set: set(1, 'B', 'C') })]);
    expect(second.operations[0]?.fields[0]).toMatchObject({ base: 'A', outcome: 'superseded' });
    const base = world.base(4, record);
    const third = world.send('author', [op('update', 4, { base, set: set(1, 'X', 'D') })]);
    expect(outcomesOf(third)).toEqual(['applied']);
    expect(third.chains).toEqual([{ table: 4, id: record, chain: null }]);
  });

  test('[MRG-9] an operation that waits leaves nothing to remember', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 1, { set: set(1, 'A', 'X') })]);
    const first = world.send('author', [op('update', 1, { set: set(1, 'A', 'B') })]);
    const second = world.send('author', [op('update', 1, { prev: 1, set: set(1, 'B', 'C') })]);
    expect([...outcomesOf(first), ...outcomesOf(second)]).toEqual(['parked', 'parked']);
    expect([...first.chains, ...second.chains]).toEqual([]);
  });

  test('[MRG-9] a field whose outcome the author saw is free again, though other fields of the chain wait', () => {
    const started = () => {
      const { world, op } = seeded();
      world.send('other', [op('update', 4, { set: set(1, 'A', 'X') })]);
      world.send('author', [op('update', 4, { set: set(1, 'A', 'B') })]);
      const third = [op('update', 4, { prev: 1, set: set(2, '1', '2') })];
      expect(outcomesOf(world.send('author', third))).toEqual(['applied']);
      return { world, op };
    };
    const seen = started();
    const after = seen.op('update', 4, { prev: 1, since: 1, set: set(1, 'X', 'D') });
    expect(outcomesOf(seen.world.send('author', [after]))).toEqual(['applied']);
    const unseen = started();
    const behind = unseen.op('update', 4, { prev: 1, since: 2, set: set(1, 'B', 'D') });
    expect(outcomesOf(unseen.world.send('author', [behind]))).toEqual(['superseded']);
  });
});

describe('rules of fields', () => {
  test('[MRG-11] a field rule goes before the rule of its table', () => {
    const own = fields.map((one) =>
      one.id === 1 ? { ...one, rule: 'device-wins' as const } : one,
    );
    const world = new MergeWorld(schemaOf([tableOf(1, { fields: own })]), crdt);
    world.send('other', [operation('create', { table: 1, record, set: set(1, null, 'X') })]);
    const late = operation('create', { table: 1, record, set: set(1, null, 'B') });
    expect(outcomesOf(world.send('author', [late]))).toEqual(['applied']);
  });

  test('[MRG-12] a clock may run ahead by five minutes, and who saw a time is later than it', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 2, { set: set(1, 'A', 'X') })], { at: 9e12 });
    const ahead = world.record(2, record)?.row.editedAt[1] ?? 0;
    expect(ahead).toBe(world.now + clockLeadMsMax);
    world.send('third', [op('update', 2, { seen: ahead, set: set(1, 'A', 'Y') })], { at: 1 });
    expect(world.record(2, record)?.row).toMatchObject({
      fields: { 1: 'Y' },
      editedAt: { 1: ahead + 1 },
    });
  });

  test('[MRG-13] the later of two equal edits counts against a third', () => {
    const { world, op } = seeded();
    const at = world.now + 100;
    world.send('other', [op('update', 2, { set: set(1, 'A', 'X') })], { at });
    const same = world.send('third', [op('update', 2, { set: set(1, 'A', 'X') })], { at: at + 50 });
    expect(outcomesOf(same)).toEqual(['same']);
    const third = world.send('author', [op('update', 2, { set: set(1, 'A', 'Y') })], {
      at: at + 20,
    });
    expect(outcomesOf(third)).toEqual(['superseded']);
  });

  test('[MRG-14] device-wins-full writes the row, keeps counters and texts, and says when it has no row', () => {
    const { world, op } = seeded();
    const edits = { set: set(2, '1', '2'), inc: [{ field: 4, by: 2 }] };
    world.send('other', [
      op('update', 3, { ...edits, crdt: typing(3, 'hello', 'hello other', 1) }),
    ]);
    const row = [
      { field: 1, value: 'B' },
      { field: 2, value: '1' },
    ];
    world.send('author', [
      op('update', 3, { row, set: set(1, 'A', 'B'), inc: [{ field: 4, by: 1 }] }),
    ]);
    expect(world.fields(3, record)).toEqual({ 1: 'B', 2: '1', 3: 'hello other', 4: 3 });
    const bare = world.send('third', [op('update', 3, { set: set(1, 'A', 'C') })]);
    expect(bare.operations[0]?.fields[0]?.rule).toBe('device-wins (no row)');
  });

  test('[MRG-15] several edits of one text in a transaction are taken together', () => {
    const { world, op } = seeded();
    const start = crdt.genesis({ tenant: 'acme', table: 1, record, field: 3 }, 'hello');
    const actor = new Uint8Array(16).fill(3);
    const one = crdt.editText(start, 'hello you', actor, 0);
    const two = crdt.editText(one.document, 'hello you two', actor, 0);
    const carried = [two.changes, one.changes, crdt.changesOf(start)];
    const ops = carried.map((changes) => op('update', 1, { crdt: [{ field: 3, changes }] }));
    expect(outcomesOf(world.send('author', ops))).toEqual(['applied', 'applied', 'applied']);
    expect(world.fields(1, record)).toMatchObject({ 3: 'hello you two' });
  });

  test('[MRG-16, MRG-18] a plain write and the first typing both survive', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 1, { set: set(3, 'hello', 'hello other') })]);
    world.send('author', [op('update', 1, { crdt: typing(1, 'hello', 'author hello', 2) })]);
    world.send('third', [op('update', 1, { set: set(3, 'hello', 'hello!') })]);
    const text = world.fields(1, record);
    expect(text === 'gone' ? '' : text[3]).toMatch(/^author hello/);
    expect(text === 'gone' ? '' : text[3]).toContain(' other');
    expect(text === 'gone' ? '' : text[3]).toContain('!');
  });

  test('[MRG-17] edits of another origin keep their document beside, later edits use it', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 1, { crdt: typing(1, 'hello', 'hello other', 1) })]);
    const key = { tenant: 'acme', table: 1, record, field: 3 };
    const actor = new Uint8Array(16).fill(2);
    const one = crdt.editText(crdt.genesis(key, 'hallo'), 'author hallo', actor, 0);
    const two = crdt.editText(one.document, 'author hallo!', actor, 0);
    const first = [{ field: 3, changes: crdt.changesOf(one.document) }];
    expect(world.send('author', [op('update', 1, { crdt: first })]).sides).toHaveLength(1);
    const later = [{ field: 3, changes: two.changes }];
    const second = world.send('author', [op('update', 1, { prev: 1, crdt: later })]);
    expect(outcomesOf(second)).toEqual(['combined']);
    expect(world.fields(1, record)).toMatchObject({ 3: expect.stringMatching(/^author hello.*!/) });
    const stranger = world.send('third', [op('update', 1, { crdt: later })]);
    expect(stranger.parks[0]?.kind).toBe('missing-reference');
    const noise = [{ field: 3, changes: new Uint8Array([0, 0, 0, 2, 1, 1]) }];
    const poison = world.send('third', [op('update', 1, { crdt: noise })]);
    expect([outcomesOf(poison), poison.parks[0]?.kind]).toEqual([['rejected'], 'poison']);
  });
});

test('[MRG-17] an edit that delete-wins drops leaves its document beside for the edits that stand on it', () => {
  const world = new MergeWorld(schemaOf([tableOf(1, { onDelete: 'delete-wins' })]), crdt);
  const create = operation('create', { table: 1, record, set: set(1, null, 'A') });
  world.send('other', [create]);
  const base = world.base(1, record);
  world.send('other', [operation('delete', { table: 1, record, base })]);
  world.send('other', [create]);
  const key = { tenant: 'acme', table: 1, record, field: 3 };
  const one = crdt.editText(crdt.genesis(key, ''), 'one', new Uint8Array(16).fill(2), 0);
  const two = crdt.editText(one.document, 'one two', new Uint8Array(16).fill(2), 0);
  const typed = (changes: Uint8Array) => [{ field: 3, changes }];
  const dropped = { table: 1, record, base, crdt: typed(crdt.changesOf(one.document)) };
  expect(outcomesOf(world.send('author', [operation('update', dropped)]))).toEqual(['superseded']);
  const later = { table: 1, record, base: world.base(1, record), prev: 1 };
  const onIt = operation('update', { ...later, crdt: typed(two.changes) });
  expect(outcomesOf(world.send('author', [onIt]))).toEqual(['combined']);
  expect(world.fields(1, record)).toMatchObject({ 3: ' two' });
});

test('[MRG-17] a document beside serves the chain that left it, and no later one', () => {
  const table = tableOf(1, { onDelete: 'delete-wins' });
  const world = new MergeWorld(schemaOf([table]), crdt);
  const create = (text: string) =>
    operation('create', {
      ...{ table: 1, record },
      set: [...set(1, null, 'A'), ...set(3, null, text)],
    });
  const edit = (parts: Partial<Operation>) => operation('update', { table: 1, record, ...parts });
  const typed = (changes: Uint8Array) => [{ field: 3, changes }];
  world.send('other', [create('old')]);
  const base = world.base(1, record);
  world.send('other', [operation('delete', { table: 1, record, base })]);
  const beside = world.send('author', [edit({ base, crdt: typing(1, 'old', 'old!', 2) })]);
  expect([outcomesOf(beside), beside.sides.length]).toEqual([['superseded'], 1]);
  world.send('other', [create('new')]);
  world.send('other', [
    edit({ base: world.base(1, record), crdt: typing(1, 'new', 'new text', 9) }),
  ]);
  // The author has seen all that; what it types stands on the server's document.
  const seen = world.base(1, record);
  const shared = fromBase64(world.record(1, record)?.row.docs[3] ?? '') ?? new Uint8Array();
  const one = crdt.editText(shared, 'new text one', new Uint8Array(16).fill(3), 0);
  const two = crdt.editText(one.document, 'new text one two', new Uint8Array(16).fill(3), 0);
  world.send('other', [edit({ base: seen, set: set(1, 'A', 'X') })]);
  const clash = edit({ base: seen, set: set(1, 'A', 'B'), crdt: typed(one.changes) });
  expect(outcomesOf(world.send('author', [clash]))).toEqual(['parked']);
  const resolution = { action: 'take-server', by: 'ann', choices: [] } as const;
  const taken = world.send('author', [clash], { firstIndex: 2, resolution });
  expect(outcomesOf(taken)).toEqual(['superseded']);
  const next = world.send('author', [edit({ base: seen, prev: 1, crdt: typed(two.changes) })]);
  expect(outcomesOf(next)).toEqual(['combined']);
  expect(world.fields(1, record)).toMatchObject({ 3: 'new text two' });
  const last = world.send('author', [
    edit({ base: world.base(1, record), set: set(2, null, '1') }),
  ]);
  expect(last.sides).toEqual([{ table: 1, id: record, field: 3, document: null }]);
});

describe('existence', () => {
  test('[MRG-20, MRG-24] a create begins a life; on a live record it fills what is absent', () => {
    const { world } = seeded();
    const made = { table: 1, record: 'x', set: set(1, null, 'X') };
    world.send('other', [operation('create', made)]);
    const born = world.record(1, 'x')?.row;
    expect(born).toMatchObject({ born: 'other/1/1', owner: 'user-other', createdOn: world.now });
    const equal = world.send('author', [operation('create', made)]);
    expect([outcomesOf(equal), equal.writes]).toEqual([['same'], []]);
    world.send('author', [operation('create', { ...made, set: set(2, null, '7') })]);
    const row = world.record(1, 'x')?.row;
    expect(row).toMatchObject({ born: 'other/1/1', fields: { 1: 'X', 2: '7' } });
    expect(row?.modifiedOn).toBeGreaterThan(born?.modifiedOn ?? 0);
  });

  test('[MRG-21, MRG-22, MRG-23] a person decides what manual leaves open', () => {
    const { world, op } = seeded();
    world.send('other', [op('delete', 2)]);
    expect(world.record(2, record)?.row.fields).toMatchObject({ 1: 'A' });
    const edit = op('update', 2, { set: set(1, 'A', 'B') });
    const parked = world.send('author', [edit]);
    expect(parked.parks[0]?.conflicts[0]).toMatchObject({ field: 0, rule: 'manual' });
    const pick = (choice: 'mine' | 'theirs') =>
      world.send('author', [edit], {
        firstIndex: 1,
        resolution: {
          action: 'merge',
          by: 'user-1',
          choices: [{ table: 2, record, field: 0, pick: choice }],
        },
      });
    expect(outcomesOf(pick('theirs'))).toEqual(['superseded']);
    expect(outcomesOf(pick('mine'))).toEqual(['applied']);
    expect(world.fields(2, record)).toMatchObject({ 1: 'B', 2: '1' });
  });
});

describe('people, server and backends', () => {
  test('[MRG-25, MRG-26] choices are followed, retry parks again, take-server supersedes', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 1, { set: set(1, 'A', 'X') })]);
    const clash = op('update', 1, { set: set(1, 'A', 'B') });
    world.send('author', [clash]);
    const again = (resolution: NonNullable<Parameters<typeof world.send>[2]>['resolution']) =>
      outcomesOf(
        world.send('author', [clash], { firstIndex: 1, ...(resolution ? { resolution } : {}) }),
      );
    const by = 'user-1';
    const choice = { table: 1, record, field: 1 };
    expect(again({ action: 'retry', by, choices: [] })).toEqual(['parked']);
    expect(again({ action: 'merge', by, choices: [] })).toEqual(['parked']);
    const theirs = { ...choice, pick: 'theirs' as const };
    expect(again({ action: 'merge', by, choices: [theirs] })).toEqual(['superseded']);
    const value = { ...choice, pick: 'value' as const, value: 'V' };
    expect(again({ action: 'merge', by, choices: [value] })).toEqual(['applied']);
    expect(world.fields(1, record)).toMatchObject({ 1: 'V' });
    const mine = { ...choice, pick: 'mine' as const };
    expect(again({ action: 'merge', by, choices: [mine] })).toEqual(['applied']);
    expect(world.fields(1, record)).toMatchObject({ 1: 'B' });
    expect(again({ action: 'take-server', by, choices: [] })).toEqual(['superseded']);
  });

  test('[MRG-27] server writes apply to the current record, and equal values are left out', () => {
    const { world } = seeded();
    const write = (...writes: Parameters<typeof serverTransaction>[1]) =>
      serverTransaction(schema, writes, (table, id) => world.record(table, id));
    const built = write(
      { kind: 'upsert', table: 1, id: record, fields: { 1: 'S', 2: '1', 4: 5 } },
      { kind: 'increment', table: 1, id: record, by: { 4: 2 } },
      { kind: 'patch', table: 1, id: 'none', fields: { 1: 'S' } },
      { kind: 'upsert', table: 1, id: 'new', fields: { 1: 'N' } },
      { kind: 'delete', table: 2, id: record },
    );
    expect(built.missing).toEqual([2]);
    const decision = world.send('server', built.transaction?.ops ?? [], { kind: 'server' });
    expect(outcomesOf(decision)).toEqual(['applied', 'applied', 'applied', 'applied']);
    expect(world.fields(1, record)).toMatchObject({ 1: 'S', 2: '1', 4: 7 });
    expect(world.fields(2, record)).toBe('gone');
    const idle = write({ kind: 'upsert', table: 1, id: 'new', fields: { 1: 'N' } });
    expect(idle.transaction).toBeNull();
  });

  test('[MRG-28, MRG-29] foreign rows differ from their shadow, counters by increments', () => {
    const { world, op } = seeded();
    world.send('other', [op('update', 4, { inc: [{ field: 4, by: 2 }] })]);
    const shadow = { 1: 'A', 2: '1', 3: 'hello' };
    const row = { table: 4, id: record, fields: { ...shadow, 4: 3 }, deleted: false };
    const server = world.record(4, record);
    const changed = foreignTransaction(schema, shadow, row, server);
    expect(changed?.ops[0]).toMatchObject({ kind: 'update', inc: [{ field: 4, by: 3 }], set: [] });
    expect(foreignTransaction(schema, row.fields, row, server)).toBeNull();
    expect(foreignTransaction(schema, null, row, server)).toBeNull();
    expect(foreignTransaction(schema, null, row, undefined)?.ops[0]?.kind).toBe('create');
    expect(foreignTransaction(schema, null, { ...row, deleted: true }, undefined)).toBeNull();
  });

  test('[MRG-30] parked transactions compose by record', () => {
    const at = { schemaVersion: 1, hlc: { wallMs: 1, counter: 0 }, atomicity: 'whole' as const };
    const one = operation('update', {
      table: 1,
      record,
      inc: [{ field: 4, by: 1 }],
      set: set(1, 'A', 'B'),
    });
    const two = operation('update', {
      table: 1,
      record,
      prev: 1,
      inc: [{ field: 4, by: 2 }],
      set: [...set(1, 'B', 'C'), ...set(2, '1', '2')],
    });
    const gone = operation('delete', { table: 1, record, prev: 1 });
    const anew = operation('create', { table: 1, record, prev: 1 });
    const composed = composeTransactions([
      { transaction: { ...at, ops: [one] }, firstIndex: 3 },
      { transaction: { ...at, ops: [two] }, firstIndex: 7 },
    ]);
    expect(composed).toMatchObject({ indexes: [3], members: [[3, 7]] });
    expect(composed?.transaction.ops).toEqual([
      { ...one, inc: [{ field: 4, by: 3 }], set: [...set(1, 'A', 'C'), ...set(2, '1', '2')] },
    ]);
    const lives = composeTransactions([
      { transaction: { ...at, ops: [one, gone, anew] }, firstIndex: 1 },
    ]);
    expect(lives?.members).toEqual([[1, 2], [3]]);
    expect(composeTransactions([])).toBeUndefined();
  });
});
