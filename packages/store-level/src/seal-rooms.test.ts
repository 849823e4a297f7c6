import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packBlocks } from '@tidemark/model';
import { expect, test } from 'vitest';
import { openReplicaFolder } from './open-replica-folder.js';
import { SealRooms, sealRoomBytesMax, sealRoomsMax } from './seal-rooms.js';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

const rowOf = (id: string): Uint8Array => new Uint8Array(3_000).fill(id.charCodeAt(1));

test('[STO-42] blocks that are written at one time, and in rooms that were used before, are read as they were', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-seal-'));
  try {
    const { store } = await openReplicaFolder(folder, { hash });
    const ids = Array.from({ length: 60 }, (_, i) => `r${String.fromCharCode(40 + i)}`);
    const write = (from: number): Promise<void> => {
      const rows = ids.slice(from, from + 10).map((id) => ({ id, value: rowOf(id) }));
      const blocks = packBlocks(rows).map((block) => ({ layer: 1, table: 1, block }));
      return store.write({ blocks }, 'os');
    };
    await Promise.all([write(0), write(10), write(20)]);
    for (const from of [30, 40, 50]) await write(from);
    const found = await store.getRows('image', 1, ids, [1]);
    expect(found.map((row) => row && [row.length, new Set(row)])).toEqual(
      ids.map((id) => [3_000, new Set([id.charCodeAt(1)])]),
    );
    await store.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('[STO-42] a room is given to one batch at a time, and only so many wait', () => {
  const rooms = new SealRooms();
  const taken = Array.from({ length: sealRoomsMax + 1 }, () => rooms.take(1_000));
  expect(new Set(taken).size).toBe(taken.length);
  for (const room of taken) rooms.give(room);
  const again = Array.from({ length: sealRoomsMax + 1 }, () => rooms.take(1_000));
  expect(again.filter((room) => taken.includes(room)).length).toBe(sealRoomsMax);
  const long = rooms.take(sealRoomBytesMax + 1);
  expect(long.length).toBeGreaterThan(sealRoomBytesMax);
  rooms.give(long);
  expect(rooms.take(1_000) === long).toBe(false);
});
