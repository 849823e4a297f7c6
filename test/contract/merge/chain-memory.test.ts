import { beforeAll, describe, expect, test } from 'vitest';
import type { FieldCrdt } from '@tidemark/ports';
import { MergeWorld, openCrdt, operation, outcomesOf, schemaOf } from './merge-world.js';
import { record, set, tableOf, typing } from './rule-tables.js';

const schema = schemaOf([
  tableOf(1),
  tableOf(2, { rule: 'latest-wins', onDelete: 'manual' }),
  tableOf(3, { onDelete: 'delete-wins' }),
]);
let crdt: FieldCrdt;
beforeAll(async () => {
  crdt = await openCrdt();
});

// Random histories found these: what is remembered of a chain decided wrongly on what came behind it.
describe('what a chain remembers', () => {
  test('[MRG-6] a delete behind an increment or typing that a person dropped is not clean', () => {
    const inc = [{ field: 4, by: 1 }];
    const typed = { crdt: typing(crdt, 2, 'hello', 'hello you', 1) };
    for (const parts of [{ inc }, typed, { set: set(1, 'A', 'B'), inc }]) {
      const world = new MergeWorld(schema, crdt);
      for (const table of [1, 2]) {
        const values = [...set(1, null, 'A'), ...set(2, null, '1'), ...set(3, null, 'hello')];
        world.send('other', [operation('create', { table, record, set: values })]);
      }
      const bases = [null, world.base(1, record), world.base(2, record)];
      const op = (kind: 'update' | 'delete', table: number, own: object) =>
        operation(kind, { table, record, base: bases[table] ?? null, ...own });
      world.send('other', [op('update', 1, { set: set(1, 'A', 'X') })]);
      const both = [op('update', 2, parts), op('update', 1, { set: set(1, 'A', 'B') })];
      expect(outcomesOf(world.send('author', both))).toEqual(['parked', 'parked']);
      const resolution = { action: 'take-server', by: 'ann', choices: [] } as const;
      world.send('author', both, { firstIndex: 1, resolution });
      const edit = op('update', 2, { prev: 2, since: 2, set: set(2, '1', '9') });
      const last = op('delete', 2, { prev: 1, since: 3 });
      const after = [world.send('author', [edit]), world.send('author', [last])];
      expect(outcomesOf(...after)).toEqual(['applied', 'parked']);
    }
  });

  test('[MRG-7] an edit behind a create that was the same stays with the life that its author began', () => {
    for (const [table, outcome] of [
      [1, 'parked'],
      [3, 'superseded'],
    ] as const) {
      const world = new MergeWorld(schema, crdt);
      const made = { table, record, set: set(1, null, 'A') };
      world.send('author', [operation('create', made)]);
      expect(outcomesOf(world.send('author', [operation('create', { ...made, prev: 1 })]))).toEqual(
        ['same'],
      );
      const base = world.base(table, record);
      world.send('other', [operation('delete', { table, record, base })]);
      world.send('other', [operation('create', made)]);
      const edit = operation('update', {
        table,
        record,
        prev: 1,
        since: 2,
        set: set(2, null, '9'),
      });
      expect(outcomesOf(world.send('author', [edit]))).toEqual([outcome]);
    }
  });
});
