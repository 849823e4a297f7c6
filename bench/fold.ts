// What the fold costs per operation on real files: creates, then rounds of updates by the author's own chain, one
// operation to a transaction and 100 transactions to an envelope, four devices in turn. The floor program hashes
// the same input and writes it. Run: node bench/dist/fold.js [operations]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { encodeInputEntry, openFold, type InputEntry } from '@tidemark/merger';
import type { Customization } from '@tidemark/model';
import { nodeCrypto } from '@tidemark/node';
import type { Marker } from '@tidemark/ports';
import { openInputLog, openServerStore } from '@tidemark/store-level';
import { DeviceLog, sketchTransaction } from '@tidemark/testkit';
import { ClassicLevel } from 'classic-level';
import { MemoryLevel } from 'memory-level';

const operations = Number(process.argv[2] ?? 20_000);
const perEnvelope = 100;
const devices = 4;
const hash = nodeCrypto.sha256;

const memory = (): MemoryLevel<Uint8Array, Uint8Array> =>
  new MemoryLevel({ keyEncoding: 'view', valueEncoding: 'view' });

const marker = (): Marker => {
  let bytes: Uint8Array | undefined;
  return {
    read: () => Promise.resolve(bytes),
    write: (next) => {
      bytes = next;
      return Promise.resolve();
    },
  };
};

const customization: Customization = {
  format: 1,
  version: 1,
  tables: [
    {
      id: 1,
      name: 'visits',
      rule: 'server-wins',
      onDelete: 'edit-wins',
      indexes: [],
      scopeKey: 'area',
      fields: [
        { id: 1, name: 'area', type: 'string' },
        { id: 2, name: 'status', type: 'string' },
        { id: 3, name: 'count', type: 'counter' },
        { id: 4, name: 'notes', type: 'string' },
        { id: 5, name: 'rank', type: 'number', rule: 'latest-wins' },
      ],
    },
  ],
};

const clock = { now: 1_700_000_000_000 };

/** Log of one device: a create, then updates by its own chain, of `count` records in turn. */
const logOf = (device: number, count: number, rounds: number): DeviceLog => {
  const log = new DeviceLog({ replica: `device${device}`, user: `user${device}`, hash });
  const idOf = (i: number): string =>
    `018bcfe5-6800-7000-8${device}00-${String(i).padStart(12, '0')}`;
  for (let i = 0; i < count; i += 1)
    log.append(
      sketchTransaction([
        {
          table: 1,
          record: idOf(i),
          kind: 'create',
          set: [
            { field: 1, before: null, after: `area${i % 20}` },
            { field: 2, before: null, after: 'new' },
            {
              field: 4,
              before: null,
              after: `a note of some length that a person wrote, number ${i}`,
            },
            { field: 5, before: null, after: i },
          ],
        },
      ]),
    );
  for (let round = 1; round <= rounds; round += 1)
    for (let i = 0; i < count; i += 1)
      log.append(
        sketchTransaction([
          {
            table: 1,
            record: idOf(i),
            kind: 'update',
            prev: count,
            set: [{ field: 2, before: round === 1 ? 'new' : `s${round - 1}`, after: `s${round}` }],
            inc: [{ field: 3, by: 1 }],
          },
        ]),
      );
  return log;
};

const rounds = 3;
const perDevice = Math.floor(operations / devices / (rounds + 1));
const entries: InputEntry[] = [{ kind: 'customization', by: 'admin', json: customization }];
const logs = Array.from({ length: devices }, (_, i) => logOf(i, perDevice, rounds));
const callerOf = (log: DeviceLog) => ({ tenant: 'acme', replica: log.replica, user: log.user });
for (const log of logs)
  entries.push({
    kind: 'grant',
    caller: callerOf(log),
    request: {
      epoch: 0,
      provisional: `p-${log.replica}`,
      continues: { index: 0, head: '0'.repeat(64) },
      origin: null,
    },
  });
for (let from = 1; from <= perDevice * (rounds + 1); from += perEnvelope)
  for (const log of logs) {
    const to = Math.min(log.lastIndex, from + perEnvelope - 1);
    if (to >= from)
      entries.push({ kind: 'envelope', caller: callerOf(log), envelope: log.envelope(from, to) });
  }

const input = await openInputLog({
  database: memory(),
  marker: marker(),
  hash,
  clock: { nowMs: () => clock.now },
});
const bytes = entries.map(encodeInputEntry);
for (const one of bytes) {
  clock.now += 1;
  await input.append([one]);
}

interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

const costOf = async (run: () => Promise<unknown>): Promise<Cost> => {
  const start = performance.now();
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return { wallMs: performance.now() - start, cpuMs: (user + system) / 1000 };
};

const total = perDevice * (rounds + 1) * devices;
const say = (name: string, { wallMs, cpuMs }: Cost): void => {
  const each = (ms: number): string => ((1000 * ms) / total).toFixed(1);
  process.stdout.write(
    `${name}: ${total} operations in ${wallMs.toFixed(0)} ms; each ${each(wallMs)} us, ${each(cpuMs)} us of CPU\n`,
  );
};

const folder = await mkdtemp(join(tmpdir(), 'tidemark-fold-'));
const open = (name: string): ClassicLevel<Uint8Array, Uint8Array> =>
  new ClassicLevel(join(folder, name), { keyEncoding: 'view', valueEncoding: 'view' });

const digests = new Set<string>();
for (let pass = 1; pass <= 3; pass += 1) {
  const store = await openServerStore({ database: open(`pass${pass}`), marker: marker(), hash });
  const crdt = () => loadAutomergeCrdt({ hash });
  const fold = await openFold({ tenant: 'acme', store, input, crypto: nodeCrypto, crdt });
  say(`pass ${pass}`, await costOf(() => fold.advance()));
  digests.add(fold.state().digest);
  await store.close();
}
const floor = open('floor');
await floor.open();
say(
  'floor (hash and write the input)',
  await costOf(async () => {
    for (const one of bytes) await floor.put(hash(one), one);
  }),
);
await floor.close();
await rm(folder, { recursive: true });
if (digests.size !== 1) throw new Error('the passes gave different digests');
