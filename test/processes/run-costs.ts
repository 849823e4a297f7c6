import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openLocalReplica, replicaOn, type Replica } from '@tidemark/client';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto, systemClock, systemEntropy, systemTimer, type SyncLog } from '@tidemark/node';
import { openServer } from '@tidemark/server';
import { openReplicaStore, type Database } from '@tidemark/store-level';
import { ClassicLevel } from 'classic-level';
import { expect } from 'vitest';
import { countReads } from './counting-database.js';
import { placeId, placeRows, placesSchema, tenant } from './places.js';

interface Costs {
  readonly idle: SyncLog;
  readonly idleDeviceReads: number;
  readonly idleMs: number;
  readonly changed: SyncLog;
  readonly changedDeviceReads: number;
  readonly equal: boolean;
}

/** A device on a database whose reads are counted. */
const openCounted = async (folder: string, server: Awaited<ReturnType<typeof openPlaces>>) => {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(path.join(folder, 'device'), {
    keyEncoding: 'view',
    valueEncoding: 'view',
  }) as unknown as Database;
  const { database, reads } = countReads(level);
  let kept: Uint8Array | undefined;
  const { store, marker } = await openReplicaStore({
    database,
    marker: {
      read: () => Promise.resolve(kept),
      write: (bytes) => {
        kept = bytes.slice();
        return Promise.resolve();
      },
    },
    hash: nodeCrypto.sha256,
  });
  const local = await openLocalReplica({
    tenant,
    user: 'user-1',
    customization: placesSchema.customization,
    store,
    marker,
    clock: systemClock,
    entropy: systemEntropy,
    crypto: nodeCrypto,
    crdt: () => loadAutomergeCrdt({ hash: nodeCrypto.sha256 }),
  });
  const replica: Replica<typeof placesSchema> = await replicaOn<typeof placesSchema>({
    local,
    transport: server.transport,
    clock: systemClock,
    entropy: systemEntropy,
    timer: systemTimer,
    crypto: nodeCrypto,
  });
  return { replica, reads };
};

const openPlaces = (folder: string) =>
  openServer({ folder: path.join(folder, 'server'), tenant, schema: placesSchema });

/** Fills a server and a device, then measures a run with nothing to do and one with 100 changed records. */
const measure = async (rows: number): Promise<Costs> => {
  const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-costs-'));
  const server = await openPlaces(folder);
  try {
    await server.write(placeRows(rows), { user: 'office' });
    const { replica, reads } = await openCounted(folder, server);
    const first = await replica.sync();
    expect(first.tables).toMatchObject([{ upserts: rows }]);
    // The run after a fill may still fold layers; the one after it has nothing left to do.
    await replica.sync();
    const before = reads();
    const started = performance.now();
    const idle = await replica.sync();
    const idleMs = performance.now() - started;
    const idleDeviceReads = reads() - before;
    await server.write(
      (writer) => {
        for (let n = 0; n < 100; n += 1)
          writer.patch('places', placeId(Math.floor((n * rows) / 100)), { population: n });
      },
      { user: 'office' },
    );
    const beforeChange = reads();
    const changed = await replica.sync();
    const changedDeviceReads = reads() - beforeChange;
    const prints = [await replica.fingerprint('places'), await server.fingerprint('places')];
    await replica.close();
    return {
      idle,
      idleDeviceReads,
      idleMs,
      changed,
      changedDeviceReads,
      equal: prints[0] === prints[1],
    };
  } finally {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
};

/** Expects that runs on so many records cost what they cost on 1,000. */
export const expectEqualCosts = async (rows: number): Promise<void> => {
  const small = await measure(1_000);
  const large = await measure(rows);
  for (const [count, costs] of [
    [1_000, small],
    [rows, large],
  ] as const)
    console.log(
      `${count} records: a run without changes reads ${costs.idle.serverReads} on the server and ` +
        `${costs.idleDeviceReads} on the device in ${costs.idleMs.toFixed(0)} ms; with 100 changed ` +
        `records ${costs.changed.serverReads} and ${costs.changedDeviceReads}, ${costs.changed.downloadedBytes} bytes`,
    );
  for (const { idle, changed, equal } of [small, large]) {
    expect(idle).toMatchObject({ result: 'synced', pages: 1, tables: [] });
    expect(changed).toMatchObject({ result: 'synced' });
    expect(changed.tables).toMatchObject([
      { table: 'places', mode: 'incremental', upserts: 100, touches: 0, evicts: 0 },
    ]);
    expect(equal).toBe(true);
  }
  expect(large.idle.serverReads).toBe(small.idle.serverReads);
  expect(large.idle.serverReads).toBeLessThan(10);
  expect(large.idleDeviceReads).toBeLessThanOrEqual(small.idleDeviceReads + 2);
  expect(large.changed.serverReads).toBeLessThanOrEqual(small.changed.serverReads + 5);
  expect(large.changed.serverReads).toBeLessThan(150);
  // A folded layer may be walked over in bounded steps, but never the image.
  expect(large.changedDeviceReads).toBeLessThan(2_000);
  expect(large.changed.downloadedBytes).toBeLessThan(2 * small.changed.downloadedBytes);
};

/** Operations of one transaction of a device. */
const opsPerTransaction = 1_000;

/** Edits every record on a device and uploads; returns what the device then reads to walk over the table once. */
export const readsOfScanBehindUpload = async (rows: number): Promise<number> => {
  const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-costs-'));
  const server = await openPlaces(folder);
  try {
    await server.write(placeRows(rows), { user: 'office' });
    const { replica, reads } = await openCounted(folder, server);
    await replica.sync();
    for (let from = 0; from < rows; from += opsPerTransaction)
      await replica.transaction(async (edits) => {
        for (let n = from; n < Math.min(rows, from + opsPerTransaction); n += 1)
          await edits.update('places', placeId(n), { population: -1 - n });
      });
    for (let log = await replica.sync(); log.result !== 'synced'; log = await replica.sync())
      expect(log.result).toBe('pending');
    const before = reads();
    const print = await replica.fingerprint('places');
    const read = reads() - before;
    expect(print).toBe(await server.fingerprint('places'));
    await replica.close();
    return read;
  } finally {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
};
