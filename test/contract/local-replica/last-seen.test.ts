// What an author sees of records that the server deleted, or whose text it put on another history.
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { syncErrorFields, syncErrorsTable, toBase64 } from '@tidemark/model';
import { expect, test } from 'vitest';
import { download, newDisk, openOn, pageOf, rowOf, sha256, upsert } from './harness.js';

const evict = (id: string) => pageOf(1, [{ kind: 'evict', id }]);

const openErrorOn = (index: number) =>
  pageOf(syncErrorsTable, [
    upsert(
      `device/1/${index}`,
      rowOf(
        3,
        syncErrorFields({
          root: `device/1/${index}`,
          replica: 'device',
          user: 'ada',
          kind: 'conflict',
          state: 'open',
          message: '',
          table: 1,
          record: 'a',
          conflicts: [],
          ranges: [{ epoch: 1, from: index, to: index }],
          parkedOn: 1,
          disposition: null,
          resolvedBy: null,
          lastResolution: null,
        }),
      ),
    ),
  ]);

test('[PUL-18] an edit of a record that the server deleted stays visible until it is decided', async () => {
  const disk = newDisk();
  const first = await openOn(disk);
  await first.replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
  const row = rowOf(1, { 1: 'server', 2: 1 });
  await download(first.replica, [pageOf(1, [upsert('a', row)])], 1, 0);
  await first.replica.update('tasks', 'a', { rank: 2 });
  await download(first.replica, [evict('a')], 2, 0);
  const seen = { id: 'a', title: 'server', rank: 2 };
  expect(await first.replica.get('tasks', 'a')).toMatchObject(seen);
  expect(await first.replica.query('tasks', { filter: 'rank = 2' })).toMatchObject([seen]);
  // A further edit names what its author saw, and stands on its own earlier one.
  await first.replica.update('tasks', 'a', { rank: 3 });
  await download(first.replica, [openErrorOn(1)], 3, 1);
  expect(await first.replica.recordState('tasks', 'a')).toBe('parked');
  expect(await first.replica.get('tasks', 'a')).toMatchObject({ ...seen, rank: 3 });
  await first.close();
  const second = await openOn(disk);
  expect(await second.replica.get('tasks', 'a')).toMatchObject({ ...seen, rank: 3 });
  await download(second.replica, [evict('a')], 4, 2);
  expect(await second.replica.recordState('tasks', 'a')).toBe('parked');
  const gone = pageOf(syncErrorsTable, [{ kind: 'evict', id: 'device/1/1' }]);
  await download(second.replica, [gone], 5, 2);
  expect(await second.replica.get('tasks', 'a')).toBeUndefined();
  expect(await second.replica.query('tasks', { order: [{ field: 'rank' }] })).toEqual([]);
  await second.close();
});

test('[REP-12] counters and texts tell before and after also while the server has deleted the record', async () => {
  const disk = newDisk();
  const { replica, close } = await openOn(disk);
  await replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
  const row = rowOf(1, { 1: 'server', 4: 5, 5: 'hello' });
  await download(replica, [pageOf(1, [upsert('a', row)])], 1, 0);
  await replica.increment('tasks', 'a', 'votes', 2);
  await replica.increment('tasks', 'a', 'votes', 3);
  await download(replica, [evict('a')], 2, 1);
  await replica.editText('tasks', 'a', 'note', 'hello you');
  await replica.increment('tasks', 'a', 'votes', 4);
  const votes = (before: number, after: number) => [{ field: 'votes', before, after }];
  const typed = [{ field: 'note', before: 'hello', after: 'hello you' }];
  const changes = async () => (await replica.pending()).map((one) => one.changes);
  expect(await changes()).toEqual([votes(7, 10), typed, votes(10, 14)]);
  await download(replica, [evict('a')], 3, 2);
  expect(await changes()).toEqual([typed, votes(10, 14)]);
  await close();
});

test('[PUL-18] a deletion by the author itself stays one', async () => {
  const { replica, close } = await openOn(newDisk());
  const row = rowOf(1, { 1: 'server' });
  await download(replica, [pageOf(1, [upsert('a', row)])], 1, 0);
  await replica.delete('tasks', 'a');
  await download(replica, [evict('a')], 2, 0);
  expect(await replica.get('tasks', 'a')).toBeUndefined();
  await close();
});

test('[PUL-15] typing on a text whose earlier typing went to another history is shown, over several flips', async () => {
  const crdt = await loadAutomergeCrdt({ hash: sha256 });
  const key = { tenant: 'acme', table: 1, record: 'a', field: 5 };
  const actor = new Uint8Array(16).fill(9);
  const documentOf = (from: string, to: string): string =>
    toBase64(crdt.editText(crdt.genesis(key, from), to, actor, 0).document);
  const disk = newDisk();
  const { replica, close } = await openOn(disk);
  const plain = rowOf(1, { 1: 't', 5: 'hello' });
  await download(replica, [pageOf(1, [upsert('a', plain)])], 1, 0);
  await replica.editText('tasks', 'a', 'note', 'hello one');
  await replica.editText('tasks', 'a', 'note', 'hello one two');
  await replica.editText('tasks', 'a', 'note', 'hello one two three');
  // The server put the first edit on a document that began elsewhere.
  const other = { docs: { 5: documentOf('HELLO', 'HELLO one') } };
  const merged = rowOf(2, { 1: 't', 5: 'HELLO one' }, other);
  await download(replica, [pageOf(1, [upsert('a', merged)])], 2, 1);
  expect(await replica.get('tasks', 'a')).toMatchObject({ note: 'HELLO one two three' });
  const later = { docs: { 5: documentOf('HELLO', 'HELLO one two') } };
  const again = rowOf(3, { 1: 't', 5: 'HELLO one two' }, later);
  await download(replica, [pageOf(1, [upsert('a', again)])], 3, 2);
  expect(await replica.get('tasks', 'a')).toMatchObject({ note: 'HELLO one two three' });
  await close();
  const reopened = await openOn(disk);
  const rest = { docs: { 5: documentOf('HELLO', '!HELLO one two') } };
  const last = rowOf(4, { 1: 't', 5: '!HELLO one two' }, rest);
  await download(reopened.replica, [pageOf(1, [upsert('a', last)])], 4, 2);
  expect(await reopened.replica.get('tasks', 'a')).toMatchObject({ note: '!HELLO one two three' });
  await reopened.close();
});

test('[PUL-21] parked operations stay counted after the image was cleared and the store opened again', async () => {
  const disk = newDisk();
  const first = await openOn(disk);
  await first.replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
  await first.replica.create('tasks', { title: 'one' }, { id: 'a' });
  await first.replica.create('tasks', { title: 'two' }, { id: 'b' });
  await download(first.replica, [openErrorOn(1)], 3, 2);
  await first.replica.clear({ log: false });
  expect(first.replica.pendingCount()).toEqual({ pending: 0, parked: 1 });
  await first.close();
  const second = await openOn(disk);
  expect(second.replica.pendingCount()).toEqual({ pending: 0, parked: 1 });
  expect(await second.replica.pending()).toMatchObject([{ index: 1, state: 'parked' }]);
  await second.replica.trimLog(2);
  expect(second.replica.logStart()).toBe(1);
  // The next image speaks for itself.
  await download(second.replica, [], 4, 2);
  expect(second.replica.pendingCount()).toEqual({ pending: 0, parked: 0 });
  await second.close();
  const third = await openOn(disk);
  expect(third.replica.pendingCount()).toEqual({ pending: 0, parked: 0 });
  await third.close();
});
