import { applyLocally, type LocalContext } from '@tidemark/merge';
import {
  indexSchema,
  systemTables,
  toBase64,
  type SchemaTable,
  type TableDefinition,
} from '@tidemark/model';
import type { FieldCrdt } from '@tidemark/ports';
import { beforeAll, describe, expect, test } from 'vitest';
import { openCrdt, operation } from './merge-world.js';
import { record, set, tableOf, typing } from './rule-tables.js';

let crdt: FieldCrdt;
beforeAll(async () => {
  crdt = await openCrdt();
});

describe('the local view', () => {
  const view = (table: TableDefinition) =>
    indexSchema({ format: 1, version: 1, tables: [table] }, systemTables).tablesById.get(table.id);

  const on = (table: SchemaTable): LocalContext => ({
    tenant: 'acme',
    table,
    crdt,
    sides: new Map(),
  });

  test('[MRG-32] pending operations show on the image, whatever it became', () => {
    const table = view(tableOf(1));
    if (table === undefined) throw new Error('the schema has its table');
    const image = { fields: { 1: 'A', 4: 1 }, docs: {}, plain: [], deleted: false };
    const edit = operation('update', {
      table: 1,
      record,
      set: set(1, 'A', 'B'),
      inc: [{ field: 4, by: 2 }],
    });
    expect(applyLocally(image, edit, on(table))).toEqual({ ...image, fields: { 1: 'B', 4: 3 } });
    expect(applyLocally({ ...image, deleted: true }, edit, on(table))?.deleted).toBe(false);
    expect(applyLocally(undefined, edit, on(table))).toBeUndefined();
    const create = operation('create', { table: 1, record, set: set(1, null, 'N') });
    expect(applyLocally({ ...image, deleted: true }, create, on(table))?.fields).toEqual({
      1: 'N',
    });
    expect(applyLocally(image, operation('delete', { table: 1, record }), on(table))?.deleted).toBe(
      true,
    );
    const kept = view(tableOf(1, { onDelete: 'delete-wins' }));
    if (kept === undefined) throw new Error('the schema has its table');
    expect(applyLocally({ ...image, deleted: true }, edit, on(kept))?.deleted).toBe(true);
  });

  test('[MRG-32] typing shows on a plain image, on its own document and beside another one', () => {
    const table = view(tableOf(1));
    if (table === undefined) throw new Error('the schema has its table');
    const edit = operation('update', {
      table: 1,
      record,
      crdt: typing(crdt, 1, 'hello', 'author hello', 2),
    });
    const plain = { fields: { 3: 'hello' }, docs: {}, plain: [], deleted: false };
    expect(applyLocally(plain, edit, on(table))?.fields).toEqual({ 3: 'author hello' });
    const key = { tenant: 'acme', table: 1, record, field: 3 };
    const documentOf = (from: string, to: string) =>
      toBase64(crdt.editText(crdt.genesis(key, from), to, new Uint8Array(16).fill(9), 0).document);
    const shared = {
      ...plain,
      fields: { 3: 'hello other' },
      docs: { 3: documentOf('hello', 'hello other') },
    };
    expect(applyLocally(shared, edit, on(table))?.fields).toEqual({ 3: 'author hello other' });
    const other = {
      ...plain,
      fields: { 3: 'hallo other' },
      docs: { 3: documentOf('hallo', 'hallo other') },
    };
    const shown = applyLocally(other, edit, on(table));
    expect(shown?.fields[3]).toMatch(/^author h.*llo other$/);
    expect(shown?.plain).toEqual([3]);
    const noise = { ...edit, crdt: [{ field: 3, changes: new Uint8Array(3) }] };
    expect(applyLocally(shared, noise, on(table))?.fields).toEqual({ 3: 'hello other' });
  });

  test('[MRG-32] texts beneath a pending create are edited by plain differences', () => {
    const table = view(tableOf(1));
    if (table === undefined) throw new Error('the schema has its table');
    const key = { tenant: 'acme', table: 1, record, field: 3 };
    const { document } = crdt.editText(crdt.genesis(key, ''), 'x', new Uint8Array(16).fill(9), 0);
    const others = { fields: { 3: 'x' }, docs: { 3: toBase64(document) }, plain: [] };
    const create = operation('create', { table: 1, record, set: set(1, null, 'N') });
    // If the other record is gone when the create is decided, so is its document.
    const shown = applyLocally({ ...others, deleted: false }, create, on(table));
    expect(shown).toMatchObject({ fields: { 1: 'N', 3: 'x' }, docs: {}, plain: [3] });
  });

  test('[MRG-32] a document is edited on only if the pending edits bring all of it', () => {
    const table = view(tableOf(1));
    if (table === undefined) throw new Error('the schema has its table');
    const key = { tenant: 'acme', table: 1, record, field: 3 };
    const { document } = crdt.editText(crdt.genesis(key, ''), 'x', new Uint8Array(16).fill(9), 0);
    const emptied = crdt.editText(document, '', new Uint8Array(16).fill(9), 0);
    const edit = crdt.editText(emptied.document, 'y', new Uint8Array(16).fill(8), 0);
    const typed = operation('update', {
      table: 1,
      record,
      crdt: [{ field: 3, changes: edit.changes }],
    });
    // The record was made again: the server has no document in which these edits could stand.
    const again = { fields: {}, docs: {}, plain: [], deleted: false };
    const sides = new Map([[3, emptied.document]]);
    const shown = applyLocally(again, typed, { ...on(table), sides });
    expect(shown).toMatchObject({ fields: { 3: 'y' }, docs: {}, plain: [3] });
  });
});
