import { createHash } from 'node:crypto';
import { packBlocks, utf8Encode } from '@tidemark/model';
import type { Marker } from '@tidemark/ports';
import { MemoryLevel } from 'memory-level';
import { expect, test } from 'vitest';
import { BlockPlaces, blockPlacesMax, placeText } from './block-places.js';
import type { Database } from './database.js';
import { blockOperations, blockPrefix } from './layer-blocks.js';
import { openReplicaStore } from './open-replica-store.js';
import { sealBytes } from './sealed-value.js';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

/** Database that counts the iterators over blocks' values. */
class CountedLevel extends MemoryLevel<Uint8Array, Uint8Array> {
  iterators = 0;
  _iterator(options: unknown): unknown {
    this.iterators += 1;
    const hooks = MemoryLevel.prototype as unknown as { _iterator: (options: unknown) => unknown };
    return hooks._iterator.call(this, options);
  }
}

const openStore = async () => {
  const database = new CountedLevel({
    keyEncoding: 'view',
    valueEncoding: 'view',
    storeEncoding: 'view',
  });
  const marker: Marker = {
    read: () => Promise.resolve(undefined),
    write: () => Promise.resolve(),
  };
  const { store } = await openReplicaStore({
    database: database as unknown as Database,
    marker,
    hash,
  });
  return { database, store };
};

const idOf = (i: number): string => `é${String(i).padStart(6, '0')}`;
const valueOf = (i: number, version: number): Uint8Array => utf8Encode(`${version} of ${i}`);
const rowsOf = (ids: readonly number[], version: number) =>
  ids.map((i) => ({ id: idOf(i), value: valueOf(i, version) }));
const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i);
const blocksOf = (ids: readonly number[], version: number, layer: number) =>
  packBlocks(rowsOf(ids, version)).map((block) => ({ layer, table: 1, block }));

test('[STO-44] a row of a block that was read or written is read by its key', async () => {
  const { store, database } = await openStore();
  await store.write({ blocks: blocksOf(upTo(2_000), 1, 1) }, 'os');
  await store.getRows('image', 1, [idOf(0)], [1]);
  const before = database.iterators;
  for (const i of [0, 255, 256, 1_024, 1_999])
    expect(await store.getRows('image', 1, [idOf(i)], [1])).toEqual([valueOf(i, 1)]);
  expect(database.iterators).toBe(before);
  // Also several at once, of several blocks, with one that no block holds.
  const wanted = [1_999, 3, 700, 2_500, 4];
  expect(await store.getRows('image', 1, wanted.map(idOf), [1])).toEqual(
    wanted.map((i) => (i < 2_000 ? valueOf(i, 1) : undefined)),
  );
  await store.close();
});

test('[STO-44] blocks that were moved, removed or written anew are found out', async () => {
  const { store, database } = await openStore();
  const read = async (ids: readonly number[], layers: readonly number[]) =>
    store.getRows('image', 1, ids.map(idOf), layers);
  await store.write({ blocks: blocksOf(upTo(600), 1, 2) }, 'os');
  const some = [0, 100, 255, 256, 511, 599];
  expect(await read(some, [2])).toEqual(some.map((i) => valueOf(i, 1)));
  // Moved into another layer.
  while (!(await store.foldLayer(2, 1, 1_000)));
  expect(await read(some, [2])).toEqual(some.map(() => undefined));
  expect(await read(some, [2, 1])).toEqual(some.map((i) => valueOf(i, 1)));
  // Removed, and others in their place that end elsewhere.
  while (!(await store.clearLayer(1, 1_000)));
  expect(await read(some, [1])).toEqual(some.map(() => undefined));
  await store.write({ blocks: blocksOf(upTo(600), 1, 3) }, 'os');
  expect(await read([150], [3])).toEqual([valueOf(150, 1)]);
  while (!(await store.clearLayer(3, 1_000)));
  const ends = [upTo(100), upTo(256).map((i) => 100 + i), upTo(200).map((i) => 356 + i)];
  for (const ids of ends) await store.write({ blocks: blocksOf(ids, 2, 3) }, 'os');
  for (const i of [0, 99, 100, 150, 255, 256, 300, 355, 356, 511, 555])
    expect(await read([i], [3])).toEqual([valueOf(i, 2)]);
  expect(await read([556, 150, 300, 99], [3])).toEqual([
    undefined,
    ...[150, 300, 99].map((i) => valueOf(i, 2)),
  ]);
  // Written past this store: one under a known key that begins further behind.
  const other = [
    ...blocksOf([356, 357], 3, 3),
    ...blocksOf(
      upTo(198).map((i) => 358 + i),
      3,
      3,
    ),
  ];
  await (database as unknown as Database).batch([...blockOperations(other)]);
  for (const i of [356, 357, 358, 555]) expect(await read([i], [3])).toEqual([valueOf(i, 3)]);
  await store.close();
});

test('[STO-44] a place is known by its ids, and all are forgotten at the bound', () => {
  const places = new BlockPlaces();
  const prefix = blockPrefix(1, 1);
  places.note(blockOperations(blocksOf(upTo(600), 1, 1)), sealBytes);
  const last = placeText(idOf(255));
  expect(places.find(prefix, placeText(idOf(0)))).toBe(last);
  expect(places.find(prefix, last)).toBe(last);
  expect(places.find(prefix, placeText(idOf(600)))).toBeUndefined();
  expect(places.find(blockPrefix(2, 1), last)).toBeUndefined();
  places.drop(prefix, last);
  expect(places.find(prefix, last)).toBeUndefined();
  expect(places.find(prefix, placeText(idOf(256)))).toBe(placeText(idOf(511)));
  // Two of three are left; with as many others as fit the next one forgets them.
  for (let i = 0; i <= blockPlacesMax - 2; i += 1)
    places.note(blockOperations(blocksOf([1_000 + i], 1, 7)), sealBytes);
  expect(places.find(prefix, placeText(idOf(256)))).toBeUndefined();
  expect(places.find(blockPrefix(7, 1), placeText(idOf(1_000)))).toBeUndefined();
  const newest = placeText(idOf(1_000 + blockPlacesMax - 2));
  expect(places.find(blockPrefix(7, 1), newest)).toBe(newest);
});
