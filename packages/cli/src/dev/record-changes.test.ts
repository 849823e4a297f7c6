import { expect, test } from 'vitest';
import { recordChanges } from './record-changes.js';

test('[CLI-70] changes between two results name record, kind and fields with both values', () => {
  const before = [
    { id: 'a', subject: 'A', parts: 1 },
    { id: 'b', subject: 'B' },
    { id: 'c', subject: 'C', parts: null },
  ];
  const after = [
    { id: 'a', subject: 'A', parts: 2 },
    { id: 'c', subject: 'C' },
    { id: 'd', subject: 'D', parts: null },
  ];
  expect(recordChanges(before, after)).toEqual([
    { record: 'a', kind: 'changed', fields: { parts: [1, 2] } },
    { record: 'd', kind: 'created', fields: { subject: [null, 'D'] } },
    { record: 'b', kind: 'deleted', fields: { subject: ['B', null] } },
  ]);
  expect(recordChanges(after, after)).toEqual([]);
});
