import {
  decodeFeedSegment,
  FeedDraft,
  hashOfScopeKey,
  KeyedSegments,
  keyedSegmentBytesMax,
} from '@tidemark/merger';
import { encodeRow, utf8Encode, type FieldId, type Value } from '@tidemark/model';
import type { StoredRecord } from '@tidemark/ports';
import { expect, test } from 'vitest';

const table = 1;
const field = 2;
const other = 3;

const rowOf = (site: Value, n: number): Uint8Array =>
  encodeRow({
    version: { incarnation: 1, n },
    ...{ born: '', modifiedOn: 0, modifiedBy: '', createdOn: 0, owner: '', docs: {}, editedAt: {} },
    fields: { [field]: site },
  });

const recordOf = (id: string, site: Value, deleted = false): StoredRecord => ({
  ...{ id, version: { incarnation: 1, n: 50 }, deleted, row: rowOf(site, 50) },
  extra: utf8Encode('["",0]'),
});

const fieldsBefore = (n: number, fields: Readonly<Record<FieldId, Value>>) => ({
  ...{ kind: 'fields' as const, version: { incarnation: 1, n }, docs: [], editedAt: {} },
  ...{ modifiedOn: 0, modifiedBy: '', owner: '', fields },
});

const segmentOf = (last: number) => {
  const draft = new FeedDraft();
  draft.add({ id: 'stays', n: 10, kind: 'update', before: fieldsBefore(1, { [other]: 'x' }) });
  draft.add({ id: 'came', n: 11, kind: 'update', before: fieldsBefore(2, { [field]: 'far' }) });
  draft.add({ id: 'left', n: 12, kind: 'update', before: fieldsBefore(3, { [field]: 'home' }) });
  draft.add({ id: 'born', n: 13, kind: 'create', before: null });
  draft.add({ id: 'died', n: 14, kind: 'delete', before: { kind: 'row', row: rowOf('far', 4) } });
  draft.add({ id: 'none', n: 15, kind: 'update', before: fieldsBefore(5, { [field]: null }) });
  draft.add({ id: 'away', n: 16, kind: 'update', before: fieldsBefore(6, { [other]: 'x' }) });
  const bytes = draft.encode(table, 1);
  return { place: { last, table }, bytes: bytes.length, feed: decodeFeedSegment(bytes) };
};

const stored = new Map(
  [
    recordOf('stays', 'home'),
    recordOf('came', 'home'),
    recordOf('left', 'far'),
    recordOf('born', 'home'),
    recordOf('died', 'far', true),
    recordOf('none', 'far'),
    recordOf('away', 'far'),
  ].map((record) => [record.id, record]),
);

const storeOf = () => {
  const calls: (readonly string[])[] = [];
  return {
    calls,
    getRecords: (_: number, ids: readonly string[]) => {
      calls.push(ids);
      return Promise.resolve(ids.map((id) => stored.get(id)));
    },
  };
};

const segment = segmentOf(16);
const ids = [...stored.keys()];

test('[PUL-84] a segment tells which of its records had a value before a change of it, or have it', async () => {
  const store = storeOf();
  const keyed = new KeyedSegments(() => 0);
  const concerned = async (value: Value) => {
    const is = await keyed.concerned(store, 1, segment, field, hashOfScopeKey(value));
    return ids.filter((id) => is(id));
  };
  // What is deleted may have had any.
  expect(await concerned('home')).toEqual(['stays', 'came', 'left', 'born', 'died']);
  expect(await concerned('far')).toEqual(['came', 'left', 'died', 'none', 'away']);
  expect(await concerned(null)).toEqual(['died', 'none']);
  expect(await concerned('nowhere')).toEqual(['died']);
  expect(store.calls).toHaveLength(1);
});

test('[PUL-84] segments are kept up to a number of bytes, for one scope key, until a store is loaded', async () => {
  const store = storeOf();
  let reloads = 0;
  const keyed = new KeyedSegments(() => reloads);
  const hash = hashOfScopeKey('home');
  const read = async (last: number, bytes = segment.bytes): Promise<void> => {
    const one = { ...segment, place: { last, table }, bytes };
    await keyed.concerned(store, 1, one, field, hash);
  };
  await read(16);
  expect(keyed.find(1, { last: 16, table })).toBe(segment.feed);
  expect(keyed.find(2, { last: 16, table })).toBeUndefined();
  const third = Math.floor(keyedSegmentBytesMax / 3);
  await read(17, third);
  await read(18, third);
  await read(16);
  await read(19, third);
  expect(keyed.find(1, { last: 17, table })).toBeUndefined();
  for (const last of [16, 18, 19]) expect(keyed.find(1, { last, table })).toBeDefined();
  await keyed.concerned(store, 1, segment, other, hash);
  expect(store.calls).toHaveLength(5);
  await read(20, 2 * keyedSegmentBytesMax);
  expect(keyed.find(1, { last: 20, table })).toBeUndefined();
  await read(21);
  expect(keyed.find(1, { last: 21, table })).toBeDefined();
  reloads += 1;
  expect(keyed.find(1, { last: 21, table })).toBeUndefined();
});
