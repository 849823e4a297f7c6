import { sketchOperation } from '@tidemark/testkit';
import { expect, test } from 'vitest';
import { opIdOf } from '../convergence/oracle-decider.js';
import { customizationOf, fieldIds } from '../convergence/tables.js';
import { typedByOperation } from '../simulation/typed-by-operation.js';

const { tables } = customizationOf(1);
const replica = 'device-A-1';
const [table] = tables;

test('[SIM-18] what was typed counts for the operation that brings it, as changes or as a difference', () => {
  const place = { table: table?.id ?? 0, kind: 'update' as const };
  const value = { field: fieldIds.a, before: 'x', after: 'y' };
  const difference = { field: fieldIds.note, before: '', after: 'q' };
  const changes = { field: fieldIds.note, changes: new Uint8Array(1) };
  const ops = [
    sketchOperation({ ...place, record: 'r1', set: [value] }),
    sketchOperation({ ...place, record: 'r1', crdt: [changes] }),
    sketchOperation({ ...place, record: 'r2', set: [difference] }),
    sketchOperation({ ...place, record: 'r2', set: [value] }),
  ];
  const transactions = [{ name: 'one', opCount: ops.length, ops }];
  const inR1 = { added: ['p'], removed: [] };
  const inR2 = { added: ['q'], removed: [] };
  const typed = new Map([
    [`one/${table?.name}/r1`, inR1],
    [`one/${table?.name}/r2`, inR2],
  ]);
  expect(typedByOperation([{ replica, from: 5, transactions }], { tables, typed })).toEqual(
    new Map([
      [opIdOf(replica, 6), inR1],
      [opIdOf(replica, 7), inR2],
    ]),
  );
});
