import { createHash } from 'node:crypto';
import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServerStore } from '@tidemark/ports';
import { openServerFolder } from '@tidemark/store-level/node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());
const clock = { nowMs: () => 1_000 };
const commits = 300;

const commit = (store: ServerStore, n: number): Promise<void> =>
  store.commit(
    {
      state: new Uint8Array(16).fill(n & 255),
      records: [
        {
          table: 1,
          record: {
            id: `record-${String(n).padStart(6, '0')}`,
            version: { incarnation: 1, n },
            deleted: false,
            row: new Uint8Array(300).fill(n & 255),
            extra: new Uint8Array(8),
          },
        },
      ],
      prune: [],
      feed: [{ table: 1, incarnation: 1, first: n, last: n, bytes: new Uint8Array(50) }],
      ledger: [],
      entries: [],
    },
    'os',
  );

const countRecords = async (store: ServerStore): Promise<number> =>
  (await store.scanRecords(1, { maxBytes: 10_000_000, maxRecords: 10_000 })).records.length;

async function* failingAfter(
  chunks: AsyncIterable<Uint8Array>,
  count: number,
): AsyncGenerator<Uint8Array> {
  let given = 0;
  for await (const chunk of chunks) {
    if (given >= count) throw new Error('the source failed');
    given += 1;
    yield chunk;
  }
}

describe('damage to a server store', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-damage-'));
    const { store, close } = await openServerFolder(folder, { hash, clock });
    for (let n = 1; n <= commits; n += 1) await commit(store, n);
    await close();
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('[STO-63] tells lost batches with their count, until the store is loaded anew', async () => {
    const names = (await readdir(join(folder, 'store'))).filter((name) => name.endsWith('.log'));
    const path = join(folder, 'store', names[0] as string);
    const file = await open(path, 'r+');
    await file.write(new Uint8Array([1, 2, 3, 4]), 0, 4, Math.floor((await stat(path)).size / 2));
    await file.close();
    for (let round = 0; round < 2; round += 1) {
      const { store, close } = await openServerFolder(folder, { hash, clock });
      const missing = commits - (await countRecords(store));
      expect(missing).toBeGreaterThan(0);
      expect(store.damage).toHaveLength(1);
      expect(store.damage[0]).toMatchObject({ kind: 'server', count: missing });
      await close();
    }
    const mending = await openServerFolder(folder, { hash, clock });
    await mending.store.load(mending.store.dump());
    await mending.close();
    const { store, close } = await openServerFolder(folder, { hash, clock });
    expect(store.damage).toEqual([]);
    await close();
  });

  it('[STO-64] sets a store without CURRENT aside and opens an empty one', async () => {
    await rm(join(folder, 'store', 'CURRENT'));
    const before = await readdir(join(folder, 'store'));
    const { store, close } = await openServerFolder(folder, { hash, clock });
    expect(store.damage).toEqual([
      {
        kind: 'server',
        where: 'storage-damaged: begun anew; set aside as store.damaged-1',
        count: 1,
      },
    ]);
    expect(await store.readState()).toBeUndefined();
    expect(await readdir(join(folder, 'store.damaged-1'))).toEqual(before);
    await commit(store, 1);
    await close();
    const again = await openServerFolder(folder, { hash, clock });
    expect(again.store.damage).toEqual([]);
    expect(await countRecords(again.store)).toBe(1);
    await again.close();
  });

  it('[STO-64] opens an empty store for one whose files are gone, and says so', async () => {
    await rm(join(folder, 'store'), { recursive: true });
    const { store, close } = await openServerFolder(folder, { hash, clock });
    expect(store.damage).toMatchObject([{ kind: 'server', count: 1 }]);
    expect(store.damage[0]?.where).toContain('store-missing');
    expect(await store.readState()).toBeUndefined();
    await close();
  });

  it('[STO-61] is empty after a load whose source failed', async () => {
    const { store, close } = await openServerFolder(folder, { hash, clock });
    await expect(store.load(failingAfter(store.dump(), 1))).rejects.toThrow();
    expect(await store.readState()).toBeUndefined();
    expect(await countRecords(store)).toBe(0);
    await commit(store, 1);
    await close();
  });

  it('[STO-62] tells a load that a crash interrupted, and empties the store', async () => {
    const source = await openServerFolder(folder, { hash, clock });
    const target = join(folder, 'target');
    const first = await openServerFolder(target, { hash, clock });
    await first.store.load(source.store.dump());
    expect(await countRecords(first.store)).toBe(commits);
    // A source that never goes on stands for the crash: the store is closed under the load.
    const chunks: Uint8Array[] = [];
    for await (const chunk of source.store.dump()) chunks.push(chunk);
    let reached: () => void = () => undefined;
    const stuck = new Promise<void>((resolve) => {
      reached = resolve;
    });
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const stalling = async function* (): AsyncGenerator<Uint8Array> {
      for (const chunk of chunks.slice(0, 2)) yield chunk;
      reached();
      await held;
    };
    const load = first.store.load(stalling());
    const failed = load.then(
      () => false,
      () => true,
    );
    await stuck;
    await first.close();
    release();
    expect(await failed).toBe(true);
    const second = await openServerFolder(target, { hash, clock });
    expect(second.store.damage).toEqual([
      { kind: 'server', where: 'a load was interrupted: emptied', count: 1 },
    ]);
    expect(await second.store.readState()).toBeUndefined();
    expect(await countRecords(second.store)).toBe(0);
    await second.close();
    const third = await openServerFolder(target, { hash, clock });
    expect(third.store.damage).toEqual([]);
    await third.close();
    await source.close();
  });
});
