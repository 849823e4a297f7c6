import type { LocalReplica, RecordView } from '@tidemark/client';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  closingAt,
  download,
  newDisk,
  openOn,
  pageOf,
  rowOf,
  upsert,
  type TestReplica,
} from './harness.js';

let opened: TestReplica;
let replica: LocalReplica;
beforeEach(async () => {
  opened = await openOn(newDisk());
  replica = opened.replica;
});
afterEach(() => opened.close());

const idsOf = (rows: readonly RecordView[]): string[] => rows.map(({ id }) => id);
const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i += 1) await new Promise((done) => setImmediate(done));
};

/** Bytes of a text that an index key holds. */
const indexTextBytesMax = 1_024;

describe('queries', () => {
  test('[REP-20] an index finds texts that go on behind a bound as long as its keys', async () => {
    const bound = 'x'.repeat(indexTextBytesMax);
    const titles = [bound.slice(1), bound, `${bound}a`, `${bound}b`, `${bound.slice(1)}y`];
    for (const [i, title] of titles.entries())
      await replica.create('tasks', { title }, { id: `r${i}` });
    const found = async (condition: string): Promise<string[]> =>
      idsOf(await replica.query('tasks', { filter: `title ${condition} "${bound}"` })).sort();
    expect(await found('>')).toEqual(['r2', 'r3', 'r4']);
    expect(await found('>=')).toEqual(['r1', 'r2', 'r3', 'r4']);
    expect(await found('<')).toEqual(['r0']);
    expect(await found('<=')).toEqual(['r0', 'r1']);
    expect(await found('=')).toEqual(['r1']);
  });

  test('[REP-20] an index gives what a scan gives: filters, orders, limits', async () => {
    const rank = fc.option(
      fc
        .double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 })
        .map((x) => (x === 0 ? 0 : x)),
    );
    const cost = fc.option(
      fc.integer({ min: -2_000, max: 2_000 }).map((cents) => String(cents / 100)),
    );
    const title = fc.constantFrom('a', 'ab', 'abc', 'b', 'é', '￿', '😀', 'a\0b', 'a\0', ' ');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ rank, cost, title, done: fc.option(fc.boolean()) }), {
          minLength: 1,
          maxLength: 30,
        }),
        fc.constantFrom('rank', 'cost', 'title', 'done'),
        fc.constantFrom('asc', 'desc'),
        fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
        fc.nat(3),
        async (records, by, direction, limit, offset) => {
          const one = await openOn(newDisk());
          await one.replica.transaction(async (edits) => {
            for (const [i, fields] of records.entries())
              await edits.create('tasks', fields, `r${i}`);
          });
          const order = [{ field: by, direction: direction as 'asc' | 'desc' }];
          const indexed = await one.replica.query('tasks', {
            order,
            ...(limit === undefined ? {} : { limit }),
            offset,
          });
          // The meta field in front keeps the planner from using an index.
          const scanned = await one.replica.query('tasks', {
            order: [{ field: '$owner', direction: direction as 'asc' | 'desc' }, ...order],
          });
          expect(idsOf(indexed)).toEqual(
            idsOf(scanned).slice(offset, limit === undefined ? undefined : offset + limit),
          );
          const [probe] = records;
          if (probe !== undefined && probe.rank !== null) {
            for (const operator of ['<', '<=', '>', '>=', '=']) {
              const filter = {
                kind: 'compare',
                field: 'rank',
                operator,
                value: probe.rank,
              } as never;
              const all = await one.replica.query('tasks');
              const found = await one.replica.query('tasks', { filter });
              const wanted = all.filter((row) => {
                const value = row['rank'] as number | null;
                if (value === null) return false;
                const d = value - (probe.rank as number);
                return operator === '<'
                  ? d < 0
                  : operator === '<='
                    ? d <= 0
                    : operator === '>'
                      ? d > 0
                      : operator === '>='
                        ? d >= 0
                        : d === 0;
              });
              expect(idsOf(found).sort()).toEqual(idsOf(wanted).sort());
            }
          }
          const prefix = await one.replica.query('tasks', { filter: "title starts with 'a'" });
          expect(idsOf(prefix).sort()).toEqual(
            records.flatMap(({ title: t }, i) => (t.startsWith('a') ? [`r${i}`] : [])).sort(),
          );
          await one.close();
        },
      ),
    );
  });

  test('[REP-21] a filter or order that does not fit is refused with its place', async () => {
    await expect(replica.query('tasks', { filter: 'rank >' })).rejects.toMatchObject({
      code: 'invalid-filter',
    });
    await expect(replica.query('tasks', { filter: "rank = 'x'" })).rejects.toMatchObject({
      code: 'invalid-filter',
    });
    await expect(replica.query('tasks', { order: [{ field: 'nope' }] })).rejects.toMatchObject({
      code: 'unknown-field',
    });
    await expect(replica.query('tasks', { limit: -1 })).rejects.toMatchObject({
      code: 'invalid-option',
    });
    // What a caller without types may give.
    for (const order of [null, 'rank', [null], [{}], { field: 'rank' }])
      await expect(replica.query('tasks', { order: order as never })).rejects.toMatchObject({
        code: 'invalid-option',
      });
    for (const filter of [null, 7, {}, { and: null }, []])
      await expect(replica.query('tasks', { filter: filter as never })).rejects.toMatchObject({
        code: 'invalid-filter',
      });
  });

  test('[REP-22] scan and count see image and view as one', async () => {
    const page = pageOf(
      1,
      ['a', 'c', 'e'].map((id, i) => upsert(id, rowOf(i + 1, { 1: id }))),
      'full',
    );
    await download(replica, [page], 3, 0);
    await replica.create('tasks', { title: 'b' }, { id: 'b' });
    await replica.delete('tasks', 'c');
    await replica.update('tasks', 'e', { title: 'E' });
    const rows = await replica.scan('tasks');
    expect(rows.map(({ id, title }) => [id, title])).toEqual([
      ['a', 'a'],
      ['b', 'b'],
      ['e', 'E'],
    ]);
    expect(idsOf(await replica.scan('tasks', { after: 'a', limit: 1 }))).toEqual(['b']);
    expect(await replica.count('tasks', "title = 'E'")).toBe(1);
    expect(await replica.serverRecord('tasks', 'e')).toMatchObject({ title: 'e' });
    expect(await replica.recordVersion('tasks', 'e')).toEqual({ incarnation: 1, n: 3 });
  });
});

describe('watching', () => {
  test('[REP-23] a watch emits at once and after relevant changes, with the newest result only', async () => {
    const seen: string[][] = [];
    const stop = replica.watchWith(
      'tasks',
      { filter: 'rank > 1', order: [{ field: 'rank' }], limit: 2 },
      (rows) => void seen.push(idsOf(rows)),
    );
    await settle();
    await replica.create('tasks', { title: 'x', rank: 5 }, { id: 'five' });
    await settle();
    await replica.transaction(async (edits) => {
      await edits.create('tasks', { title: 'x', rank: 3 }, 'three');
      await edits.create('tasks', { title: 'x', rank: 4 }, 'four');
    });
    await settle();
    await replica.update('tasks', 'three', { rank: 9 });
    await settle();
    await replica.delete('tasks', 'four');
    await settle();
    stop();
    await replica.create('tasks', { title: 'x', rank: 2 }, { id: 'two' });
    await settle();
    expect(seen).toEqual([[], ['five'], ['three', 'four'], ['four', 'five'], ['five', 'three']]);
  });

  test('[REP-24] a callback that fails ends its watch, at once or later, and tells onError', async () => {
    const failures: unknown[] = [];
    let calls = 0;
    const fail = (how: string): Error => {
      calls += 1;
      return new Error(how);
    };
    const told = (error: unknown): void => void failures.push((error as Error).message);
    replica.watchWith(
      'tasks',
      {},
      () => {
        throw fail('at once');
      },
      told,
    );
    replica.watchWith('tasks', {}, () => Promise.reject(fail('later')), told);
    replica.watchWith('tasks', {}, () => Promise.reject(fail('nobody asks')));
    await settle();
    await replica.create('tasks', { title: 'a' });
    await settle();
    expect(failures).toEqual(['at once', 'later']);
    expect(calls).toBe(3);
  });

  test('[REP-24] a slow consumer gets the newest result; abort and close end the iteration', async () => {
    const abort = new AbortController();
    const results = replica.watch('tasks', {}, abort.signal)[Symbol.asyncIterator]();
    expect((await results.next()).value).toEqual([]);
    for (let i = 0; i < 100; i += 1) await replica.create('tasks', { title: 'x' }, { id: `r${i}` });
    expect(((await results.next()).value as readonly RecordView[]).length).toBe(100);
    const waiting = results.next();
    abort.abort();
    expect((await waiting).done).toBe(true);
    const other = replica.watch('tasks')[Symbol.asyncIterator]();
    await other.next();
    const last = other.next();
    await replica.close();
    expect((await last).done).toBe(true);
  });

  test('[REP-25] a watched result equals the query after every edit', async () => {
    const edit = fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      rank: fc.nat(6),
      remove: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(edit, { maxLength: 15 }),
        fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
        async (edits, limit) => {
          const one = await openOn(newDisk());
          const query = {
            filter: 'rank < 5',
            order: [{ field: 'rank', direction: 'desc' as const }],
            ...(limit === undefined ? {} : { limit }),
          };
          const results = one.replica.watch('tasks', query)[Symbol.asyncIterator]();
          await results.next();
          for (const { id, rank, remove } of edits) {
            const exists = (await one.replica.get('tasks', id)) !== undefined;
            if (remove && !exists) continue;
            const before = one.replica.logEnd().lastIndex;
            if (remove) await one.replica.delete('tasks', id);
            else if (exists) await one.replica.update('tasks', id, { rank });
            else await one.replica.create('tasks', { title: id, rank }, { id });
            if (one.replica.logEnd().lastIndex === before) continue;
            expect((await results.next()).value).toEqual(await one.replica.query('tasks', query));
          }
          await one.close();
        },
      ),
    );
  });
});

describe('staging', () => {
  test('[PUL-11] a table that was empty is readable while it fills, and edits in between survive', async () => {
    await replica.staging.begin('pull', null);
    await replica.staging.put([pageOf(1, [upsert('a', rowOf(1, { 1: 'a', 4: 10 }))], 'full')], {
      cursor: 'one',
    });
    expect(replica.meta().tables[1]?.state).toBe('filling');
    expect(await replica.get('tasks', 'a')).toMatchObject({ title: 'a' });
    await replica.increment('tasks', 'a', 'votes', 1);
    expect(await replica.get('tasks', 'a')).toMatchObject({ votes: 11 });
    await replica.staging.put([pageOf(1, [upsert('b', rowOf(2, { 1: 'b' }))], 'full')], {
      cursor: 'two',
    });
    await replica.staging.flip(closingAt(2, 0));
    expect(replica.meta()).toMatchObject({ cursor: 'cursor-2', version: 2, staging: null });
    expect(replica.meta().tables[1]).toMatchObject({ state: 'current', at: 2, asOfMs: 2_000_002 });
    expect(await replica.get('tasks', 'a')).toMatchObject({ votes: 11 });
    await download(replica, [pageOf(1, [upsert('a', rowOf(3, { 1: 'a', 4: 11 }))])], 3, 1);
    expect(await replica.get('tasks', 'a')).toMatchObject({ votes: 11 });
    expect(await replica.recordState('tasks', 'a')).toBe('current');
  });

  test('[PUL-12] a receipt alone changes no view; the page that contains the operation does', async () => {
    await download(replica, [pageOf(1, [upsert('a', rowOf(1, { 1: 'a', 4: 5 }))])], 1, 0);
    await replica.increment('tasks', 'a', 'votes', 2);
    await replica.updateMeta({ mergedTo: 1 });
    expect(await replica.get('tasks', 'a')).toMatchObject({ votes: 7 });
    expect(replica.pendingCount().pending).toBe(0);
    await download(replica, [pageOf(1, [upsert('a', rowOf(2, { 1: 'a', 4: 7 }))])], 2, 1);
    expect(await replica.get('tasks', 'a')).toMatchObject({ votes: 7 });
  });

  test('[PUL-13] tables that the pull does not cover keep their operations', async () => {
    await download(replica, [pageOf(1, [upsert('a', rowOf(1, { 1: 'a', 4: 5 }))])], 1, 0);
    await replica.increment('tasks', 'a', 'votes', 2);
    await download(replica, [], 2, 1, [2]);
    expect(await replica.get('tasks', 'a')).toMatchObject({ votes: 7 });
    await download(replica, [pageOf(1, [upsert('a', rowOf(2, { 1: 'a', 4: 7 }))])], 3, 1, [1]);
    expect(await replica.get('tasks', 'a')).toMatchObject({ votes: 7 });
    expect(await replica.recordState('tasks', 'a')).toBe('current');
  });

  test('[PUL-14] a touch moves the version only; one of a row that is not held asks for repair', async () => {
    await download(replica, [pageOf(1, [upsert('a', rowOf(1, { 1: 'a' }))])], 1, 0);
    const touch = (id: string) => ({
      kind: 'touch' as const,
      id,
      version: { incarnation: 1, n: 4 },
    });
    await replica.staging.begin('pull', 'cursor-1');
    await replica.staging.put([pageOf(1, [touch('a'), touch('b')])], { cursor: 'x' });
    expect(replica.meta().tables[1]?.repair).toBe(true);
    expect(await replica.heldRows(1, null, null, 10)).toEqual([
      { id: 'a', version: { incarnation: 1, n: 4 } },
    ]);
    await replica.staging.flip(closingAt(4, 0));
    expect(await replica.get('tasks', 'a')).toMatchObject({ title: 'a' });
  });

  test('[PUL-15] text edits stay on a new image, also where it has another history', async () => {
    await download(replica, [pageOf(1, [upsert('a', rowOf(1, { 1: 'a', 5: 'one two' }))])], 1, 0);
    await replica.update('tasks', 'a', { note: 'one two three' });
    await download(
      replica,
      [pageOf(1, [upsert('a', rowOf(2, { 1: 'a', 5: 'zero one two' }))])],
      2,
      0,
    );
    expect(await replica.get('tasks', 'a')).toMatchObject({ note: 'zero one two three' });
    await replica.update('tasks', 'a', { note: 'zero one two three four' });
    const [first, second] = await replica.pending();
    expect(first?.changes[0]?.field).toBe('note');
    expect(second?.changes).toEqual([
      { field: 'note', before: 'zero one two three', after: 'zero one two three four' },
    ]);
  });

  test('[PUL-16] at most four layers; folding leaves what is seen as it is', async () => {
    for (let n = 1; n <= 8; n += 1) {
      await download(
        replica,
        [pageOf(1, [upsert(`r${n % 3}`, rowOf(n, { 1: `t${n}`, 2: n }))])],
        n,
        0,
      );
      expect(replica.meta().layers.length).toBeLessThanOrEqual(4);
    }
    const before = await replica.query('tasks', { order: [{ field: 'rank' }] });
    while (!(await replica.fold(1)));
    expect(replica.meta().layers.length).toBeLessThanOrEqual(2);
    expect(await replica.query('tasks', { order: [{ field: 'rank' }] })).toEqual(before);
    expect(before.map(({ rank }) => rank)).toEqual([6, 7, 8]);
  });

  test('[PUL-17] clearing the image keeps pending operations; clearing the log drops everything', async () => {
    await download(replica, [pageOf(1, [upsert('a', rowOf(1, { 1: 'a' }))])], 1, 0);
    await replica.create('tasks', { title: 'mine' }, { id: 'm' });
    await replica.clear({ log: false });
    expect(idsOf(await replica.query('tasks'))).toEqual(['m']);
    expect(replica.meta()).toMatchObject({ cursor: null, staging: null });
    await download(replica, [pageOf(1, [upsert('a', rowOf(1, { 1: 'a' }))], 'full')], 1, 0);
    expect(idsOf(await replica.query('tasks'))).toEqual(['a', 'm']);
    await replica.clear({ log: true });
    expect(await replica.query('tasks')).toEqual([]);
    expect(replica.logEnd().lastIndex).toBe(0);
    expect(replica.meta().replica).not.toBe('device');
  });
});
