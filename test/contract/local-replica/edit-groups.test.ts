import type { LocalReplica } from '@tidemark/client';
import { MemoryLevel } from 'memory-level';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newDisk, openOn, type Disk, type TestReplica } from './harness.js';

/** Disk in memory whose writes are counted, and of which one may fail. */
class CountedDisk extends MemoryLevel<Uint8Array, Uint8Array> {
  writes = 0;
  /** Number of the write that fails; 0: none. */
  failingWrite = 0;

  constructor() {
    super({ keyEncoding: 'view', valueEncoding: 'view', storeEncoding: 'view' });
  }

  /** The hook below `batch()`, which abstract-level leaves to its implementations. */
  _chainedBatch(): { write: () => Promise<void> } {
    const hooks = MemoryLevel.prototype as unknown as {
      _chainedBatch: () => { write: () => Promise<void> };
    };
    const chained = hooks._chainedBatch.call(this);
    const write = chained.write.bind(chained);
    chained.write = async () => {
      this.writes += 1;
      if (this.writes === this.failingWrite)
        throw Object.assign(new Error('the disk failed'), { code: 'LEVEL_IO_ERROR' });
      return write();
    };
    return chained;
  }
}

let database: CountedDisk;
let opened: TestReplica;
let replica: LocalReplica;

beforeEach(async () => {
  database = new CountedDisk();
  opened = await openOn({ ...newDisk(), database: database as unknown as Disk['database'] });
  replica = opened.replica;
  database.writes = 0;
});
afterEach(() => opened.close());

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'none';
};

const indexes = async (): Promise<readonly number[]> =>
  (await replica.readLog(1, 1_000_000)).map(({ index }) => index);

test('[REP-10] edits that wait share a write, in order, and each sees those before it', async () => {
  const create = replica.create('tasks', { title: 'sum', votes: 0 }, { id: 'sum' });
  const told: number[] = [];
  const edits = Array.from({ length: 100 }, (_, i) =>
    replica.increment('tasks', 'sum', 'votes', i + 1).then(() => told.push(i)),
  );
  await Promise.all([create, ...edits]);
  expect(database.writes).toBe(3);
  expect(told).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(await replica.get('tasks', 'sum')).toMatchObject({ votes: 5_050 });
  expect(await indexes()).toEqual(Array.from({ length: 101 }, (_, i) => i + 1));
  const pending = await replica.pending({ limit: 1_000 });
  expect(pending.map(({ index }) => index)).toEqual(Array.from({ length: 101 }, (_, i) => i + 1));
});

test('[REP-10] an edit that is refused leaves those of its turn alone', async () => {
  const codes = await Promise.all(
    ['a', 'b', 'b', 'c'].map((id) => codeOf(replica.create('tasks', { title: id }, { id }))),
  );
  expect(codes).toEqual(['none', 'none', 'record-exists', 'none']);
  expect(database.writes).toBe(2);
  expect(await indexes()).toEqual([1, 2, 3]);
});

test('[REP-10] a write that fails rejects its edits, and later ones go on', async () => {
  database.failingWrite = 2;
  const creates = ['a', 'b', 'c'].map((id) =>
    codeOf(replica.create('tasks', { title: id }, { id })),
  );
  expect(await Promise.all(creates)).toEqual([
    'none',
    'storage-unavailable',
    'storage-unavailable',
  ]);
  for (const id of ['b', 'c']) expect(await replica.get('tasks', id)).toBeUndefined();
  expect(await codeOf(replica.create('tasks', { title: 'd' }, { id: 'd' }))).toBe('none');
  expect(await indexes()).toEqual([1, 2]);
});

test('[REP-10] no edit goes before a transaction that was called before it', async () => {
  const order: string[] = [];
  const create = (id: string): Promise<unknown> =>
    replica.create('tasks', { title: id }, { id }).then(() => order.push(id));
  await Promise.all([
    create('a'),
    create('b'),
    replica
      .transaction((edits) => edits.create('tasks', { title: 't' }, 't'))
      .then(() => order.push('t')),
    create('c'),
    create('d'),
  ]);
  expect(order).toEqual(['a', 'b', 't', 'c', 'd']);
  const pending = await replica.pending();
  expect(pending.map(({ record }) => record)).toEqual(['a', 'b', 't', 'c', 'd']);
});

test('[REP-10] closing refuses edits that wait behind it, and writes those before it', async () => {
  const before = ['a', 'b', 'c'].map((id) =>
    codeOf(replica.create('tasks', { title: id }, { id })),
  );
  const closing = replica.close();
  const behind = codeOf(replica.create('tasks', { title: 'd' }, { id: 'd' }));
  expect(await Promise.all(before)).toEqual(['none', 'none', 'none']);
  await closing;
  expect(await behind).toBe('replica-closed');
});
