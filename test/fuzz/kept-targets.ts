import { openLocalReplica, type LocalReplica } from '@tidemark/client';
import { compressionNow } from '@tidemark/crypto-node';
import {
  decodePack,
  decodeParkedTransaction,
  encodeParkedTransaction,
  makePack,
  openPack,
  type ParkedTransaction,
} from '@tidemark/merger';
import {
  checkBlock,
  encodeRow,
  openBlock,
  packBlocks,
  rowsOfBlock,
  type RowBlock,
} from '@tidemark/model';
import type { Marker, ServerBatch, ServerStore } from '@tidemark/ports';
import { openReplicaStore, openServerStore } from '@tidemark/store-level';
import { count, recordId, replicaId, row, text } from '@tidemark/testkit';
import fc from 'fast-check';
import {
  crdt,
  crypto,
  memoryDatabase,
  memoryMarker,
  type MemoryDatabase,
} from '../convergence/memory-parts.js';
import { customizationOf } from '../convergence/tables.js';
import {
  Broken,
  coded,
  codedLater,
  drawn,
  expectBytes,
  framed,
  headed,
  plain,
  type Core,
  type FuzzTarget,
  type Sample,
} from './target.js';

const hash = crypto.sha256;
const nothing = new Uint8Array(0);
const table = 1;

/** What lies behind a part with a length of four bytes at `lengthAt`. */
const behind = (bytes: Uint8Array, lengthAt: number): Core => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const from = lengthAt + 4 + view.getUint32(lengthAt);
  return {
    bytes: bytes.slice(from),
    dress: (core) => Buffer.concat([bytes.subarray(0, from), core]),
  };
};

const parkedTransaction: fc.Arbitrary<ParkedTransaction> = fc.record({
  ...{ root: text(), author: fc.constantFrom('device', 'backend'), replica: replicaId },
  ...{ epoch: count, user: text(), indexes: fc.array(count, { maxLength: 4 }) },
  ...{ schemaVersion: count, receivedAt: count, offsetMs: count },
  ...{ foreignModifiedOn: fc.option(count), poison: fc.boolean() },
  payload: fc.uint8Array({ maxLength: 60 }),
});

const parkedTransactions: FuzzTarget = {
  name: 'parked-transaction',
  samples: (seed) =>
    drawn(parkedTransaction, seed).map((one) => {
      const bytes = encodeParkedTransaction(one);
      return { bytes, cores: [framed(bytes, 1, 4), behind(bytes, 1)] };
    }),
  read: (bytes) =>
    coded(() => {
      const again = encodeParkedTransaction(decodeParkedTransaction(bytes));
      expectBytes(
        'a parked transaction',
        again,
        encodeParkedTransaction(decodeParkedTransaction(again)),
      );
    }),
};

const blocksOf = (seed: number): readonly RowBlock[] =>
  drawn(
    fc.uniqueArray(fc.record({ id: recordId, value: row.map(encodeRow) }), {
      ...{ minLength: 1, maxLength: 5, selector: ({ id }) => id },
    }),
    seed,
  ).flatMap((rows) =>
    packBlocks(
      rows
        .map((one) => ({ ...one, bytes: Buffer.from(one.id, 'utf8') }))
        .sort((a, b) => Buffer.compare(a.bytes, b.bytes)),
    ),
  );
const blockSamples = (seed: number): readonly Sample[] =>
  blocksOf(seed).map(({ bytes }) => ({
    ...headed(bytes, 3),
    cores: [...plain(bytes).cores, ...headed(bytes, 3).cores],
  }));

const rowBlocks: FuzzTarget = {
  name: 'row-block',
  samples: blockSamples,
  read: (bytes) => {
    const checked = checkBlock(bytes, nothing);
    // Whoever opens stored bytes without a check before must be told, too.
    if (checked === undefined) return coded(() => void rowsOfBlock(bytes));
    const rows = rowsOfBlock(bytes);
    if (rows.length !== checked.count) throw new Broken('a block that was checked opens otherwise');
    return coded(() => {
      const again = packBlocks(rows);
      if (again.length === 1) expectBytes('a block', bytes, again[0]?.bytes ?? nothing);
    });
  },
};

const packSeeds = 4;
const packParts = { hash, compression: compressionNow };

/** Packs that a server prepared, behind their seal: as they are, and packed. */
const preparedPacks = async (): Promise<FuzzTarget> => {
  const samples: Sample[] = [];
  for (let seed = 1; seed <= packSeeds; seed += 1)
    for (const block of blocksOf(seed))
      for (const packedBytesMin of [1, Number.POSITIVE_INFINITY]) {
        const first = openBlock(block.bytes).ids[0] ?? nothing;
        const bytes = await makePack(packParts, table, [block], first, packedBytesMin);
        samples.push({
          ...headed(bytes, 11),
          cores: [...plain(bytes).cores, ...headed(bytes, 11).cores],
        });
      }
  return {
    name: 'prepared-pack',
    samples: () => samples,
    read: (bytes) =>
      codedLater(async () => {
        const pack = decodePack(bytes);
        const blocks = await openPack(packParts, table, pack);
        for (const { bytes: block } of blocks) rowsOfBlock(block);
      }),
  };
};

const openServer = (database: MemoryDatabase): Promise<ServerStore> =>
  openServerStore({ database, marker: memoryMarker(), hash });

const commitOf = (records: ServerBatch['records']): ServerBatch => ({
  state: Uint8Array.of(1),
  ...{ records, prune: [], feed: [], ledger: [], entries: [] },
});

/** A record's value as it lies in the database: LevelDB hands out what damaged files hold. */
const serverRecords = async (): Promise<FuzzTarget> => {
  const database = memoryDatabase();
  const store = await openServer(database);
  const samples: Sample[] = [];
  let key: Uint8Array = nothing;
  for (const one of drawn(row, 7)) {
    const value = encodeRow(one);
    const record = {
      id: 'r',
      version: { incarnation: 1, n: 5 },
      ...{ deleted: false, row: value, extra: Uint8Array.of(1, 2, 3) },
    };
    await store.commit(commitOf([{ table, record }]), 'os');
    for await (const [found, bytes] of database.iterator())
      if (Buffer.from(bytes).includes(Buffer.from(value))) {
        key = found;
        samples.push({
          bytes,
          cores: [...plain(bytes).cores, framed(bytes, 12, 4), behind(bytes, 12)],
        });
      }
  }
  return {
    name: 'server-record',
    isCostly: true,
    samples: () => samples,
    read: (bytes) =>
      codedLater(async () => {
        await database.put(key, bytes);
        const [found] = await store.getRecords(table, ['r']);
        if (found === undefined) throw new Broken('a record is not there');
        expectBytes('row and extra', bytes.slice(16), Buffer.concat([found.row, found.extra]));
      }),
  };
};

const frameHead = 21;

/** Frames of a dump around any content: counts and digests are made anew. */
const dumpAround = (content: Uint8Array, end: Uint8Array, header: Uint8Array): Uint8Array => {
  let digest: Uint8Array = new Uint8Array(32);
  const frame = (kind: number, body: Uint8Array): Uint8Array => {
    const head = new Uint8Array(frameHead);
    head[0] = kind;
    new DataView(head.buffer).setUint32(1, body.length);
    digest = hash(Buffer.concat([digest, head.subarray(0, 5), body]));
    head.set(digest.subarray(0, 16), 5);
    return Buffer.concat([head, body]);
  };
  const first = frame(1, header);
  const second = frame(2, content);
  return Buffer.concat([first, second, frame(3, Buffer.concat([end.subarray(0, 12), digest]))]);
};

/** Dumps of a store as checkpoints hold them, loaded into another store. */
const checkpointDumps = async (): Promise<FuzzTarget> => {
  const from = await openServer(memoryDatabase());
  const into = await openServer(memoryDatabase());
  const dumped = async (store: ServerStore): Promise<Uint8Array> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.dump()) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  const samples: Sample[] = [];
  for (const [n, one] of drawn(row, 11).entries()) {
    const record = {
      id: `r${n}`,
      version: { incarnation: 1, n: n + 1 },
      ...{ deleted: false, row: encodeRow(one), extra: nothing },
    };
    await from.commit(commitOf([{ table, record }]), 'os');
    const bytes = await dumped(from);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const contentAt = frameHead + view.getUint32(1);
    const contentLength = view.getUint32(contentAt + 1);
    const header = bytes.subarray(frameHead, contentAt);
    const content = bytes.slice(contentAt + frameHead, contentAt + frameHead + contentLength);
    const end = bytes.subarray(contentAt + 2 * frameHead + contentLength);
    samples.push({
      bytes,
      cores: [{ bytes: content, dress: (core) => dumpAround(core, end, header) }],
    });
  }
  return {
    name: 'checkpoint-dump',
    isCostly: true,
    samples: () => samples,
    read: (bytes) =>
      codedLater(async () => {
        // In pieces: where a chunk ends means nothing.
        const middle = bytes.length >> 1;
        await into.load(
          (async function* pieces() {
            yield await Promise.resolve(bytes.subarray(0, middle));
            yield bytes.subarray(middle);
          })(),
        );
        // What it took it holds; keys that come twice or out of order are no other content.
        await dumped(into);
      }),
  };
};

const openReplica = async (
  database: MemoryDatabase,
  marker: Marker,
): Promise<{ readonly replica: LocalReplica; readonly close: () => Promise<void> }> => {
  const opened = await openReplicaStore({ database, marker, hash });
  const { store } = opened;
  try {
    const replica = await openLocalReplica({
      ...{ tenant: 'acme', user: 'ada', replica: 'device', customization: customizationOf(1) },
      ...{ store, marker: opened.marker, clock: { nowMs: () => 1_000_000 }, crypto, crdt },
      entropy: { bytes: (length) => new Uint8Array(length).fill(7) },
    });
    return { replica, close: () => replica.close().then(() => store.close()) };
  } catch (cause) {
    await store.close();
    throw cause;
  }
};

/** Bytes of a marker with a checksum that fits. */
const checked = (body: Uint8Array): Uint8Array => Buffer.concat([body, hash(body).subarray(0, 8)]);
/** Format, flags, id of the store, ordinal. */
const markerHead = 1 + 1 + 16 + 6;

/** The marker beside a device's database: whatever it holds, the replica opens or says why not. */
const markers = async (): Promise<FuzzTarget> => {
  const database = memoryDatabase();
  const marker = memoryMarker();
  const first = await openReplica(database, marker);
  await first.replica.create('manual', { a: 'x' }, { id: 'r' });
  await first.replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
  await first.replica.markPublished(1);
  await first.close();
  const bytes = (await marker.read()) ?? nothing;
  const body = bytes.slice(0, -8);
  const head = body.subarray(0, markerHead);
  const sample: Sample = {
    bytes,
    cores: [
      { bytes: body, dress: checked },
      {
        bytes: body.slice(markerHead),
        dress: (core) => checked(Buffer.concat([head, core])),
      },
    ],
  };
  return {
    name: 'marker',
    isCostly: true,
    samples: () => [sample],
    read: (mutant) =>
      codedLater(async () => {
        const found: Marker = {
          read: () => Promise.resolve(mutant),
          write: () => Promise.resolve(),
        };
        const { replica, close } = await openReplica(database, found);
        const { lastIndex } = replica.logEnd();
        await close();
        if (lastIndex !== 1) throw new Broken('a marker changed the log');
      }),
  };
};

/** Views of records with pending operations, stored under the store's own seal, and read again. */
const pendingViews = async (): Promise<FuzzTarget> => {
  const database = memoryDatabase();
  const { store, marker } = await openReplicaStore({ database, marker: memoryMarker(), hash });
  const replica = await openLocalReplica({
    ...{ tenant: 'acme', user: 'ada', replica: 'device', customization: customizationOf(1) },
    ...{ store, marker, clock: { nowMs: () => 1_000_000 }, crypto, crdt },
    entropy: { bytes: (length) => new Uint8Array(length).fill(9) },
  });
  const [layer] = replica.meta().layers;
  if (layer === undefined) throw new Error('an image has a layer');
  const manual = replica.schema().tablesByName.get('manual');
  if (manual === undefined) throw new Error('there is no such table');
  const samples: Sample[] = [];
  for (const value of ['x', '', 'é\u0000', 'long '.repeat(60)]) {
    const id = `r${samples.length}`;
    await replica.create('manual', { a: value }, { id });
    await replica.increment('manual', id, 'count', 3);
    await replica.update('manual', id, { note: value });
    const [bytes] = await store.getRows('view', manual.id, [id], [layer]);
    if (bytes === undefined) throw new Error('an edit leaves a view');
    samples.push({
      bytes: bytes.slice(),
      cores: [...plain(bytes.slice()).cores, framed(bytes, 1, 4), behind(bytes, 1)],
    });
  }
  return {
    name: 'pending-view',
    isCostly: true,
    samples: () => samples,
    read: (value) =>
      codedLater(async () => {
        const place = { space: 'view', layer, table: manual.id, id: 'mutant' } as const;
        await store.write({ puts: [{ ...place, value }] }, 'os');
        await replica.get('manual', 'mutant');
      }),
  };
};

/** Names of what stores keep: reading it needs stores, which `keptTargets` opens. */
export const keptNames = [
  'parked-transaction',
  'row-block',
  'prepared-pack',
  'server-record',
  'checkpoint-dump',
  'marker',
  'pending-view',
] as const;

/** Decoders of what stores keep, as far as they read it through their databases. */
export const keptTargets = async (): Promise<readonly FuzzTarget[]> => [
  parkedTransactions,
  rowBlocks,
  await preparedPacks(),
  await serverRecords(),
  await checkpointDumps(),
  await markers(),
  await pendingViews(),
];
