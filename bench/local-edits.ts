// What edits, openings and flips of a device cost on real files, beside a floor program that writes the
// same number of values. Run: node bench/dist/local-edits.js [edits|transactions|open|flip|fill]...
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalReplica, type LocalReplica } from '@tidemark/client';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { defineSchema, encodeRow, field } from '@tidemark/model';
import { nodeCrypto, systemClock, systemEntropy } from '@tidemark/node';
import type { TablePage } from '@tidemark/protocol';
import { openReplicaFolder } from '@tidemark/store-level/node';
import { ClassicLevel } from 'classic-level';

const schema = defineSchema({
  version: 1,
  tables: {
    places: {
      id: 1,
      fields: {
        name: field.string(1),
        country: field.string(2),
        population: field.number(3),
        lat: field.number(4),
        lon: field.number(5),
      },
      indexes: { byCountry: ['country'] },
    },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const rssMb = (): number => Math.round(process.memoryUsage.rss() / 1_000_000);

interface Opened {
  readonly replica: LocalReplica;
  readonly close: () => Promise<void>;
}

const open = async (folder: string): Promise<Opened> => {
  const { store, marker } = await openReplicaFolder(folder, { hash: nodeCrypto.sha256 });
  const replica = await openLocalReplica({
    tenant: 'bench',
    user: 'bench',
    customization: schema.customization,
    store,
    marker,
    clock: systemClock,
    entropy: systemEntropy,
    crypto: nodeCrypto,
    crdt: () => loadAutomergeCrdt({ hash: nodeCrypto.sha256 }),
  });
  return {
    replica,
    close: async () => {
      await replica.close();
      await store.close();
    },
  };
};

const inFolder = async (work: (folder: string) => Promise<void>): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

interface Spent {
  readonly ms: number;
  /** Processor time of all threads: tells more than the clock where others use the machine too. */
  readonly cpuMs: number;
}

const timed = async (work: () => Promise<void>): Promise<Spent> => {
  const start = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { ms: performance.now() - start, cpuMs: (user + system) / 1_000 };
};

const rate = (name: string, count: number, { ms, cpuMs }: Spent): void =>
  say(
    `${name}: ${count} in ${ms.toFixed(0)} ms, ${Math.round((count / ms) * 1_000)}/s, ` +
      `${((cpuMs / count) * 1_000).toFixed(1)} us of processor each`,
  );

const idOf = (i: number): string => `place-${String(i).padStart(7, '0')}`;
const fieldsOf = (i: number) => ({
  1: `Place number ${i}`,
  2: `C${i % 200}`,
  3: (i * 7919) % 1_000_000,
  4: (i % 180) - 90,
  5: (i % 360) - 180,
});

const pageRows = 1_000;
const pageAt = (from: number, to: number, n: number): TablePage => {
  const entries: TablePage['entries'][number][] = [];
  for (let i = from; i < to; i += 1) {
    const version = { incarnation: 1, n };
    const row = encodeRow({
      version,
      born: `server/1/${i + 1}`,
      modifiedOn: 1_000,
      modifiedBy: 'server',
      createdOn: 1_000,
      owner: 'server',
      fields: fieldsOf(i),
      docs: {},
      editedAt: {},
    });
    entries.push({ kind: 'upsert', id: idOf(i), version, row });
  }
  return { table: 1, mode: 'full', entries };
};

const fill = async (replica: LocalReplica, rows: number): Promise<void> => {
  await replica.staging.begin('pull', null);
  for (let from = 0; from < rows; from += pageRows)
    await replica.staging.put([pageAt(from, Math.min(rows, from + pageRows), 1)], {
      cursor: `at-${from}`,
    });
  await replica.staging.flip({
    cursor: 'end',
    incarnation: 1,
    to: 1,
    asOfMs: 1_000,
    tables: [1],
    mergedTo: 0,
  });
  while (!(await replica.fold(16)));
};

const floor = async (count: number, perBatch: number): Promise<void> =>
  inFolder(async (folder) => {
    const db = new ClassicLevel<Uint8Array, Uint8Array>(folder, {
      keyEncoding: 'view',
      valueEncoding: 'view',
    });
    await db.open();
    const entry = new Uint8Array(260);
    const ms = await timed(async () => {
      for (let i = 0; i < count; i += perBatch) {
        const operations = [];
        for (let k = 0; k < perBatch; k += 1)
          operations.push({
            type: 'put' as const,
            key: new TextEncoder().encode(idOf(i + k)),
            value: entry,
          });
        const log = { type: 'put' as const, key: new Uint8Array([0, i >> 16, i >> 8, i]) };
        operations.push({ ...log, value: new Uint8Array(220 * perBatch) });
        await db.batch(operations);
      }
    });
    await db.close();
    rate(`  floor (puts of the same bytes, ${perBatch} a batch)`, count, ms);
  });

const shuffled = (count: number): number[] => {
  const out = Array.from({ length: count }, (_, i) => i);
  let seed = 42;
  for (let i = count - 1; i > 0; i -= 1) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    const k = seed % (i + 1);
    [out[i], out[k]] = [out[k] as number, out[i] as number];
  }
  return out;
};

const edits = (): Promise<void> =>
  inFolder(async (folder) => {
    const { replica, close } = await open(folder);
    await fill(replica, 20_000);
    const count = 20_000;
    const order = shuffled(count);
    rate(
      'updates one by one, other records',
      count,
      await timed(async () => {
        for (const i of order) await replica.update('places', idOf(i), { population: i });
      }),
    );
    rate(
      'updates one by one, same 100 records',
      count,
      await timed(async () => {
        for (let i = 0; i < count; i += 1)
          await replica.update('places', idOf(i % 100), { lat: i % 91 });
      }),
    );
    rate(
      'creates one by one',
      count,
      await timed(async () => {
        for (let i = 0; i < count; i += 1)
          await replica.create('places', { name: `new ${i}`, country: 'X', population: i });
      }),
    );
    rate(
      'updates 64 at a time without waiting',
      count,
      await timed(async () => {
        for (let i = 0; i < count; i += 64)
          await Promise.all(
            order
              .slice(i, i + 64)
              .map((at) => replica.update('places', idOf(at), { population: at + 1 })),
          );
      }),
    );
    await close();
    await floor(count, 1);
  });

const transactions = (): Promise<void> =>
  inFolder(async (folder) => {
    const { replica, close } = await open(folder);
    await fill(replica, 20_000);
    const count = 40_000;
    const order = shuffled(20_000);
    rate(
      'updates in transactions of 100',
      count,
      await timed(async () => {
        for (let i = 0; i < count; i += 100)
          await replica.transaction(async (edit) => {
            for (let k = 0; k < 100; k += 1)
              await edit.update('places', idOf(order[(i + k) % 20_000] as number), {
                population: i + k,
              });
          });
      }),
    );
    rate(
      'creates in transactions of 100',
      count,
      await timed(async () => {
        for (let i = 0; i < count; i += 100)
          await replica.transaction(async (edit) => {
            for (let k = 0; k < 100; k += 1)
              await edit.create('places', { name: `new ${i + k}`, country: 'X', population: i });
          });
      }),
    );
    await close();
    await floor(count, 100);
  });

const prepare = async (folder: string, pending: number): Promise<void> => {
  const { replica, close } = await open(folder);
  await fill(replica, Math.min(pending, 20_000));
  for (const i of shuffled(pending))
    await replica.update('places', idOf(i % 20_000), { population: i });
  await close();
};

const opening = (): Promise<void> =>
  inFolder(async (folder) => {
    await prepare(folder, 20_000);
    for (let round = 0; round < 3; round += 1) {
      let opened: Opened | undefined;
      const { ms } = await timed(async () => {
        opened = await open(folder);
      });
      say(`open with 20000 pending, each a transaction: ${ms.toFixed(0)} ms`);
      await opened?.close();
    }
  });

const flipWith = (pending: number): Promise<void> =>
  inFolder(async (folder) => {
    await prepare(folder, pending);
    const { replica, close } = await open(folder);
    await replica.staging.begin('pull', 'end');
    for (let from = 0; from < 20_000; from += pageRows)
      await replica.staging.put(
        [{ ...pageAt(from, from + pageRows, 2), mode: 'incremental' as const }],
        { cursor: 'x' },
      );
    const ms = await timed(() =>
      replica.staging.flip({
        cursor: 'y',
        incarnation: 1,
        to: 2,
        asOfMs: 2_000,
        tables: [1],
        mergedTo: 0,
      }),
    );
    rate(`flip that rebases, edited in random order, rss ${rssMb()} MB`, pending, ms);
    await close();
  });

const flips = async (): Promise<void> => {
  for (const pending of [20_000, 100_000]) await flipWith(pending);
};

const fills = (): Promise<void> =>
  inFolder(async (folder) => {
    const { replica, close } = await open(folder);
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, rssMb());
    }, 5);
    const ms = await timed(() => fill(replica, 135_233));
    rate('staged fill', 135_233, ms);
    clearInterval(watch);
    say(`  rss after ${rssMb()} MB, most ${most} MB`);
    await close();
  });

const parts: Readonly<Record<string, () => Promise<void>>> = {
  edits,
  transactions,
  open: opening,
  flip: flips,
  fill: fills,
};
const wanted = process.argv.slice(2).filter((name) => Object.hasOwn(parts, name));
for (const name of wanted.length === 0 ? Object.keys(parts) : wanted) {
  say(`${name}:`);
  await parts[name]?.();
}
