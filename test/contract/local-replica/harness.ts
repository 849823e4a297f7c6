import { createHash } from 'node:crypto';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto } from '@tidemark/crypto-node';
import { openLocalReplica, type LocalReplica, type LocalReplicaOptions } from '@tidemark/client';
import { defineSchema, encodeRow, field, type Row, type RowFields } from '@tidemark/model';
import type { Marker } from '@tidemark/ports';
import {
  encodePage,
  decodePage,
  type PageEntry,
  type PageMode,
  type TablePage,
} from '@tidemark/protocol';
import { openReplicaStore } from '@tidemark/store-level';
import { MemoryLevel } from 'memory-level';

export const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

/** Schema of these tests. */
export const tasks = defineSchema({
  version: 1,
  tables: {
    tasks: {
      id: 1,
      fields: {
        title: field.string(1, { required: true }),
        rank: field.number(2),
        done: field.boolean(3),
        votes: field.counter(4),
        note: field.text(5),
        due: field.date(6),
        cost: field.decimal(7),
      },
      indexes: { byRank: ['rank'], byDone: ['done', 'rank'], byTitle: ['title'], byCost: ['cost'] },
    },
    visits: {
      id: 2,
      fields: { city: field.string(1), notes: field.text(2) },
      rule: 'device-wins-full',
    },
  },
});

/** Storage that outlives a replica: opening again finds what was written. */
export interface Disk {
  readonly database: MemoryLevel<Uint8Array, Uint8Array>;
  readonly marker: Marker & { bytes: Uint8Array | undefined };
}

export const newDisk = (): Disk => {
  const marker: Disk['marker'] = {
    bytes: undefined,
    read: () => Promise.resolve(marker.bytes),
    write: (bytes) => {
      marker.bytes = bytes;
      return Promise.resolve();
    },
  };
  const encodings = { keyEncoding: 'view', valueEncoding: 'view', storeEncoding: 'view' } as const;
  return { database: new MemoryLevel<Uint8Array, Uint8Array>(encodings), marker };
};

/** Replica with the way to close it together with its store. */
export interface TestReplica {
  readonly replica: LocalReplica;
  readonly close: () => Promise<void>;
}

let entropySeed = 1;

/** Opens a replica on a disk; time stands still at 1,000,000 ms and goes on 1 ms per reading. */
export const openOn = async (
  disk: Disk,
  change: Partial<LocalReplicaOptions> = {},
): Promise<TestReplica> => {
  const { store, marker } = await openReplicaStore({ ...disk, hash: sha256 });
  let now = 1_000_000;
  try {
    const replica = await openLocalReplica({
      tenant: 'acme',
      user: 'user-1',
      replica: 'device',
      customization: tasks.customization,
      store,
      marker,
      clock: { nowMs: () => (now += 1) },
      entropy: {
        bytes: (count) => {
          entropySeed += 1;
          const bytes = new Uint8Array(count);
          for (let at = 0; at < count; at += 32)
            bytes.set(
              sha256(new Uint8Array([entropySeed >> 8, entropySeed & 255, at])).subarray(
                0,
                Math.min(32, count - at),
              ),
              at,
            );
          return bytes;
        },
      },
      crypto: nodeCrypto,
      crdt: loadAutomergeCrdt.bind(null, { hash: sha256 }),
      ...change,
    });
    return {
      replica,
      close: async () => {
        await replica.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
};

/** Server row for a page. */
export const rowOf = (n: number, fields: RowFields, more: Partial<Row> = {}): Row => ({
  version: { incarnation: 1, n },
  born: 'other/1/1',
  modifiedOn: 1_000 + n,
  modifiedBy: 'user-2',
  createdOn: 1_000,
  owner: 'user-2',
  fields,
  docs: {},
  editedAt: {},
  ...more,
});

export const upsert = (id: string, row: Row): PageEntry => ({
  kind: 'upsert',
  id,
  version: row.version,
  row: encodeRow(row),
});

/** Page that went through the wire form. */
export const pageOf = (
  table: number,
  entries: readonly PageEntry[],
  mode: PageMode = 'incremental',
): TablePage => {
  const decoded = decodePage(encodePage({ table, mode, entries, blocks: [] }, sha256), sha256);
  if (decoded._tag === 'Left') throw new Error(decoded.left);
  return decoded.right;
};

/** Closing page at version `to` that contains own operations up to `mergedTo`. */
export const closingAt = (to: number, mergedTo: number, tables: readonly number[] = [1, 2]) => ({
  cursor: `cursor-${to}`,
  incarnation: 1,
  to,
  asOfMs: 2_000_000 + to,
  tables,
  mergedTo,
});

/** Downloads pages in one go. */
export const download = async (
  replica: LocalReplica,
  pages: readonly TablePage[],
  to: number,
  mergedTo: number,
  tables?: readonly number[],
): Promise<void> => {
  await replica.staging.begin('pull', replica.meta().cursor);
  await replica.staging.put(pages, { cursor: `cursor-${to}` });
  await replica.staging.flip(closingAt(to, mergedTo, tables));
};

/** Code of the error that work rejects with; 'none' when it resolves. */
export const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'none';
};

type Write = (this: unknown, ...batch: unknown[]) => Promise<void>;

/** Disk in memory whose writes are counted, and of which some may fail. */
export class CountedDisk extends MemoryLevel<Uint8Array, Uint8Array> {
  writes = 0;
  /** Numbers of the writes that fail. */
  failing: readonly number[] = [];
  /** True: what fails is stored all the same. */
  losesAnswers = false;

  constructor() {
    super({ keyEncoding: 'view', valueEncoding: 'view', storeEncoding: 'view' });
  }

  /** The hook below all batches, which abstract-level leaves to its implementations. */
  async _batch(...batch: unknown[]): Promise<void> {
    const { _batch } = MemoryLevel.prototype as unknown as { _batch: Write };
    this.writes += 1;
    const fails = this.failing.includes(this.writes);
    if (!fails || this.losesAnswers) await _batch.apply(this, batch);
    if (fails) throw Object.assign(new Error('the disk failed'), { code: 'LEVEL_IO_ERROR' });
  }
}
