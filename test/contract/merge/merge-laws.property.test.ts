import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type {
  BaseVersion,
  FieldDefinition,
  Operation,
  ResolutionRule,
  Value,
} from '@tidemark/model';
import { rowHash, type Decision } from '@tidemark/merge';
import type { FieldCrdt } from '@tidemark/ports';
import { lawRuns } from '../../law-runs.js';
import { MergeWorld, openCrdt, operation, outcomesOf, schemaOf, sha256 } from './merge-world.js';

let crdt: FieldCrdt;
beforeAll(async () => {
  crdt = await openCrdt();
});

const fields: readonly FieldDefinition[] = [
  { id: 1, name: 'title', type: 'string', required: true },
  { id: 2, name: 'phone', type: 'string', rule: 'manual' },
  { id: 3, name: 'note', type: 'text' },
  { id: 4, name: 'count', type: 'counter' },
  { id: 5, name: 'parent', type: 'reference', table: 't1' },
];
const tableOf = (id: number, rule: ResolutionRule, own = fields) =>
  ({ id, name: `t${id}`, fields: own, rule, onDelete: 'edit-wins', indexes: [] }) as const;

const schema = schemaOf([
  tableOf(1, 'latest-wins'),
  { ...tableOf(2, 'device-wins-full'), onDelete: 'manual' },
  { ...tableOf(3, 'server-wins'), onDelete: 'delete-wins' },
]);

const anyValue: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom('A', 'B', 'r1', 'r2', ''),
  fc.constantFrom(null, true, 7, Number.MAX_VALUE),
);
const anyField = fc.integer({ min: 1, max: 6 });
const anyBase: fc.Arbitrary<BaseVersion | null> = fc.option(
  fc.record({
    incarnation: fc.integer({ min: 1, max: 2 }),
    n: fc.nat(12),
    born: fc.constantFrom('author/1/1', 'other/1/1', 'author/1/2', 'x/1/1'),
    modifiedOn: fc.nat(20_000),
  }),
);
const list = <A extends { readonly field: number }>(one: fc.Arbitrary<A>): fc.Arbitrary<A[]> =>
  fc.uniqueArray(one, { maxLength: 3, selector: ({ field }) => field });
const anyOperation: fc.Arbitrary<Operation> = fc.record({
  table: fc.constantFrom(1, 1, 2, 2, 3, 3, 99),
  record: fc.constantFrom('r1', 'r2'),
  kind: fc.constantFrom('create', 'update', 'update', 'delete'),
  base: anyBase,
  prev: fc.nat(3),
  since: fc.nat(3),
  seen: fc.constantFrom(0, 11_000, 1e12),
  set: list(fc.record({ field: anyField, before: anyValue, after: anyValue })),
  inc: list(fc.record({ field: fc.constantFrom(4, 4, 4, 1), by: fc.integer() })),
  crdt: list(fc.record({ field: fc.constant(3), changes: fc.uint8Array({ maxLength: 12 }) })),
  row: fc.option(list(fc.record({ field: anyField, value: anyValue }))),
});
const anySending = fc.record({
  replica: fc.constantFrom('author', 'other', 'server', 'backend'),
  ops: fc.array(anyOperation, { minLength: 1, maxLength: 4 }),
  atomicity: fc.constantFrom('whole', 'per-record'),
  action: fc.constantFrom(null, null, null, 'retry', 'merge', 'take-server', 'split'),
  picks: fc.array(fc.tuple(fc.nat(5), fc.constantFrom('mine', 'theirs', 'value'), anyValue), {
    maxLength: 3,
  }),
});
type Sent = typeof anySending extends fc.Arbitrary<infer T> ? T : never;

const sendOne = (world: MergeWorld, sent: Sent): Decision => {
  const { replica, ops, atomicity, action } = sent;
  const { table, record } = ops[0] ?? { table: 1, record: 'r1' };
  const choices = sent.picks.map(([field, pick, value]) => ({ table, record, field, pick, value }));
  return world.send(replica, ops, {
    kind: replica === 'server' || replica === 'backend' ? replica : 'device',
    atomicity,
    ...(action === null ? {} : { resolution: { action, by: 'user-1', choices } }),
  });
};

describe('laws of merge', () => {
  test('[MRG-1] any history decides without throwing, and twice alike', () => {
    fc.assert(
      fc.property(fc.array(anySending, { maxLength: 12 }), (history) => {
        const worlds = [new MergeWorld(schema, crdt), new MergeWorld(schema, crdt)];
        const [first, second] = worlds.map((world) => ({
          decisions: history.map((sent) => sendOne(world, sent)),
          records: world.records,
        }));
        expect(second).toEqual(first);
      }),
      lawRuns(0.2),
    );
  });

  test('[MRG-5, MRG-19, MRG-24] every operation has one verdict, and a parked part writes nothing', () => {
    fc.assert(
      fc.property(fc.array(anySending, { maxLength: 12 }), (history) => {
        const world = new MergeWorld(schema, crdt);
        for (const sent of history) {
          const decision = sendOne(world, sent);
          expect(decision.operations).toHaveLength(sent.ops.length);
          const parked = decision.parks.flatMap(({ ops }) => ops);
          for (const { index, outcome } of decision.operations)
            expect(outcome === 'parked' || outcome === 'rejected').toBe(parked.includes(index));
          const kept = decision.operations.filter(({ index }) => !parked.includes(index));
          for (const { table, id, before, after } of decision.writes) {
            expect(kept.some((one) => one.table === table && one.record === id)).toBe(true);
            expect(after.row.version.n).toBe(world.n);
            const earlier = before?.row.modifiedOn ?? 0;
            expect(after.row.modifiedOn).toBeGreaterThan(earlier);
          }
          if (sent.atomicity === 'whole' && sent.action !== 'split' && parked.length > 0)
            expect(kept).toEqual([]);
        }
      }),
      lawRuns(0.2),
    );
  });

  const plain: readonly FieldDefinition[] = [
    { id: 1, name: 'a', type: 'string' },
    { id: 2, name: 'b', type: 'string', rule: 'device-wins' },
    { id: 3, name: 'c', type: 'string', rule: 'latest-wins' },
    { id: 4, name: 'd', type: 'string', rule: 'manual' },
  ];
  const anySet = fc.uniqueArray(
    fc.record({ field: fc.integer({ min: 1, max: 4 }), after: fc.constantFrom('x', 'y') }),
    { selector: ({ field }) => field, minLength: 1 },
  );
  const seeded = (): { world: MergeWorld; base: BaseVersion | null } => {
    const world = new MergeWorld(schemaOf([tableOf(1, 'server-wins', plain)]), crdt);
    const set = [1, 2, 3, 4].map((field) => ({ field, before: null, after: '-' }));
    world.send('server', [operation('create', { table: 1, record: 'r', set })], { kind: 'server' });
    return { world, base: world.base(1, 'r') };
  };
  const edit = (
    base: BaseVersion | null,
    set: readonly { readonly field: number; readonly after: string }[],
  ): Operation =>
    operation('update', {
      table: 1,
      record: 'r',
      base,
      set: set.map((change) => ({ ...change, before: '-' })),
    });

  test('[MRG-10, MRG-40] a field that one side touched keeps that edit', () => {
    fc.assert(
      fc.property(anySet, anySet, (theirs, ours) => {
        const { world, base } = seeded();
        world.send('other', [edit(base, theirs)]);
        const parked = outcomesOf(world.send('author', [edit(base, ours)])).includes('parked');
        const found = world.fields(1, 'r');
        for (const field of [1, 2, 3, 4]) {
          const their = theirs.find((one) => one.field === field);
          const our = ours.find((one) => one.field === field);
          if (their !== undefined && our !== undefined) continue;
          const expected = their?.after ?? (parked ? undefined : our?.after) ?? '-';
          expect(found === 'gone' ? 'gone' : found[field]).toBe(expected);
        }
      }),
      lawRuns(0.2),
    );
  });

  test('[MRG-41] equal edits never conflict', () => {
    fc.assert(
      fc.property(anySet, (set) => {
        const { world, base } = seeded();
        world.send('other', [edit(base, set)]);
        const decision = world.send('author', [edit(base, set)]);
        expect(outcomesOf(decision)).toEqual(['same']);
        expect(decision.parks).toEqual([]);
      }),
      lawRuns(0.2),
    );
  });

  test('[MRG-42] latest-wins, counters and texts do not depend on the order of arrival', () => {
    const anyEdits = fc.uniqueArray(
      fc.record({
        at: fc.integer({ min: 12_000, max: 12_050 }),
        title: fc.constantFrom('x', 'y', 'z', null),
        by: fc.integer({ min: -5, max: 5 }),
        typed: fc.option(fc.constantFrom('ab', 'c')),
      }),
      { selector: ({ at }) => at, minLength: 2, maxLength: 5 },
    );
    const orders = fc.array(fc.nat(), { minLength: 5, maxLength: 5 });
    const key = { tenant: 'acme', table: 1, record: 'r', field: 3 };
    const typings = new Map<string, Operation['crdt']>();
    /** Whole history of a text into which an author typed; the same for the same author and text. */
    const typedBy = (author: number, text: string): Operation['crdt'] => {
      const known = typings.get(`${author} ${text}`);
      if (known !== undefined) return known;
      const actor = new Uint8Array(16).fill(author + 1);
      const { document } = crdt.editText(crdt.genesis(key, 'hello'), `${text}hello`, actor, 0);
      const made = [{ field: 3, changes: crdt.changesOf(document) }];
      typings.set(`${author} ${text}`, made);
      return made;
    };
    fc.assert(
      fc.property(anyEdits, orders, (edits, order) => {
        const optional = fields.map((field) =>
          field.id === 1 ? { ...field, required: false } : field,
        );
        const ending = (arrival: readonly number[]) => {
          const world = new MergeWorld(schemaOf([tableOf(1, 'latest-wins', optional)]), crdt);
          const set = [
            { field: 1, before: null, after: 'A' },
            { field: 3, before: null, after: 'hello' },
          ];
          const made = operation('create', { table: 1, record: 'r', set });
          world.send('server', [made], { kind: 'server' });
          const record = world.record(1, 'r');
          const base = world.base(1, 'r');
          for (const i of arrival) {
            const one = edits[i];
            if (one === undefined) continue;
            const op = operation('update', {
              table: 1,
              record: 'r',
              base,
              seen: record?.row.editedAt[1] ?? 0,
              set: [{ field: 1, before: 'A', after: one.title }],
              inc: one.by === 0 ? [] : [{ field: 4, by: one.by }],
              crdt: one.typed === null ? [] : typedBy(i, one.typed),
            });
            world.send(`device-${i}`, [op], { at: one.at });
          }
          return world.fields(1, 'r');
        };
        const straight = edits.map((_, i) => i);
        const shuffled = [...straight].sort((a, b) => (order[a] ?? 0) - (order[b] ?? 0));
        const counted = (found: ReturnType<typeof ending>) =>
          found === 'gone' ? found : { ...found, 4: found[4] ?? 0 };
        expect(counted(ending(shuffled))).toEqual(counted(ending(straight)));
      }),
      lawRuns(0.2),
    );
  });

  test('[MRG-31] the hash tells records apart by what they say', () => {
    fc.assert(
      fc.property(fc.constantFrom('A', 'B'), fc.nat(3), fc.boolean(), (title, count, deleted) => {
        const { world } = seeded();
        const record = world.record(1, 'r');
        if (record === undefined) throw new Error('the record was just made');
        const varied = {
          ...record,
          deleted,
          row: { ...record.row, fields: { ...record.row.fields, 1: title, 9: count } },
        };
        const equal = {
          ...varied,
          row: { ...varied.row, fields: { ...varied.row.fields, 8: null } },
        };
        const other = { ...varied, deleted: !deleted };
        const of = (one: typeof record) => Buffer.from(rowHash(one, crdt, sha256)).toString('hex');
        expect(of(equal)).toBe(of(varied));
        expect(of(other)).not.toBe(of(varied));
      }),
      lawRuns(0.2),
    );
  });
});
