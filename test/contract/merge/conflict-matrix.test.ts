import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { FieldCrdt } from '@tidemark/ports';
import { Cell, deleteRows, fieldRows } from './matrix-rows.js';
import { openCrdt } from './merge-world.js';

const rules = ['server-wins', 'device-wins', 'device-wins-full', 'latest-wins', 'manual'] as const;
const deleteRules = ['edit-wins', 'delete-wins', 'manual'] as const;

/** Expected cells, column by column: server-wins, device-wins, device-wins-full, latest-wins, manual. */
const fieldCells: Readonly<Record<string, readonly string[]>> = {
  'update/update, same value': ['same: X 1', 'same: X 1', 'same: X 1', 'same: X 1', 'same: X 1'],
  'update/update, same field': [
    'superseded: X 1',
    'applied: B 1',
    'applied: B 1',
    'applied: B 1',
    'parked: X 1',
  ],
  'update/update, same field, made earlier': [
    'superseded: X 1',
    'applied: B 1',
    'applied: B 1',
    'superseded: X 1',
    'parked: X 1',
  ],
  'update/update, same field, equal times': [
    'superseded: X 1',
    'applied: B 1',
    'applied: B 1',
    'parked: X 1',
    'parked: X 1',
  ],
  'update/update, other field': [
    'applied: B 2',
    'applied: B 2',
    'applied: B 1',
    'applied: B 2',
    'applied: B 2',
  ],
  'two pending edits over a server edit': [
    'superseded, superseded: X 1',
    'applied, applied: C 1',
    'applied, applied: C 1',
    'applied, applied: C 1',
    'parked, parked: X 1',
  ],
  'two pending edits, the first made earlier': [
    'superseded, superseded: X 1',
    'applied, applied: C 1',
    'applied, applied: C 1',
    'superseded, superseded: X 1',
    'parked, parked: X 1',
  ],
  'own A to B to A over the same edit': [
    'same, superseded: B 1',
    'same, applied: A 1',
    'same, applied: A 1',
    'same, applied: A 1',
    'same, parked: B 1',
  ],
  'foreign A to Z to A': [
    'applied: B 1',
    'applied: B 1',
    'applied: B 1',
    'applied: B 1',
    'applied: B 1',
  ],
  'own chain without others': [
    'applied, applied: C 1',
    'applied, applied: C 1',
    'applied, applied: C 1',
    'applied, applied: C 1',
    'applied, applied: C 1',
  ],
  'create/create, equal': ['same: X 1', 'same: X 1', 'same: X 1', 'same: X 1', 'same: X 1'],
  'create/create, different': [
    'superseded: X 1',
    'applied: B 1',
    'applied: B 1',
    'applied: B 1',
    'parked: X 1',
  ],
  'create/create, then an update of the second': [
    'superseded, superseded: X 1',
    'applied, applied: C 1',
    'applied, applied: C 1',
    'applied, applied: C 1',
    'parked, parked: X 1',
  ],
  'update of nothing': [
    'parked: gone',
    'parked: gone',
    'parked: gone',
    'parked: gone',
    'parked: gone',
  ],
  'delete of nothing': ['same: gone', 'same: gone', 'same: gone', 'same: gone', 'same: gone'],
  'child created under a deleted parent': [
    'applied: B 1',
    'applied: B 1',
    'applied: B 1',
    'applied: B 1',
    'applied: B 1',
  ],
  'child created under a parked parent': [
    'parked, parked: gone',
    'parked, parked: gone',
    'parked, parked: gone',
    'parked, parked: gone',
    'parked, parked: gone',
  ],
  'correction of a rejected value': [
    'parked, parked, applied: B 1',
    'parked, parked, applied: B 1',
    'parked, parked, applied: B 1',
    'parked, parked, applied: B 1',
    'parked, parked, applied: B 1',
  ],
  increment: ['combined: 15', 'combined: 15', 'combined: 15', 'combined: 15', 'combined: 15'],
  'text, same base': [
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
  ],
  'text, different base': [
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
  ],
  'text, from no document': [
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
  ],
  'plain write to a text field': [
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
    'combined: author hello other',
  ],
  'foreign row with shadow, other field': [
    'applied: F 2',
    'applied: F 2',
    'applied: F 1',
    'applied: F 2',
    'applied: F 2',
  ],
  'foreign row with shadow, same field': [
    'superseded: X 1',
    'applied: F 1',
    'applied: F 1',
    'applied: F 1',
    'parked: X 1',
  ],
  'foreign row without shadow': [
    'superseded: A 1',
    'applied: F 1',
    'applied: F 1',
    'applied: F 1',
    'parked: A 1',
  ],
  'foreign row, echo': [
    'nothing: X 1',
    'nothing: X 1',
    'nothing: X 1',
    'nothing: X 1',
    'nothing: X 1',
  ],
};

/** Expected cells: edit-wins, delete-wins, manual. */
const deleteCells: Readonly<Record<string, readonly string[]>> = {
  'update/delete': ['applied: B 1', 'superseded: gone', 'parked: gone'],
  'update/delete and made again': ['parked: Z 9', 'superseded: Z 9', 'parked: Z 9'],
  'increment/delete': ['combined: 11', 'superseded: gone', 'parked: gone'],
  'delete/update': ['superseded: X 1', 'applied: gone', 'parked: X 1'],
  'delete/delete': ['same: gone', 'same: gone', 'same: gone'],
  'delete/delete and made again': ['same: Z 9', 'same: Z 9', 'same: Z 9'],
  'delete of an untouched record': ['applied: gone', 'applied: gone', 'applied: gone'],
  'own update, then delete': [
    'applied, applied: gone',
    'applied, applied: gone',
    'applied, applied: gone',
  ],
  'delete, then recreate': [
    'applied, applied, applied: M 1',
    'applied, applied, applied: M 1',
    'applied, applied, applied: M 1',
  ],
  'delete, then recreate, over a server edit': [
    'superseded, superseded: X 1',
    'applied, applied: N 1',
    'parked, parked: X 1',
  ],
  'foreign delete, unchanged here': ['applied: gone', 'applied: gone', 'applied: gone'],
  'foreign delete, changed here': ['superseded: X 1', 'applied: gone', 'parked: X 1'],
  'foreign row with shadow, deleted here': ['applied: F 1', 'superseded: gone', 'parked: gone'],
};

/** Cells of the tables in the specification, by row name. */
const documented = (): ReadonlyMap<string, readonly string[]> => {
  const text = readFileSync(new URL('../../../docs/spec/merge.md', import.meta.url), 'utf8');
  const rows = text.split('\n').filter((line) => /^\| [^-]/.test(line));
  const cells = rows.map((line) => line.split('|').map((cell) => cell.trim()));
  return new Map(cells.map(([, name, ...rest]) => [name ?? '', rest.slice(0, -1)]));
};

let crdt: FieldCrdt;
beforeAll(async () => {
  crdt = await openCrdt();
});

describe('conflict matrix', () => {
  for (const [name, row] of Object.entries(fieldRows))
    rules.forEach((rule, column) => {
      test(`[MRG-50] ${name}, under ${rule}`, () => {
        expect(row(new Cell(rule, 'edit-wins', crdt))).toBe(fieldCells[name]?.[column]);
      });
    });

  for (const [name, row] of Object.entries(deleteRows))
    deleteRules.forEach((onDelete, column) => {
      test(`[MRG-51] ${name}, under onDelete ${onDelete}`, () => {
        const expected = deleteCells[name]?.[column];
        expect(row(new Cell('server-wins', onDelete, crdt))).toBe(expected);
      });
    });

  for (const [name, row] of Object.entries(deleteRows)) {
    // Here edit-wins keeps the record, so that the create meets a live one: a case of the first table.
    if (name === 'delete, then recreate, over a server edit') continue;
    test(`[MRG-51] ${name}: the resolution rule takes no part`, () => {
      for (const rule of rules)
        deleteRules.forEach((onDelete, column) => {
          expect(row(new Cell(rule, onDelete, crdt))).toBe(deleteCells[name]?.[column]);
        });
    });
  }

  test('[MRG-50, MRG-51] the specification shows the cells that are tested here', () => {
    const tables = documented();
    const expected = Object.entries({ ...fieldCells, ...deleteCells });
    for (const [name, cells] of expected) expect([name, tables.get(name)]).toEqual([name, cells]);
    const heads = [...tables.keys()].filter((name) => name === 'case');
    expect(tables.size - heads.length).toBe(expected.length);
    expect(expected.map(([name]) => name)).toEqual([
      ...Object.keys(fieldRows),
      ...Object.keys(deleteRows),
    ]);
  });
});
