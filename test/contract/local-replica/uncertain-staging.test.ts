import { expect, test } from 'vitest';
import {
  closingAt,
  codeOf,
  CountedDisk,
  download,
  newDisk,
  openOn,
  pageOf,
  rowOf,
  upsert,
  type Disk,
} from './harness.js';

test('[PUL-80] rows of a write that failed and was applied all the same are flipped with the others', async () => {
  const database = new CountedDisk();
  const disk = { ...newDisk(), database: database as unknown as Disk['database'] };
  let opened = await openOn(disk);
  const { replica } = opened;
  await download(
    replica,
    [pageOf(1, [upsert('a', rowOf(4, { 1: 'a' })), upsert('b', rowOf(5, { 1: 'b' }))])],
    5,
    0,
  );
  await replica.staging.begin('repair', null);
  const evicts = pageOf(1, [{ kind: 'evict', id: 'a' }], 'repair');
  [database.failing, database.losesAnswers] = [[database.writes + 1], true];
  expect(await codeOf(replica.staging.put([evicts], { cursor: 'c' }))).toBe('storage-unavailable');
  // The comparison finds the row gone, and brings nothing more.
  await replica.staging.put([], { cursor: 'c' });
  await replica.staging.flip(closingAt(9, 0));
  for (let opening = 0; opening < 2; opening += 1) {
    const shown = await opened.replica.query('tasks');
    expect(shown.map(({ id }) => id)).toEqual(['b']);
    await opened.close();
    opened = await openOn(disk);
  }
  await opened.close();
});
