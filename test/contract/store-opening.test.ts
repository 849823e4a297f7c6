import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emptyHead, utf8Decode, utf8Encode } from '@tidemark/model';
import type { Marker } from '@tidemark/ports';
import { openInputLog, openReplicaStore, openServerStore } from '@tidemark/store-level';
import { openReplicaFolder } from '@tidemark/store-level/node';
import { chainedEntries } from '@tidemark/testkit';
import { ClassicLevel } from 'classic-level';
import { MemoryLevel } from 'memory-level';
import { describe, expect, it } from 'vitest';

type Memory = MemoryLevel<Uint8Array, Uint8Array>;
type Bytes = Uint8Array<ArrayBuffer>;

const hash = (bytes: Uint8Array): Bytes =>
  new Uint8Array(createHash('sha256').update(bytes).digest());
const clock = { nowMs: () => 1_000 };
const view = { keyEncoding: 'view', valueEncoding: 'view' } as const;
const identityKey = new Uint8Array([0x00, 0x01]);
const headKey = new Uint8Array([0x00, 0x02]);

const memoryMarker = (): Marker => {
  let bytes: Uint8Array | undefined;
  return {
    read: () => Promise.resolve(bytes),
    write: (next) => {
      bytes = next;
      return Promise.resolve();
    },
  };
};

const kinds = {
  replica: async (database: Memory, marker: Marker) =>
    (await openReplicaStore({ database, marker, hash })).store,
  server: (database: Memory, marker: Marker) => openServerStore({ database, marker, hash }),
  input: (database: Memory, marker: Marker) => openInputLog({ database, marker, hash, clock }),
} as const;
const kindNames = Object.keys(kinds) as (keyof typeof kinds)[];

/** Everything a database holds, as text; opens it if it is closed. */
const contentOf = async (database: Memory): Promise<string> => {
  await database.open();
  return (await database.iterator().all())
    .map(([key, value]) => `${Buffer.from(key).toString('hex')} ${hash(value).join()}`)
    .join('\n');
};

const u48 = (bytes: Uint8Array, at: number): number => Buffer.from(bytes).readUIntBE(at, 6);

const formats = { replica: 3, server: 2, input: 1 } as const;

describe.each(kindNames)('a store of kind %s', (kind) => {
  it('[STO-1] writes format, kind and an id of its own, and keeps them', async () => {
    const ids = new Set<string>();
    for (let i = 0; i < 3; i += 1) {
      const database = new MemoryLevel<Uint8Array, Uint8Array>(view);
      const marker = memoryMarker();
      await (await kinds[kind](database, marker)).close();
      await database.open();
      const identity = new Uint8Array((await database.get(identityKey)) ?? []);
      expect(identity[0]).toBe(formats[kind]);
      expect(utf8Decode(identity.subarray(17))).toBe(kind);
      ids.add(identity.subarray(1, 17).join());
      await (await kinds[kind](database, marker)).close();
      await database.open();
      expect(new Uint8Array((await database.get(identityKey)) ?? [])).toEqual(identity);
    }
    expect(ids.size).toBe(3);
  });

  it('[STO-1] is not opened as another kind or when its format is newer', async () => {
    const database = new MemoryLevel<Uint8Array, Uint8Array>(view);
    await (await kinds[kind](database, memoryMarker())).close();
    const before = await contentOf(database);
    for (const other of kindNames.filter((name) => name !== kind))
      await expect(kinds[other](database, memoryMarker())).rejects.toMatchObject({
        code: 'folder-in-use',
      });
    expect(await contentOf(database)).toBe(before);
    const identity = new Uint8Array((await database.get(identityKey)) ?? []);
    await database.put(identityKey, new Uint8Array([formats[kind] + 1, ...identity.subarray(1)]));
    const newer = await contentOf(database);
    await expect(kinds[kind](database, memoryMarker())).rejects.toMatchObject({
      code: 'newer-format',
    });
    expect(await contentOf(database)).toBe(newer);
    // An older one is raised: an earlier version may not overlook what is written from now on.
    await database.put(identityKey, new Uint8Array([formats[kind] - 1, ...identity.subarray(1)]));
    await (await kinds[kind](database, memoryMarker())).close();
    await database.open();
    expect(new Uint8Array((await database.get(identityKey)) ?? [])).toEqual(identity);
  });
});

const ringSlots = 16_384;
const slotKey = (ordinal: number): Uint8Array =>
  new Uint8Array([0x01, (ordinal % ringSlots) >>> 8, (ordinal % ringSlots) & 0xff]);

/** Ordinals that the slots of a ring hold, in order. */
const ordinalsOf = async (database: Memory): Promise<readonly number[]> =>
  (await database.values({ gte: new Uint8Array([0x01]), lt: new Uint8Array([0x02]) }).all())
    .map((value) => u48(value, 0))
    .sort((a, b) => a - b);

describe('ordinals', () => {
  it('[STO-2] number the batches from 1 without a gap, over reopenings, beside the end of the log', async () => {
    const database = new MemoryLevel<Uint8Array, Uint8Array>(view);
    const marker = memoryMarker();
    const opsPerEntry = [1, 3, 2, 1, 5];
    const entries = chainedEntries({ lastIndex: 0, head: emptyHead }, opsPerEntry, 40);
    let [lastIndex, batches] = [0, 0];
    for (const [n, entry] of entries.entries()) {
      const { store } = await openReplicaStore({ database, marker, hash });
      await store.write({ append: [entry] }, n % 2 === 0 ? 'os' : 'disk');
      await store.write({ notes: [{ key: 'n', value: utf8Encode(String(n)) }] }, 'os');
      await store.close();
      await database.open();
      lastIndex += opsPerEntry[n] as number;
      const head = (await database.get(headKey)) ?? new Uint8Array(0);
      // The fsync of the close is a batch of its own.
      expect(u48(head, 0)).toBe(batches + 3);
      batches = u48(head, 0);
      expect(u48(head, 6)).toBe(lastIndex);
      expect(new Uint8Array(head.subarray(12))).toEqual(new Uint8Array(entry.head));
      expect(await ordinalsOf(database)).toEqual(Array.from({ length: batches }, (_, i) => i + 1));
    }
  });

  it('[STO-2] of the newest 16,384 batches stay in their slots, and a missing one is told', async () => {
    const database = new MemoryLevel<Uint8Array, Uint8Array>(view);
    const marker = memoryMarker();
    const batches = ringSlots + 10;
    const first = (await openReplicaStore({ database, marker, hash })).store;
    for (let n = 0; n < batches; n += 1)
      await first.write({ notes: [{ key: 'n', value: utf8Encode(String(n)) }] }, 'os');
    await first.close();
    await database.open();
    const ordinals = await ordinalsOf(database);
    const newest = ordinals.at(-1) ?? 0;
    expect(newest).toBeGreaterThanOrEqual(batches);
    expect([ordinals[0], ordinals.length]).toEqual([newest - ringSlots + 1, ringSlots]);
    const again = (await openReplicaStore({ database, marker, hash })).store;
    expect(again.damage).toEqual([]);
    await again.close();
    await database.open();
    await database.del(slotKey(5_000));
    const damaged = (await openReplicaStore({ database, marker, hash })).store;
    expect(damaged.damage).toMatchObject([{ kind: 'image', count: 1 }]);
    expect(damaged.damage[0]?.where).toContain('5000');
    await damaged.close();
  });
});

describe('the marker', () => {
  it('[STO-3] is whole after creation, a write of the engine and a clean close', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-marker-'));
    const file = join(folder, 'marker');
    const read = async () => {
      const bytes = new Uint8Array(await readFile(file));
      const body = bytes.subarray(0, -8);
      expect(bytes.subarray(-8)).toEqual(hash(body).subarray(0, 8));
      expect(await readdir(folder)).not.toContain('marker.new');
      const [storeId, payload] = [body.slice(2, 18), utf8Decode(body.subarray(24))];
      return { format: body[0], storeId, ordinal: u48(body, 18), payload };
    };
    try {
      const { store, marker } = await openReplicaFolder(folder, { hash });
      const created = await read();
      expect(created).toMatchObject({ format: 1, ordinal: 0, payload: '' });
      const write = (n: number) =>
        store.write({ notes: [{ key: 'n', value: utf8Encode(String(n)) }] }, 'os');
      for (let n = 0; n < 3; n += 1) await write(n);
      await store.sync();
      for (let n = 3; n < 5; n += 1) await write(n);
      await marker.write(utf8Encode('published 3'));
      // The fsync is batch 4. Batches 5 and 6 are not fsynced: the marker may not vouch for them.
      expect(await read()).toEqual({ ...created, ordinal: 4, payload: 'published 3' });
      await store.close();
      expect(await read()).toEqual({ ...created, ordinal: 7, payload: 'published 3' });
      const database = new ClassicLevel<Uint8Array, Uint8Array>(join(folder, 'store'), view);
      const identity = new Uint8Array((await database.get(identityKey)) ?? []);
      await database.close();
      expect(identity.slice(1, 17)).toEqual(created.storeId);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('[STO-3] is known to be damaged by any flipped bit, and is not read half written', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-marker-'));
    const file = join(folder, 'marker');
    try {
      const first = await openReplicaFolder(folder, { hash });
      await first.marker.write(utf8Encode('published 1'));
      await first.store.close();
      const whole = await readFile(file);
      // What a crash leaves beside the marker while it is replaced.
      await writeFile(`${file}.new`, whole.subarray(0, 10));
      const second = await openReplicaFolder(folder, { hash });
      expect(second.store.damage).toEqual([]);
      expect(utf8Decode((await second.marker.read()) ?? new Uint8Array(0))).toBe('published 1');
      await second.store.close();
      for (const at of [1, 5, 20, 25, whole.length - 1]) {
        const flipped = new Uint8Array(whole);
        flipped[at] = (flipped[at] as number) ^ 4;
        await writeFile(file, flipped);
        const { store, marker } = await openReplicaFolder(folder, { hash });
        expect(store.damage).toEqual([{ kind: 'log-tail', where: 'marker', count: 1 }]);
        expect(await marker.read()).toBeUndefined();
        await store.close();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
