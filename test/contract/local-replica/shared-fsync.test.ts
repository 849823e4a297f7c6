import type { LocalReplica } from '@tidemark/client';
import { MemoryLevel } from 'memory-level';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { codeOf, newDisk, openOn, type Disk, type TestReplica } from './harness.js';

type Entries = readonly (readonly [Uint8Array, Uint8Array])[];

/** Batch as stores use it. */
interface Chained {
  write: (options?: { readonly sync?: boolean }) => Promise<void>;
}

const diskError = (): Error =>
  Object.assign(new Error('the disk failed'), { code: 'LEVEL_IO_ERROR' });

/** Disk in memory whose fsyncs are counted, held up or made to fail. */
class WatchedDisk extends MemoryLevel<Uint8Array, Uint8Array> {
  fsyncs = 0;
  writes = 0;
  /** What an fsync waits for before it is done. */
  gate: Promise<void> = Promise.resolve();
  /** Fsyncs from now on that fail. */
  failingFsyncs = 0;
  /** Number of the write that fails; 0: none. */
  failingWrite = 0;
  /** True: an opening finds only what was fsynced. */
  losesAtOpening = false;
  #durable: Entries = [];

  constructor() {
    super({ keyEncoding: 'view', valueEncoding: 'view', storeEncoding: 'view' });
  }

  /** The hook below `batch()`, which abstract-level leaves to its implementations. */
  _chainedBatch(): Chained {
    const hooks = MemoryLevel.prototype as unknown as { _chainedBatch: () => Chained };
    const chained = hooks._chainedBatch.call(this);
    const write = chained.write.bind(chained);
    chained.write = async (options = {}) => {
      this.writes += 1;
      if (this.writes === this.failingWrite) throw diskError();
      if (options.sync !== true) return write();
      this.fsyncs += 1;
      await this.gate;
      if (this.failingFsyncs > 0) {
        this.failingFsyncs -= 1;
        throw diskError();
      }
      await write();
      this.#durable = await this.iterator().all();
    };
    return chained;
  }

  override async open(): Promise<void> {
    await super.open();
    if (!this.losesAtOpening) return;
    this.losesAtOpening = false;
    const kept = this.#durable.map(([key, value]) => ({ type: 'put' as const, key, value }));
    await this.clear();
    await this.batch(kept);
  }
}

let database: WatchedDisk;
let disk: Disk;
let opened: TestReplica;
let replica: LocalReplica;

beforeEach(async () => {
  database = new WatchedDisk();
  disk = { ...newDisk(), database: database as unknown as Disk['database'] };
  // Time stands still: no fsync begins because edits have waited long.
  opened = await openOn(disk, { clock: { nowMs: () => 1_000_000 } });
  replica = opened.replica;
  database.fsyncs = 0;
});
afterEach(() => opened.close());

/** Holds up every fsync until the returned function is called. */
const holdFsyncs = (): (() => void) => {
  let open: () => void = () => undefined;
  database.gate = new Promise((resolve) => {
    open = resolve;
  });
  return open;
};

const create = (id: string, durability: 'os' | 'disk'): Promise<string> =>
  replica.create('tasks', { title: id }, { id, durability });

const ids = (count: number): readonly string[] => Array.from({ length: count }, (_, i) => `r${i}`);

const shows = async (id: string): Promise<boolean> =>
  (await replica.get('tasks', id)) !== undefined;

const untilShown = async (id: string): Promise<void> => {
  for (let i = 0; i < 10_000 && !(await shows(id)); i += 1) await new Promise(setImmediate);
  expect(await shows(id)).toBe(true);
};

test('[REP-28] edits at disk share an fsync, and are seen before it', async () => {
  const open = holdFsyncs();
  const settled: string[] = [];
  const edits = ids(50).map((id) => create(id, 'disk').then(() => settled.push(id)));
  await untilShown('r49');
  // Nobody's promise ran ahead of the disk, also not that of the edits which are there to be read.
  expect(settled).toEqual([]);
  expect(database.fsyncs).toBe(1);
  open();
  await Promise.all(edits);
  expect(settled).toEqual(ids(50));
  expect(database.fsyncs).toBe(1);
  expect((await replica.readLog(1, 1_000_000)).map(({ index }) => index)).toEqual(
    ids(50).map((_, i) => i + 1),
  );
});

test('[REP-28] an edit at disk that changes nothing waits for what it relies on', async () => {
  await create('r0', 'os');
  const settled: string[] = [];
  const same = (id: string, name: string): Promise<unknown> =>
    replica
      .update('tasks', id, { title: id }, { durability: 'disk' })
      .then(() => settled.push(name));
  const openFirst = holdFsyncs();
  const alone = same('r0', 'alone');
  for (let i = 0; i < 100; i += 1) await new Promise(setImmediate);
  expect(settled).toEqual([]);
  openFirst();
  await alone;
  // Written together with the edit at `os` that it relies on.
  const open = holdFsyncs();
  const changed = [create('r1', 'os'), create('r2', 'os')];
  const behind = same('r2', 'behind');
  const inTransaction = replica
    .transaction((edits) => edits.update('tasks', 'r0', { title: 'r0' }), { durability: 'disk' })
    .then(() => settled.push('transaction'));
  await Promise.all(changed);
  for (let i = 0; i < 100; i += 1) await new Promise(setImmediate);
  expect(settled).toEqual(['alone']);
  open();
  await Promise.all([behind, inTransaction]);
  const { fsyncs, writes } = database;
  await same('r0', 'nothing is left to fsync');
  expect([database.fsyncs, database.writes]).toEqual([fsyncs, writes]);
});

test('[REP-28] an edit resolves behind an fsync that began after its write, whoever else writes', async () => {
  const durable = { upTo: 0 };
  const sync = database._chainedBatch.bind(database);
  database._chainedBatch = () => {
    const chained = sync();
    const write = chained.write;
    chained.write = async (options) => {
      const { lastIndex } = replica.logEnd();
      await write(options);
      if (options?.sync === true) durable.upTo = Math.max(durable.upTo, lastIndex);
    };
    return chained;
  };
  const durableWhenTold = new Map<string, number>();
  const writer = async (at: number): Promise<void> => {
    for (let i = 0; i < 12; i += 1) {
      const id = `w${at}-${i}`;
      const isSynced = (at + i) % 3 !== 0;
      await create(id, isSynced ? 'disk' : 'os');
      if (isSynced) durableWhenTold.set(id, durable.upTo);
    }
  };
  await Promise.all(Array.from({ length: 9 }, (_, at) => writer(at)));
  const pending = await replica.pending({ limit: 1_000 });
  expect(pending).toHaveLength(9 * 12);
  for (const { record, index } of pending)
    expect(durableWhenTold.get(record) ?? index).toBeGreaterThanOrEqual(index);
  expect(durableWhenTold.size).toBe(72);
  expect(database.fsyncs).toBeLessThan(40);
});

test('[REP-28] an fsync waits for no callback of a transaction, nor for more than 256 turns', async () => {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const first = create('first', 'disk');
  const long = replica.transaction(async (edits) => {
    await edits.create('tasks', { title: 'long' }, 'long');
    await ended;
  });
  await first;
  expect(await shows('long')).toBe(false);
  end();
  await long;
  let isOver = false;
  let behind = 0;
  const synced = create('waits', 'disk').then(() => {
    isOver = true;
  });
  // Others never let the turn go.
  const others = Array.from({ length: 600 }, async (_, i) => {
    await replica.increment('tasks', 'first', 'votes', i);
    if (isOver) behind += 1;
  });
  await Promise.all([synced, ...others]);
  expect(behind).toBeGreaterThan(200);
});

test('[REP-28] nothing is marked as published before it is fsynced', async () => {
  const marked = disk.marker.bytes;
  const open = holdFsyncs();
  const edit = create('r0', 'disk');
  await untilShown('r0');
  const publishing = replica.markPublished(1);
  for (let i = 0; i < 100; i += 1) await new Promise(setImmediate);
  expect(disk.marker.bytes).toEqual(marked);
  expect(replica.meta().publishedTo).toBe(0);
  open();
  await Promise.all([edit, publishing]);
  expect(replica.meta().publishedTo).toBe(1);
});

test('[REP-29] a failed fsync rejects the edits that waited for it, and no other', async () => {
  await create('before', 'disk');
  await create('os', 'os');
  database.failingFsyncs = 1;
  const results = await Promise.all(ids(5).map((id) => codeOf(create(id, 'disk'))));
  expect(results).toEqual(ids(5).map(() => 'storage-unavailable'));
  // Their write came before: they may have been stored, as behind any write whose answer is lost.
  expect(await codeOf(create('after', 'disk'))).toBe('none');
  for (const id of ['before', 'os', ...ids(5), 'after']) expect(await shows(id)).toBe(true);
  expect((await replica.readLog(1, 1_000_000)).map(({ index }) => index)).toEqual(
    ids(8).map((_, i) => i + 1),
  );
});

test('[REP-29] an edit that was lost before its fsync is not confirmed', async () => {
  await create('before', 'disk');
  // The write of the second one fails, and what the first one wrote is gone when the database opens again.
  database.failingWrite = database.writes + 2;
  database.losesAtOpening = true;
  const [first, second] = await Promise.all([
    codeOf(create('first', 'disk')),
    codeOf(create('second', 'disk')),
  ]);
  expect([first, second]).toEqual(['storage-unavailable', 'storage-unavailable']);
  expect(await shows('first')).toBe(false);
  expect(await shows('before')).toBe(true);
});

test('[REP-29] closing and clearing wait for the fsyncs of edits', async () => {
  const open = holdFsyncs();
  let isOver = false;
  const edit = create('r0', 'disk');
  await untilShown('r0');
  const clearing = replica.clear({ log: true }).then(() => {
    isOver = true;
  });
  for (let i = 0; i < 100; i += 1) await new Promise(setImmediate);
  expect(isOver).toBe(false);
  open();
  expect(await codeOf(edit)).toBe('none');
  await clearing;
  const openAgain = holdFsyncs();
  const last = create('r1', 'disk');
  await untilShown('r1');
  isOver = false;
  const closing = replica.close().then(() => {
    isOver = true;
  });
  for (let i = 0; i < 100; i += 1) await new Promise(setImmediate);
  expect(isOver).toBe(false);
  openAgain();
  expect(await codeOf(last)).toBe('none');
  await closing;
});
