import { compareBytes, InvariantViolation, TidemarkError, type Hash } from '@tidemark/model';
import type { Marker, ServerBatch, ServerStore, StoreDamage } from '@tidemark/ports';
import { del, plain, put, type Database } from './database.js';
import { GroupWriter } from './group-writer.js';
import { openDatabase } from './open-database.js';
import { createPreparedPacks } from './prepared-packs.js';
import { printRanges, type RingState } from './ordinal-ring.js';
import { prepareCommit, readTotals, type Totals } from './server-commit.js';
import { dumpStore } from './server-dump.js';
import { getEntries, scanEntries } from './server-entries.js';
import { entryKey, stateKey } from './server-keys.js';
import { emptyStore, loadStore, loadWasInterrupted, markLoading } from './server-load.js';
import { openMarker, type OpenMarker } from './server-marker.js';
import { createServerReads, guardedRead, type ReadGuard } from './server-reads.js';
import { getRecords, scanRecords } from './server-records.js';
import { getFeedSegments, scanOutlines, scanSegments } from './server-segments.js';
import { guarded } from './storage-error.js';

/** Newest format of a server store that this version reads and writes. */
export const serverStoreFormat = 2;

/** What a server store is opened on. */
export interface ServerStoreOptions {
  /** Database with `view` encodings of keys and values. */
  readonly database: Database;
  /** Small record beside the database that outlives its loss. */
  readonly marker: Marker;
  readonly hash: Hash;
}

/**
 * Opens the server store of a database; an empty database becomes a new store.
 *
 * Batches that LevelDB lost are told in `damage`, at every open until the store is loaded anew. A load
 * that was interrupted is told there once, and the store is emptied. Rejects with `store-missing`,
 * `storage-damaged`, `newer-format`, `folder-in-use`, `storage-unavailable`.
 */
export const openServerStore = (options: ServerStoreOptions): Promise<ServerStore> =>
  guarded(async () => {
    const { database, hash } = options;
    const marker = await openMarker(options.marker, hash);
    const opened = await openDatabase({
      database,
      kind: 'server',
      format: serverStoreFormat,
      expectedId: marker.expectedId,
    });
    return createServerStore({ ...opened, marker, hash, damage: [] });
  });

/** Parts of a server store whose database is open. */
export interface OpenedServerStore {
  readonly database: Database;
  readonly marker: OpenMarker;
  readonly hash: Hash;
  readonly storeId: Uint8Array;
  readonly ring: RingState;
  /** Damage found while the database was opened. */
  readonly damage: readonly StoreDamage[];
}

/** Builds the server store of an open database. */
export const createServerStore = async (parts: OpenedServerStore): Promise<ServerStore> => {
  const { database, marker, hash, ring, storeId } = parts;
  let totals: Totals = await readTotals(database);
  const reload = async (): Promise<void> => {
    totals = await readTotals(database);
  };
  const writer = new GroupWriter({
    database,
    ring,
    ordinalAtLeast: marker.ordinal,
    onReopened: reload,
  });
  const keeper = await marker.attach(storeId, () => writer.durableOrdinal);
  const damage = [...parts.damage];
  if (await loadWasInterrupted(database)) {
    await emptyStore(database, writer);
    await reload();
    damage.push({ kind: 'server', where: 'a load was interrupted: emptied', count: 1 });
  } else {
    damage.push(...ringDamage(ring, marker.ordinal));
  }

  /** A load failed, and so did the emptying behind it: what is stored is a part of something, for nobody to read. */
  let isPart = false;
  const refusePart = (): void => {
    if (isPart)
      throw new TidemarkError('storage-unavailable', 'the store holds a part of a checkpoint');
  };
  const guard: ReadGuard = {
    ready: () => {
      refusePart();
      return writer.ready();
    },
    onCorruption: () => keeper.wantRepair(),
  };
  const reads = createServerReads(database, guard);
  let busy = false;
  /** A commit failed: it may have been stored all the same, and come again. */
  let uncertain = false;
  let dropping: Promise<void> | undefined;
  /** Empties a store that holds a part; calls at one time share it. */
  const dropPart = async (): Promise<void> => {
    if (!isPart) return;
    dropping ??= (async () => {
      await emptyStore(database, writer);
      isPart = false;
      await reload();
    })().finally(() => {
      dropping = undefined;
    });
    await dropping;
  };
  /** Commits and loads change what is kept in memory: the port promises one at a time. */
  const alone = async <A>(work: () => Promise<A>): Promise<A> => {
    if (busy) throw new InvariantViolation('a commit or load of the server store is in flight');
    busy = true;
    try {
      return await guarded(async () => {
        await writer.recover();
        await dropPart();
        return work();
      });
    } finally {
      busy = false;
    }
  };

  return {
    damage,
    readState: () =>
      guarded(async () => {
        await dropPart();
        return guardedRead(guard, async () => {
          const state = await database.get(stateKey());
          return state === undefined ? undefined : plain(state);
        });
      }),
    getRecords: (table, ids) => getRecords(reads, table, ids),
    scanRecords: (table, scan) => scanRecords(reads, table, scan),
    getEntries: (space, keys) => getEntries(reads, space, keys),
    scanEntries: (space, scan) => scanEntries(reads, space, scan),
    scanSegments: (kind, scan) => scanSegments(reads, kind, totals[kind], scan),
    scanOutlines: (scan) => scanOutlines(reads, totals.feed, scan),
    getFeedSegments: (incarnation, places) => getFeedSegments(reads, incarnation, places),
    feedExtent: () => Promise.resolve({ segments: totals.feed.segments, bytes: totals.feed.bytes }),
    commit: (batch, durability) =>
      alone(async () => {
        await requireState(database, batch, uncertain);
        const prepared = await prepareCommit(reads, totals, batch, uncertain);
        uncertain = true;
        await writer.write(prepared.operations, durability);
        uncertain = false;
        totals = prepared.totals;
      }),
    putEntries: (entries) =>
      writer.write(
        entries.map(({ space, key, value }) =>
          value === null ? del(entryKey(space, key)) : put(entryKey(space, key), value),
        ),
        'os',
      ),
    prepared: createPreparedPacks(database, writer, reads, guard),
    sync: () => writer.sync(),
    dump: () => {
      refusePart();
      return dumpStore(database, hash);
    },
    load: (chunks) =>
      alone(async () => {
        await markLoading(writer);
        try {
          await loadStore(database, writer, chunks, hash);
        } catch (cause) {
          isPart = true;
          await dropPart();
          throw cause;
        } finally {
          await reload();
        }
      }),
    reads: () => ({ ...reads.counters }),
    close: () =>
      guarded(async () => {
        try {
          await writer.sync();
          await keeper.recordOrdinal();
        } finally {
          await writer.close();
          await database.close();
        }
      }),
  };
};

/** Refuses a batch that was made from another state than the stored one: two folds would mix. */
const requireState = async (
  database: Database,
  { after, state }: ServerBatch,
  mayComeAgain: boolean,
): Promise<void> => {
  if (after === undefined) return;
  const value = await database.get(stateKey());
  const stored = value === undefined ? null : plain(value);
  const isAt = (one: Uint8Array | null): boolean =>
    stored === null || one === null ? stored === one : compareBytes(stored, one) === 0;
  if (isAt(after) || (mayComeAgain && isAt(state))) return;
  throw new TidemarkError('input-mismatch', 'the store holds another state than was folded from', {
    reason: 'moved',
  });
};

/** Batches that the ring or the marker miss. */
const ringDamage = (ring: RingState, markerOrdinal: number): readonly StoreDamage[] => {
  const damage: StoreDamage[] = [];
  if (ring.lostCount > 0)
    damage.push({
      kind: 'server',
      where: `batches ${printRanges(ring.lost)}`,
      count: ring.lostCount,
    });
  if (markerOrdinal > ring.head)
    damage.push({
      kind: 'server',
      where: `batches ${ring.head + 1}..${markerOrdinal} at the end`,
      count: markerOrdinal - ring.head,
    });
  return damage;
};
