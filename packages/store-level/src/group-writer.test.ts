import { createHash } from 'node:crypto';
import { emptyHead } from '@tidemark/model';
import type { Marker } from '@tidemark/ports';
import { chainedEntries } from '@tidemark/testkit';
import { MemoryLevel } from 'memory-level';
import { expect, it } from 'vitest';
import type { Database } from './database.js';
import { openReplicaStore } from './open-replica-store.js';
import { openServerStore } from './server-store.js';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

/** A database whose disk is full: it refuses batches, before or after applying them, until reopened. */
class FullDisk extends MemoryLevel<Uint8Array, Uint8Array> {
  failure: 'none' | 'before' | 'after' = 'none';
  openings = 0;
  /** Openings that fail from now on. */
  failingOpenings = 0;
  /** What each batch waits for before it is applied. */
  beforeBatch: Promise<unknown> | undefined;
  /** Called when the database is opened. */
  onOpening: () => void = () => undefined;

  /** The hook below `batch`, which abstract-level leaves to its implementations and does not declare. */
  async _batch(operations: unknown, options: unknown): Promise<void> {
    const failure = this.failure;
    if (failure === 'none') await this.beforeBatch;
    const hooks = MemoryLevel.prototype as unknown as {
      _batch: (this: FullDisk, operations: unknown, options: unknown) => Promise<void>;
    };
    if (failure !== 'before') await hooks._batch.call(this, operations, options);
    if (failure === 'none') return;
    throw Object.assign(new Error('IO error: No space left on device'), { code: 'LEVEL_IO_ERROR' });
  }

  override async open(): Promise<void> {
    this.openings += 1;
    this.onOpening();
    if (this.failingOpenings > 0) {
      this.failingOpenings -= 1;
      throw Object.assign(new Error('IO error: input/output error'), { code: 'LEVEL_IO_ERROR' });
    }
    this.failure = 'none';
    await super.open();
  }
}

const openStore = async () => {
  const { database, marker } = fullDisk();
  return {
    database,
    ...(await openReplicaStore({ database: database as unknown as Database, marker, hash })),
  };
};

const fullDisk = () => {
  const database = new FullDisk({
    keyEncoding: 'view',
    valueEncoding: 'view',
    storeEncoding: 'view',
  });
  let kept: Uint8Array | undefined;
  const marker: Marker = {
    read: () => Promise.resolve(kept),
    write: (bytes) => {
      kept = bytes;
      return Promise.resolve();
    },
  };
  return { database, marker };
};

const entries = chainedEntries({ lastIndex: 0, head: emptyHead }, [1, 1, 1, 1]);

it('[STO-41] rejects what waits behind a failed write, and works again after a reopening', async () => {
  const { store, database } = await openStore();
  await store.write({ append: entries.slice(0, 1) }, 'os');
  const before = database.openings;
  database.failure = 'before';
  const results = await Promise.allSettled(
    entries.slice(1, 3).map((entry) => store.write({ append: [entry] }, 'os')),
  );
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(store.log.end().lastIndex).toBe(1);
  await store.write({ append: entries.slice(1) }, 'os');
  expect(database.openings).toBe(before + 1);
  expect(await store.log.read(1, 1_000_000)).toEqual(entries);
  expect(store.damage).toEqual([]);
});

it('[STO-41] tells the next writer once when the failed write was applied after all', async () => {
  const { store, database } = await openStore();
  await store.write({ append: entries.slice(0, 1) }, 'os');
  database.failure = 'after';
  const write = store.write({ append: entries.slice(1, 2) }, 'os');
  await expect(write).rejects.toMatchObject({ code: 'storage-unavailable' });
  await expect(store.write({ append: entries.slice(1, 2) }, 'os')).rejects.toMatchObject({
    code: 'storage-unavailable',
    details: { known: 1, found: 2 },
  });
  expect(store.log.end().lastIndex).toBe(2);
  await store.write({ append: entries.slice(2) }, 'os');
  expect(await store.log.read(1, 1_000_000)).toEqual(entries);
});

it('[STO-41] an fsync behind a failed append notes the end of what is stored', async () => {
  const { database, marker } = fullDisk();
  const open = () => openReplicaStore({ database: database as unknown as Database, marker, hash });
  const { store } = await open();
  await store.write({ append: entries.slice(0, 1) }, 'os');
  database.failure = 'before';
  await expect(store.write({ append: entries.slice(1, 2) }, 'os')).rejects.toMatchObject({
    code: 'storage-unavailable',
  });
  await store.sync();
  await store.close();
  await database.open();
  const again = await open();
  expect(again.store.damage).toEqual([]);
  expect(again.store.log.end().lastIndex).toBe(1);
});

it('[STO-57] a reader opens a database again whose reopening had failed', async () => {
  const { database, marker } = fullDisk();
  const store = await openServerStore({ database: database as unknown as Database, marker, hash });
  const put = (key: string) =>
    store.putEntries([{ space: 'kept-input', key, value: new Uint8Array([1]) }]);
  await put('first');
  database.failure = 'before';
  await expect(put('second')).rejects.toMatchObject({ code: 'storage-unavailable' });
  database.failingOpenings = 1;
  await expect(put('second')).rejects.toMatchObject({ code: 'storage-unavailable' });
  expect(database.status).toBe('closed');
  const found = await store.getEntries('kept-input', ['first', 'second']);
  expect(found.map((one) => one !== undefined)).toEqual([true, false]);
  await put('second');
  await store.close();
});

it('[STO-43] a reader opens a replica again whose reopening had failed; the next writer is told what moved', async () => {
  const { store, database } = await openStore();
  await store.write({ append: entries.slice(0, 1) }, 'os');
  database.failure = 'after';
  database.failingOpenings = 1;
  for (let tried = 0; tried < 2; tried += 1)
    await expect(store.write({ append: entries.slice(1, 2) }, 'os')).rejects.toMatchObject({
      code: 'storage-unavailable',
    });
  expect(database.status).toBe('closed');
  expect(await store.readNote('none')).toBeUndefined();
  expect(store.log.end().lastIndex).toBe(2);
  await expect(store.write({ append: entries.slice(1, 2) }, 'os')).rejects.toMatchObject({
    code: 'storage-unavailable',
    details: { known: 1, found: 2 },
  });
  await store.write({ append: entries.slice(2) }, 'os');
  expect(await store.log.read(1, 1_000_000)).toEqual(entries);
});

const row = (layer: number, table: number, id: string) =>
  ({ space: 'image', layer, table, id, value: new Uint8Array([7]) }) as const;

/** A store with rows of table 1 in layer 2; while it is opened again, a reader looks for table 9, and batches wait. */
const openToFold = async () => {
  const { store, database } = await openStore();
  await store.write({ puts: [row(1, 9, 'other'), row(2, 1, 'a'), row(2, 1, 'b')] }, 'os');
  const readers: Promise<unknown>[] = [];
  database.onOpening = () => {
    // The writer knows only behind this call that it opens the database.
    const reader = Promise.resolve().then(() => store.getRows('image', 9, ['none'], [1]));
    readers.push(reader);
    database.beforeBatch = reader;
  };
  const expectFolded = async () => {
    expect(readers.length).toBeGreaterThan(0);
    await Promise.all(readers);
    const page = await store.scanRows('image', 1, { layers: [1], limit: 5 });
    expect(page.rows.map(({ id }) => id)).toEqual(['a', 'b']);
    const found = await store.getRows('image', 1, ['a', 'b'], [1]);
    expect(found.every((value) => value !== undefined)).toBe(true);
  };
  return { store, database, expectFolded };
};

it('[STO-97] rows of a fold behind a failed write are seen, though a reader looked while the database was opened', async () => {
  const { store, database, expectFolded } = await openToFold();
  database.failure = 'before';
  await expect(store.write({ puts: [row(2, 9, 'x')] }, 'os')).rejects.toMatchObject({
    code: 'storage-unavailable',
  });
  expect(database.status).toBe('open');
  expect(await store.foldLayer(2, 1, 10, true)).toBe(true);
  await expectFolded();
});

it('[STO-97] a fold takes along what a failed write turned out to have applied', async () => {
  const { store, database, expectFolded } = await openToFold();
  database.failure = 'after';
  await expect(store.write({ append: entries, puts: [row(2, 9, 'x')] }, 'os')).rejects.toThrow();
  expect(await store.foldLayer(2, 1, 10, true)).toBe(true);
  await expectFolded();
  expect(await store.scanLayer('image', 9, 2, undefined, 5)).toEqual([]);
  // The log is not the fold's: who writes next is told.
  await expect(store.write({}, 'os')).rejects.toMatchObject({ details: { known: 0, found: 4 } });
});

it('[STO-97] a fold that was planned before a write failed is rejected, and works again', async () => {
  const { store, database, expectFolded } = await openToFold();
  database.failure = 'before';
  const fold = store.foldLayer(2, 1, 10, true);
  const sync = store.sync();
  await expect(sync).rejects.toMatchObject({ code: 'storage-unavailable' });
  await expect(fold).rejects.toMatchObject({ code: 'storage-unavailable' });
  expect(await store.foldLayer(2, 1, 10, true)).toBe(true);
  await expectFolded();
});
