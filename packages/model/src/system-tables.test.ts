import { value } from '@tidemark/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RowFields } from './row.js';
import { userTableIdMax } from './schema.js';
import type { ResolutionRow, SyncErrorRow } from './sync-error.js';
import {
  resolutionFields,
  resolutionFromFields,
  resolutionItemsMax,
  syncErrorFields,
  syncErrorFromFields,
  systemTables,
} from './system-tables.js';

const parked: SyncErrorRow = {
  ...{ root: 'r1/1/5', replica: 'r1', user: 'user-1', kind: 'conflict', state: 'open' },
  ...{ message: 'visits.state: manual', table: 2, record: '__proto__', parkedOn: 1_000 },
  conflicts: [
    { op: 5, table: 2, record: '__proto__', field: 7, base: null, ours: 'open', rule: 'manual' },
  ],
  ranges: [{ epoch: 1, from: 5, to: 6 }],
  ...{ disposition: null, resolvedBy: null, lastResolution: null },
};

const chosen: ResolutionRow = {
  root: 'r1/1/5',
  action: 'merge',
  shown: [{ table: 2, record: '__proto__', incarnation: 1, n: 9 }],
  choices: [
    { table: 2, record: '__proto__', field: 7, pick: 'value', value: 'done' },
    { table: 2, record: '__proto__', field: 0, pick: 'mine' },
  ],
};

test('[MOD-54] system tables have ids above those of users and fields of their own', () => {
  for (const table of systemTables) {
    expect(table.id).toBeGreaterThan(userTableIdMax);
    expect(new Set(table.fields.map(({ id }) => id)).size).toBe(table.fields.length);
    expect(new Set(table.fields.map(({ name }) => name)).size).toBe(table.fields.length);
  }
});

test('[MOD-55] a sync error is read back from its fields', () => {
  expect(syncErrorFromFields('r1/1/5', syncErrorFields(parked))).toEqual(parked);
  const resolved: SyncErrorRow = {
    ...parked,
    ...{ state: 'resolved', disposition: 'split', resolvedBy: 'user-2' },
    lastResolution: { id: 'x', verdict: 'done' },
  };
  expect(syncErrorFromFields('r1/1/5', syncErrorFields(resolved))).toEqual(resolved);
});

describe('[MOD-56] resolutions come from people and are checked', () => {
  const fields = resolutionFields(chosen);
  const failing = (change: RowFields): string | undefined => {
    const result = resolutionFromFields({ ...fields, ...change });
    return result._tag === 'Left' ? result.left : undefined;
  };
  const json = (one: object, change: object): string => JSON.stringify([{ ...one, ...change }]);
  const shown = chosen.shown[0] as object;
  const choice = chosen.choices[0] as object;

  test('a resolution is read back from its fields', () => {
    expect(resolutionFromFields(fields)).toEqual({ _tag: 'Right', right: chosen });
  });

  test('the failure names the field', () => {
    expect(failing({ 1: 5 })).toBe('root');
    expect(failing({ 2: 'constructor' })).toBe('action');
    expect(failing({ 3: null })).toBe('shown');
    expect(failing({ 3: '[' })).toBe('shown');
    expect(failing({ 3: '{}' })).toBe('shown');
    expect(failing({ 3: '[null]' })).toBe('shown');
    expect(failing({ 3: json(shown, { n: -1 }) })).toBe('shown');
    expect(failing({ 3: json(shown, { incarnation: 0.5 }) })).toBe('shown');
    expect(failing({ 3: json(shown, { record: '' }) })).toBe('shown');
    expect(failing({ 4: json(choice, { pick: 'ours' }) })).toBe('choices');
    expect(failing({ 4: json(choice, { field: '7' }) })).toBe('choices');
    expect(failing({ 4: json(choice, { value: undefined }) })).toBe('choices');
    expect(failing({ 4: json(choice, { value: { __proto__: null, a: 1 } }) })).toBe('choices');
    expect(failing({ 4: `[{"__proto__":${JSON.stringify(choice)}}]` })).toBe('choices');
    const long = JSON.stringify(Array.from({ length: resolutionItemsMax + 1 }, () => shown));
    expect(failing({ 3: long })).toBe('shown');
  });

  test('total on any values', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(value, fc.json()), { minLength: 4, maxLength: 4 }), (some) => {
        const result = resolutionFromFields({
          1: some[0] ?? null,
          2: 'retry',
          3: some[2] ?? null,
          4: some[3] ?? null,
        });
        if (result._tag === 'Left') expect(['root', 'shown', 'choices']).toContain(result.left);
      }),
    );
  });
});
