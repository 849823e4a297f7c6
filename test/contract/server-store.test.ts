import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openServerStore } from '@tidemark/store-level';
import { openServerFolder } from '@tidemark/store-level/node';
import { registerServerStoreContract } from '@tidemark/testkit';
import { MemoryLevel } from 'memory-level';
import { expect, it } from 'vitest';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());
const clock = { nowMs: () => 1_000 };

registerServerStoreContract('classic-level', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-server-'));
  return {
    open: async () => {
      const { store, input } = await openServerFolder(folder, { hash, clock });
      return {
        ...store,
        close: async () => {
          await store.close();
          await input.close();
        },
      };
    },
    dispose: () => rm(folder, { recursive: true }),
  };
});

registerServerStoreContract('memory-level', () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  let bytes: Uint8Array | undefined;
  const marker = {
    read: () => Promise.resolve(bytes),
    write: (next: Uint8Array) => {
      bytes = next;
      return Promise.resolve();
    },
  };
  return Promise.resolve({
    open: () => openServerStore({ database, marker, hash }),
    dispose: () => Promise.resolve(),
  });
});

it('[STO-57] applies a commit once that failed though it was stored, and came again', async () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  const marker = { read: () => Promise.resolve(undefined), write: () => Promise.resolve() };
  const store = await openServerStore({ database, marker, hash });
  const bytes = new Uint8Array(10);
  const batch = (n: number) => ({
    state: Uint8Array.of(n),
    records: [],
    prune: [],
    feed: [{ table: 1, incarnation: 1, first: n, last: n, bytes }],
    ledger: [],
    entries: [],
  });
  await store.commit(batch(1), 'os');
  // The answer of the write is lost, not the write: what a failing disk may do.
  const begin = database.batch.bind(database);
  Object.defineProperty(database, 'batch', {
    configurable: true,
    value: () => {
      const chained = begin();
      const write = chained.write.bind(chained);
      chained.write = async () => {
        await write();
        throw new Error('the device failed');
      };
      return chained;
    },
  });
  await expect(store.commit(batch(2), 'os')).rejects.toMatchObject({ code: 'storage-unavailable' });
  Reflect.deleteProperty(database, 'batch');
  await store.commit(batch(2), 'os');
  expect(await store.feedExtent()).toEqual({ segments: 2, bytes: 20 });
  await store.commit(batch(3), 'os');
  expect(await store.feedExtent()).toEqual({ segments: 3, bytes: 30 });
  await store.close();
});

it('[STO-61] stays as it is where not even the beginning of a load could be noted', async () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  const marker = { read: () => Promise.resolve(undefined), write: () => Promise.resolve() };
  const store = await openServerStore({ database, marker, hash });
  const empty = { records: [], prune: [], feed: [], ledger: [], entries: [] };
  await store.commit({ ...empty, state: Uint8Array.of(1) }, 'os');
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.dump()) chunks.push(chunk);
  await store.commit({ ...empty, state: Uint8Array.of(2) }, 'os');
  const begin = database.batch.bind(database);
  Object.defineProperty(database, 'batch', {
    configurable: true,
    value: () => {
      const chained = begin();
      chained.write = () => Promise.reject(new Error('the disk is full'));
      return chained;
    },
  });
  const give = async function* (): AsyncGenerator<Uint8Array> {
    yield* chunks;
  };
  await expect(store.load(give())).rejects.toMatchObject({ code: 'storage-unavailable' });
  Reflect.deleteProperty(database, 'batch');
  expect(await store.readState()).toEqual(Uint8Array.of(2));
  await store.close();
});

it('[STO-61] is emptied before it is read where storage failed in the middle of a load', async () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  const marker = { read: () => Promise.resolve(undefined), write: () => Promise.resolve() };
  const store = await openServerStore({ database, marker, hash });
  const version = { incarnation: 1, n: 1 };
  const [row, extra] = [new Uint8Array(9), new Uint8Array(0)];
  const commit = (state: number, ids: readonly string[]): Promise<void> =>
    store.commit(
      {
        state: Uint8Array.of(state),
        records: ids.map((id) => ({
          table: 1,
          record: { id, version, deleted: false, row, extra },
        })),
        prune: [],
        feed: [],
        ledger: [],
        entries: [],
      },
      'os',
    );
  const ids = Array.from({ length: 10_001 }, (_, i) => `r${String(i).padStart(5, '0')}`);
  await commit(1, ids);
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.dump()) chunks.push(chunk);
  // The mark and the first batch of the load are written; then the device fails, also for the emptying.
  const begin = database.batch.bind(database);
  let writes = 0;
  Object.defineProperty(database, 'batch', {
    configurable: true,
    value: () => {
      const chained = begin();
      const write = chained.write.bind(chained);
      chained.write = async () => {
        writes += 1;
        if (writes > 2) throw new Error('the device failed');
        await write();
      };
      return chained;
    },
  });
  const give = async function* (): AsyncGenerator<Uint8Array> {
    yield* chunks;
  };
  await expect(store.load(give())).rejects.toMatchObject({ code: 'storage-unavailable' });
  expect(writes).toBeGreaterThan(2);
  const wide = { maxBytes: 10_000_000, maxRecords: 100_000 };
  const unavailable = { code: 'storage-unavailable' };
  await expect(store.scanRecords(1, wide)).rejects.toMatchObject(unavailable);
  expect(() => store.dump()).toThrow('a part of a checkpoint');
  await expect(store.readState()).rejects.toMatchObject(unavailable);
  Reflect.deleteProperty(database, 'batch');
  expect(await store.readState()).toBeUndefined();
  expect((await store.scanRecords(1, wide)).records).toEqual([]);
  await commit(2, ['a']);
  expect((await store.scanRecords(1, wide)).records).toHaveLength(1);
  await store.close();
});

it('[STO-66] writes nothing of a batch that was made from another state than the stored one', async () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  const marker = { read: () => Promise.resolve(undefined), write: () => Promise.resolve() };
  const store = await openServerStore({ database, marker, hash });
  const commit = (state: number, after: number | null, id: string): Promise<void> => {
    const version = { incarnation: 1, n: state };
    const [row, extra] = [new Uint8Array(0), new Uint8Array(0)];
    const records = [{ table: 1, record: { id, version, deleted: false, row, extra } }];
    const empty = { prune: [], feed: [], ledger: [], entries: [] };
    const made = after === null ? null : Uint8Array.of(after);
    return store.commit({ ...empty, state: Uint8Array.of(state), after: made, records }, 'os');
  };
  const other = { code: 'input-mismatch' };
  await expect(commit(2, 1, 'a')).rejects.toMatchObject(other);
  await commit(1, null, 'b');
  await expect(commit(1, null, 'c')).rejects.toMatchObject(other);
  await commit(2, 1, 'd');
  await expect(commit(2, 1, 'e')).rejects.toMatchObject(other);
  await expect(commit(3, 1, 'f')).rejects.toMatchObject(other);
  expect(await store.readState()).toEqual(Uint8Array.of(2));
  const { records } = await store.scanRecords(1, { maxBytes: 1_000, maxRecords: 10 });
  expect(records.map(({ id }) => id)).toEqual(['b', 'd']);
  await store.close();
});
