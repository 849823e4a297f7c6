// Bits flipped in the middle of LevelDB's own log: operations are lost, editing goes on.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalReplica } from '@tidemark/client';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto } from '@tidemark/crypto-node';
import { emptyHead, equalBytes, nextHead, openTransaction, TidemarkError } from '@tidemark/model';
import type { Marker } from '@tidemark/ports';
import { openReplicaFolder } from '@tidemark/store-level/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sha256, tasks } from './harness.js';

const edits = 400;
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-holes-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

let drawn = 0;
let isMarkerBroken = false;
const open = async () => {
  const { store, marker: file } = await openReplicaFolder(folder, { hash: sha256 });
  const marker: Marker = {
    read: () => file.read(),
    write: async (bytes) => {
      if (isMarkerBroken) {
        await store.close();
        throw new TidemarkError('storage-unavailable', 'the marker cannot be reached', {});
      }
      await file.write(bytes);
    },
  };
  const replica = await openLocalReplica({
    tenant: 'acme',
    user: 'ada',
    replica: 'device',
    customization: tasks.customization,
    store,
    marker,
    clock: { nowMs: () => 1_000_000 },
    entropy: { bytes: (count) => new Uint8Array(count).fill((drawn += 1)) },
    crypto: nodeCrypto,
    crdt: () => loadAutomergeCrdt({ hash: sha256 }),
  });
  const close = async () => {
    await replica.close();
    await store.close();
  };
  return { replica, close };
};

const fill = async (publishedTo: number) => {
  const { replica, close } = await open();
  await replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
  for (let i = 1; i <= edits; i += 1)
    await replica.create('tasks', { title: `task ${i}`, rank: i }, { id: `id-${i}` });
  if (publishedTo > 0) await replica.markPublished(publishedTo);
  const entries = await replica.readLog(1, 100_000_000);
  await close();
  return entries;
};

/** Flips a bit where LevelDB's log holds the middle of what was written. */
const damage = async (): Promise<void> => {
  const store = join(folder, 'store');
  const [name] = (await readdir(store)).filter((file) => file.endsWith('.log'));
  const path = join(store, name as string);
  const bytes = await readFile(path);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] as number) ^ 1;
  await writeFile(path, bytes);
};

/** Checks indexes and heads of the whole log. */
const expectChained = async (replica: Awaited<ReturnType<typeof open>>['replica']) => {
  let head = emptyHead;
  let next = 1;
  const entries = await replica.readLog(1, 100_000_000);
  for (const entry of entries) {
    expect(entry.index).toBe(next);
    const opened = openTransaction(entry.bytes, sha256);
    if (opened._tag === 'Left') throw new Error(opened.left);
    head = nextHead(head, opened.right, sha256);
    expect(equalBytes(head, entry.head)).toBe(true);
    next += entry.opCount;
  }
  expect(next - 1).toBe(replica.logEnd().lastIndex);
  return entries;
};

test('[PUL-20] a hole among operations never sent is reported and closed; editing goes on', async () => {
  const before = await fill(10);
  await damage();
  const first = await open();
  const { lost, newEpoch } = first.replica.damage;
  expect(newEpoch).toBe(true);
  expect(lost).toHaveLength(1);
  const [{ from, to }] = lost as [{ from: number; to: number }];
  expect(from).toBeGreaterThan(10);
  expect(to).toBeLessThan(edits);
  const entries = await expectChained(first.replica);
  // All else is there, byte for byte, in its place.
  const bytes = new Map(entries.map((entry) => [entry.index, entry.bytes]));
  for (const entry of before)
    if (entry.index < from || entry.index > to)
      expect(equalBytes(bytes.get(entry.index) as Uint8Array, entry.bytes)).toBe(true);
  expect(first.replica.meta()).toMatchObject({ awaitsGrant: true, publishedTo: 10 });
  await first.replica.create('tasks', { title: 'after' }, { id: 'after' });
  await first.close();
  const second = await open();
  expect(second.replica.damage).toMatchObject({ lost, newEpoch: true });
  await expectChained(second.replica);
  expect(second.replica.logEnd().lastIndex).toBe(edits + 1);
  expect(await second.replica.get('tasks', 'after')).toMatchObject({ title: 'after' });
  await second.close();
});

test('[PUL-76] what an opening mended and could not tell is told by the next, until a run has ended', async () => {
  await fill(10);
  await damage();
  isMarkerBroken = true;
  await expect(open()).rejects.toMatchObject({ code: 'storage-unavailable' });
  isMarkerBroken = false;
  const told = await open();
  const { lost, found, newEpoch } = told.replica.damage;
  expect(newEpoch).toBe(true);
  expect(lost).toHaveLength(1);
  expect(found.map(({ kind }) => kind)).toContain('log-hole');
  await expectChained(told.replica);
  await told.close();
  const again = await open();
  expect(again.replica.damage).toEqual(told.replica.damage);
  await again.replica.forgetDamage();
  await again.close();
  const last = await open();
  expect(last.replica.damage).toMatchObject({ found: [], lost: [], newEpoch: false });
  await last.close();
});

test('[PUL-20] a hole among operations that were sent waits for the word of the server', async () => {
  await fill(edits);
  await damage();
  const { replica, close } = await open();
  const [range] = replica.damage.lost;
  if (range === undefined) throw new Error('nothing was lost');
  await replica.create('tasks', { title: 'after' }, { id: 'after' });
  // The server has them all: nothing has to be closed.
  await replica.updateMeta({ mergedTo: range.to });
  await replica.markPublished(edits + 1);
  expect(replica.meta()).toMatchObject({ publishedTo: edits + 1 });
  await close();
  const again = await open();
  await again.replica.updateMeta({ mergedTo: range.from - 1 });
  await again.close();
  // It has none of them: the log goes on behind what it has.
  const last = await open();
  await expect(last.replica.markPublished(edits + 1)).rejects.toMatchObject({
    code: 'storage-unavailable',
  });
  await expectChained(last.replica);
  expect(last.replica.meta()).toMatchObject({ awaitsGrant: true, publishedTo: range.from - 1 });
  await last.close();
});
