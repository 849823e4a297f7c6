import type { LocalReplica } from '@tidemark/client';
import { decodeTransaction, openTransaction, type Operation } from '@tidemark/model';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  download,
  newDisk,
  codeOf,
  openOn,
  pageOf,
  rowOf,
  sha256,
  tasks,
  upsert,
  type Disk,
  type TestReplica,
} from './harness.js';

/** First byte of the keys of the log. */
const logSpace = 0x10;

let disk: Disk;
let opened: TestReplica;
let replica: LocalReplica;

beforeEach(async () => {
  disk = newDisk();
  opened = await openOn(disk);
  replica = opened.replica;
});
afterEach(() => opened.close());

const reopen = async (): Promise<void> => {
  await opened.close();
  opened = await openOn(disk);
  replica = opened.replica;
};

const operations = async (): Promise<readonly Operation[]> => {
  const entries = await replica.readLog(1, 10_000_000);
  return entries.flatMap(({ bytes }) => {
    const stored = openTransaction(bytes, sha256);
    if (stored._tag === 'Left' || stored.right.payload === undefined) throw new Error('log');
    const decoded = decodeTransaction(stored.right.payload);
    if (decoded._tag === 'Left') throw new Error(decoded.left);
    return decoded.right.ops;
  });
};

describe('edits', () => {
  test('[REP-1] an edit is visible once its promise resolves, and after opening again', async () => {
    const id = await replica.create('tasks', { title: 'Buy milk', rank: 2 });
    await replica.update('tasks', id, { done: true });
    await replica.increment('tasks', id, 'votes', 3);
    const expected = {
      id,
      title: 'Buy milk',
      rank: 2,
      done: true,
      votes: 3,
      note: null,
      due: null,
      cost: null,
    };
    expect(await replica.get('tasks', id)).toEqual(expected);
    await reopen();
    expect(await replica.get('tasks', id)).toEqual(expected);
    await replica.delete('tasks', id);
    expect(await replica.get('tasks', id)).toBeUndefined();
    expect(replica.logEnd().lastIndex).toBe(4);
  });

  test('[REP-2] every failed check has its code and stores nothing', async () => {
    const id = await replica.create('tasks', { title: 'a' });
    const before = replica.logEnd().lastIndex;
    const refused: readonly (readonly [string, Promise<unknown>])[] = [
      ['unknown-table', replica.create('nothing', {})],
      ['unknown-table', replica.create('sync_errors', {})],
      ['unknown-field', replica.create('tasks', { title: 'x', nope: 1 })],
      ['unknown-field', replica.create('tasks', JSON.parse('{"title":"x","__proto__":1}'))],
      ['required-field', replica.create('tasks', { rank: 1 })],
      ['required-field', replica.update('tasks', id, { title: null })],
      ['invalid-value', replica.update('tasks', id, { rank: Number.NaN })],
      ['invalid-value', replica.update('tasks', id, { rank: -0 })],
      ['invalid-value', replica.update('tasks', id, { votes: 3 })],
      ['invalid-value', replica.update('tasks', id, { due: '2024-02-30' })],
      ['invalid-value', replica.increment('tasks', id, 'rank', 1)],
      ['invalid-value', replica.increment('tasks', id, 'votes', Infinity)],
      ['invalid-value', replica.editText('tasks', id, 'note', { at: 3, remove: 0, insert: 'x' })],
      ['invalid-id', replica.create('tasks', { title: 'x' }, { id: '' })],
      ['invalid-id', replica.create('tasks', { title: 'x' }, { id: 'a\0b' })],
      ['unknown-record', replica.update('tasks', 'nobody', { rank: 1 })],
      ['unknown-record', replica.delete('tasks', '')],
      ['record-exists', replica.create('tasks', { title: 'x' }, { id })],
    ];
    for (const [code, work] of refused) expect(await codeOf(work)).toBe(code);
    expect(replica.logEnd().lastIndex).toBe(before);
    expect(await replica.count('tasks')).toBe(1);
  });

  test('[REP-3] `__proto__` is an ordinary id', async () => {
    await replica.create('tasks', { title: 'odd' }, { id: '__proto__' });
    expect((await replica.get('tasks', '__proto__'))?.['title']).toBe('odd');
    expect(await replica.get('tasks', 'constructor')).toBeUndefined();
  });

  test('[REP-4] a transaction is stored whole or not at all', async () => {
    const failed = replica.transaction(async (edits) => {
      await edits.create('tasks', { title: 'one' }, 'one');
      await edits.update('tasks', 'one', { rank: 'no' });
    });
    expect(await codeOf(failed)).toBe('invalid-value');
    expect(await replica.get('tasks', 'one')).toBeUndefined();
    const result = await replica.transaction(async (edits) => {
      await edits.create('tasks', { title: 'one' }, 'one');
      await edits.update('tasks', 'one', { rank: 7 });
      expect((await edits.get('tasks', 'one'))?.['rank']).toBe(7);
      expect(await replica.get('tasks', 'one')).toBeUndefined();
      return 'done';
    });
    expect(result).toBe('done');
    expect((await replica.get('tasks', 'one'))?.['rank']).toBe(7);
    expect(await replica.readLog(1, 1_000)).toHaveLength(1);
    expect(await codeOf(replica.transaction(() => 1))).toBe('transaction-empty');
  });

  test('[REP-5] bounds: 1,000 operations, 256 KB, 512 KB a record; nothing half-written', async () => {
    const many = (count: number) =>
      replica.transaction(async (edits) => {
        for (let i = 0; i < count; i += 1) await edits.create('tasks', { title: `t${i}` }, `t${i}`);
      });
    expect(await codeOf(many(1_001))).toBe('transaction-too-large');
    expect(replica.logEnd().lastIndex).toBe(0);
    await many(1_000);
    expect(replica.logEnd().lastIndex).toBe(1_000);
    const big = 'x'.repeat(64 * 1024);
    const large = replica.transaction(async (edits) => {
      for (let i = 0; i < 4; i += 1) await edits.create('tasks', { title: big }, `big${i}`);
    });
    expect(await codeOf(large)).toBe('transaction-too-large');
    expect(await replica.get('tasks', 'big0')).toBeUndefined();
    const note = 'n'.repeat(600 * 1024);
    expect(await codeOf(replica.create('tasks', { title: 'x', note }))).toMatch(/too-large/);
  });

  test('[REP-6] operations carry base, prev, before values and the whole row where the rule asks', async () => {
    const row = rowOf(5, { 1: 'Paris', 2: 'old' });
    await download(replica, [pageOf(2, [upsert('v', row)])], 5, 0);
    await replica.update('visits', 'v', { city: 'Rome' });
    await replica.create('tasks', { title: 'x' }, { id: 'x' });
    await replica.update('visits', 'v', { city: 'Oslo' });
    await replica.update('visits', 'v', { city: 'Bonn' });
    const [first, second, third, fourth] = await operations();
    expect(first).toMatchObject({
      base: { incarnation: 1, n: 5, born: 'other/1/1', modifiedOn: 1_005 },
      prev: 0,
      set: [{ field: 1, before: 'Paris', after: 'Rome' }],
      row: [{ field: 1, value: 'Rome' }],
    });
    expect(second).toMatchObject({ base: null, prev: 0, since: 0, row: null });
    const change = { field: 1, before: 'Rome', after: 'Oslo' };
    expect(third).toMatchObject({ prev: 2, since: 2, set: [change] });
    expect(fourth).toMatchObject({ prev: 1, since: 3 });
  });

  test('[REP-7] values that are there already are left out; nothing is recorded when none remains', async () => {
    const id = await replica.create('tasks', { title: 'a', rank: 1 });
    await replica.update('tasks', id, { title: 'a', rank: 1 });
    await replica.increment('tasks', id, 'votes', 0);
    expect(replica.logEnd().lastIndex).toBe(1);
    await replica.update('tasks', id, { title: 'a', rank: 2 });
    expect((await operations())[1]?.set).toEqual([{ field: 2, before: 1, after: 2 }]);
  });

  test('[REP-8] text edits combine as changes; the first one carries the genesis', async () => {
    const id = await replica.create('tasks', { title: 'a', note: 'Hello' });
    await replica.editText('tasks', id, 'note', { at: 5, remove: 0, insert: ' world' });
    await replica.update('tasks', id, { note: 'Hello, world' });
    expect((await replica.get('tasks', id))?.['note']).toBe('Hello, world');
    const [, first, second] = await operations();
    expect(first?.set).toEqual([]);
    expect((first?.crdt[0]?.changes.length ?? 0) > (second?.crdt[0]?.changes.length ?? 0)).toBe(
      true,
    );
    const pending = await replica.pending();
    expect(pending.map(({ changes }) => changes.find((one) => one.field === 'note'))).toEqual([
      { field: 'note', before: null, after: 'Hello' },
      { field: 'note', before: 'Hello', after: 'Hello world' },
      { field: 'note', before: 'Hello world', after: 'Hello, world' },
    ]);
  });

  test('[REP-9] ids are UUIDv7, ascending also within a millisecond', async () => {
    const still = await openOn(newDisk(), { clock: { nowMs: () => 1_700_000_000_000 } });
    const ids: string[] = [];
    for (let i = 0; i < 50; i += 1) ids.push(await still.replica.create('tasks', { title: 'x' }));
    expect(ids).toEqual([...ids].sort());
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    await still.close();
  });

  test('[REP-10] concurrent edits take turns and get consecutive indexes', async () => {
    await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        replica.create('tasks', { title: `${i}` }, { id: `r${i}` }),
      ),
    );
    await Promise.all(
      Array.from({ length: 40 }, () => replica.increment('tasks', 'r0', 'votes', 1)),
    );
    expect((await replica.get('tasks', 'r0'))?.['votes']).toBe(40);
    expect((await replica.readLog(1, 1_000_000)).map(({ index }) => index)).toEqual(
      Array.from({ length: 80 }, (_, i) => i + 1),
    );
  });

  test('[REP-11] another user or tenant cannot open the store; a closed replica refuses', async () => {
    await opened.close();
    expect(await codeOf(replica.create('tasks', { title: 'x' }))).toBe('replica-closed');
    expect(await codeOf(openOn(disk, { user: 'user-3' }))).toBe('folder-in-use');
    expect(await codeOf(openOn(disk, { tenant: 'other' }))).toBe('folder-in-use');
    opened = await openOn(disk);
  });

  test('[REP-12] the pending list is read page by page', async () => {
    for (let i = 0; i < 5; i += 1) await replica.create('tasks', { title: `${i}` }, { id: `${i}` });
    await replica.increment('tasks', '0', 'votes', 2);
    const first = await replica.pending({ limit: 4 });
    expect(first.map(({ index }) => index)).toEqual([1, 2, 3, 4]);
    const rest = await replica.pending({ after: 4, limit: 4 });
    expect(rest.map(({ op, kind, state }) => [op, kind, state])).toEqual([
      ['device/0/5', 'create', 'pending'],
      ['device/0/6', 'update', 'pending'],
    ]);
    expect(rest[1]?.changes).toEqual([{ field: 'votes', before: null, after: 2 }]);
    expect(replica.pendingCount()).toEqual({ pending: 6, parked: 0 });
    expect(await replica.recordState('tasks', '0')).toBe('pending');
  });

  test('[REP-13] a lost tail of published operations opens a provisional epoch', async () => {
    await replica.create('tasks', { title: 'a' }, { id: 'a' });
    await replica.create('tasks', { title: 'b' }, { id: 'b' });
    await replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
    await replica.markPublished(2);
    await opened.close();
    const published = disk.marker.bytes;
    const other = newDisk();
    const older = await openOn(other);
    await older.replica.create('tasks', { title: 'a' }, { id: 'a' });
    await older.close();
    // A restored backup: an older store beside a marker that knows more. Store ids differ, so only the payload goes over.
    const { openReplicaStore } = await import('@tidemark/store-level');
    const from = await openReplicaStore({
      database: disk.database,
      marker: { read: () => Promise.resolve(published), write: () => Promise.resolve() },
      hash: sha256,
    });
    const payload = await from.marker.read();
    await from.store.close();
    const into = await openReplicaStore({ ...other, hash: sha256 });
    if (payload !== undefined) await into.marker.write(payload);
    await into.store.close();
    const restored = await openOn(other);
    expect(restored.replica.damage).toMatchObject({ newEpoch: true, lostFrom: 2 });
    expect(restored.replica.meta().awaitsGrant).toBe(true);
    await restored.replica.create('tasks', { title: 'c' }, { id: 'c' });
    expect(restored.replica.logEnd().lastIndex).toBe(2);
    await restored.close();
    opened = await openOn(disk);
  });

  test('[REP-13] what is written behind a lost tail is pending, though the server merged as many operations', async () => {
    await replica.create('tasks', { title: 'a' }, { id: 'a' });
    await replica.create('tasks', { title: 'b' }, { id: 'b' });
    await replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
    await replica.markPublished(2);
    await replica.updateMeta({ mergedTo: 2, archivedTo: 2 });
    await download(replica, [], 5, 2);
    await opened.close();
    await disk.database.open();
    const second = Uint8Array.of(logSpace, 0, 0, 0, 0, 0, 2);
    expect(await disk.database.get(second)).toBeDefined();
    await disk.database.del(second);
    opened = await openOn(disk);
    ({ replica } = opened);
    expect(replica.damage).toMatchObject({ newEpoch: true, lostFrom: 2 });
    // Else what the server parks of new operations would be taken for contained in the image.
    const { tables } = replica.meta();
    expect(Object.values(tables).map(({ mergedTo }) => mergedTo)).toContain(1);
    expect(Math.max(...Object.values(tables).map(({ mergedTo }) => mergedTo))).toBe(1);
    await replica.create('tasks', { title: 'c' }, { id: 'c' });
    expect(replica.pendingCount()).toEqual({ pending: 1, parked: 0 });
    expect((await replica.pending({ limit: 9 })).map(({ op }) => op)).toEqual(['device/0/2']);
  });

  const createDue = async (): Promise<void> => {
    for (let i = 0; i < 30; i += 1)
      await replica.create(
        'tasks',
        { title: `${i}`, due: `2024-01-${String((i % 9) + 10)}` },
        { id: `r${i}` },
      );
  };
  const { customization } = tasks;
  const withDueIndex = {
    ...customization,
    version: 2,
    tables: customization.tables.map((table) =>
      table.name !== 'tasks'
        ? table
        : { ...table, indexes: [{ name: 'byDue', fields: ['due'] }, ...table.indexes] },
    ),
  };
  const expectDue = async (): Promise<void> => {
    const due = await replica.query('tasks', {
      filter: "due = '2024-01-12'",
      order: [{ field: 'due' }],
    });
    expect(due.map(({ id }) => id)).toEqual(['r11', 'r2', 'r20', 'r29']);
  };

  test('[REP-14] a newer customization is adopted; its new index is filled before use', async () => {
    await createDue();
    const next = withDueIndex;
    await replica.adoptCustomization(next);
    await reopen();
    expect(replica.schema().customization.version).toBe(2);
    await expectDue();
    const removed = { ...next, version: 3, tables: next.tables.slice(1) };
    expect(await codeOf(replica.adoptCustomization(removed))).toBe('destructive-change');
  });

  test('[REP-14] one whose write failed and was applied all the same is in force with its indexes', async () => {
    await createDue();
    const { database } = disk;
    const begin = database.batch.bind(database);
    database.batch = (() => {
      database.batch = begin;
      const chained = begin();
      const write = chained.write.bind(chained);
      chained.write = async () => {
        await write();
        throw Object.assign(new Error('the disk failed'), { code: 'LEVEL_IO_ERROR' });
      };
      return chained;
    }) as unknown as typeof begin;
    expect(await codeOf(replica.adoptCustomization(withDueIndex))).toBe('storage-unavailable');
    expect(replica.schema().customization.version).toBe(1);
    // The state of before is stored again beside the schema that came through.
    await replica.updateMeta({ archivedTo: 0 });
    await reopen();
    expect(replica.schema().customization.version).toBe(2);
    expect(replica.meta().customizationVersion).toBe(2);
    const ofDue = withDueIndex.tables[0]?.fields.find(({ name }) => name === 'due')?.id;
    expect(replica.meta().indexes[1]).toContainEqual(
      expect.objectContaining({ fields: [ofDue], ready: true }),
    );
    await expectDue();
  });
});
