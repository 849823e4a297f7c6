import type { LocalReplica } from '@tidemark/client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { codeOf, CountedDisk, newDisk, openOn, type Disk, type TestReplica } from './harness.js';

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
  database.failing = [2];
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

describe('edits that saw others of a write', () => {
  beforeEach(async () => {
    for (const id of ['t1', 't2']) await replica.create('tasks', { title: 'old' }, { id });
    database.writes = 0;
  });

  const told: string[] = [];
  beforeEach(() => told.splice(0));

  const tell = (name: string, work: Promise<unknown>): Promise<void> =>
    codeOf(work).then((code) => void told.push(`${name} ${code} ${database.writes}`));

  const title = (id: string, text: string): Promise<void> =>
    replica.update('tasks', id, { title: text });

  const titles = async (): Promise<readonly unknown[]> =>
    Promise.all(
      ['t1', 't2'].map(async (id) => (await replica.get('tasks', id))?.['title'] ?? 'none'),
    );

  /** The first has its turn alone; the others wait for theirs and share one. */
  const four = (): Promise<unknown> =>
    Promise.all([
      tell('first', replica.create('tasks', { title: 'first' }, { id: 'first' })),
      tell('A', title('t1', 'new')),
      tell('B', title('t1', 'new')),
      tell('D', replica.delete('tasks', 't2')),
      tell('C', title('t2', 'late')),
    ]);

  test('[REP-10] [REP-1] they are told behind it, in their order', async () => {
    await four();
    expect(told).toEqual([
      'first none 1',
      'A none 2',
      'B none 2',
      'D none 2',
      'C unknown-record 2',
    ]);
    expect(await titles()).toEqual(['new', 'none']);
  });

  test('[REP-10] [REP-1] when it fails they run again on what is stored', async () => {
    database.failing = [2];
    await four();
    expect(told).toEqual([
      'first none 1',
      'A storage-unavailable 2',
      'D storage-unavailable 2',
      'B none 3',
      'C none 3',
    ]);
    expect(await titles()).toEqual(['new', 'late']);
    expect(await indexes()).toEqual([1, 2, 3, 4, 5]);
  });

  test('[REP-10] when it fails twice they are rejected, and later edits go on', async () => {
    database.failing = [2, 3];
    const edits = four();
    const more = Array.from({ length: 20 }, () => tell('more', title('t1', 'new')));
    await Promise.all([edits, ...more]);
    expect(told.slice(0, 3)).toEqual([
      'first none 1',
      'A storage-unavailable 2',
      'D storage-unavailable 2',
    ]);
    expect(told.slice(3)).toEqual([
      'B storage-unavailable 3',
      'C storage-unavailable 3',
      ...more.map(() => 'more storage-unavailable 3'),
    ]);
    expect(await titles()).toEqual(['old', 'old']);
    expect(await codeOf(title('t1', 'later'))).toBe('none');
    expect(await indexes()).toEqual([1, 2, 3, 4]);
  });

  test('[REP-10] when it failed and was stored all the same they are told what is stored', async () => {
    database.failing = [2];
    database.losesAnswers = true;
    await four();
    expect(told).toEqual([
      'first none 1',
      'A storage-unavailable 2',
      'D storage-unavailable 2',
      'B none 2',
      'C unknown-record 2',
    ]);
    expect(await titles()).toEqual(['new', 'none']);
  });

  test('[REP-10] edits that saw nothing of a write that fails keep their outcome', async () => {
    database.failing = [2];
    await Promise.all([
      tell('first', replica.create('tasks', { title: 'first' }, { id: 'first' })),
      tell('same', title('t1', 'old')),
      tell('unknown', title('t9', 'old')),
      tell('A', title('t1', 'new')),
    ]);
    expect(told).toEqual([
      'first none 1',
      'same none 2',
      'unknown unknown-record 2',
      'A storage-unavailable 2',
    ]);
    expect(database.writes).toBe(2);
  });

  test('[REP-10] those that run again go before those that wait behind them', async () => {
    database.failing = [2];
    const long = 'x'.repeat(100_000);
    const first = tell('first', replica.create('tasks', { title: 'first' }, { id: 'first' }));
    const edits = [tell('A', title('t1', 'new')), tell('B', title('t1', 'new'))];
    // As much as one write takes: what comes behind it is for the next one of the turn.
    for (let i = 0; i < 8; i += 1)
      edits.push(
        tell('long', replica.create('tasks', { title: 'l', note: long }, { id: `l${i}` })),
      );
    edits.push(tell('E', title('t1', 'newest')));
    const transaction = tell(
      'T',
      replica.transaction((held) => held.update('tasks', 't1', { title: 'last' })),
    );
    await Promise.all([first, ...edits, transaction]);
    const isRefused = (line: string): boolean => line.includes('storage-unavailable');
    const refused = told.filter(isRefused);
    expect(refused.length).toBeGreaterThan(4);
    expect(refused.length).toBeLessThan(9);
    expect(told.filter((line) => !isRefused(line) && !line.startsWith('long'))).toEqual([
      'first none 1',
      'B none 3',
      'E none 3',
      'T none 4',
    ]);
    expect(await titles()).toEqual(['last', 'old']);
    const pending = await replica.pending({ limit: 1_000 });
    const ofT1 = pending.filter(({ record }) => record === 't1').slice(1);
    expect(ofT1.map(({ changes }) => changes.map(({ after }) => after))).toEqual([
      ['new'],
      ['newest'],
      ['last'],
    ]);
  });

  test('[REP-10] closing waits for those that run again', async () => {
    database.failing = [2];
    const edits = four();
    let isClosed = false;
    const closing = replica.close().then(() => void (isClosed = true));
    await edits;
    expect(isClosed).toBe(false);
    expect(told.slice(3)).toEqual(['B none 3', 'C none 3']);
    await closing;
  });
});
