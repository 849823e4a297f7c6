// What merging long texts costs: two devices type into one note offline, one operation to a word, 100 transactions
// to an envelope, and the fold puts both on the server's document, in large windows and in windows of one envelope,
// which must end alike. The floor program hashes the same input and writes it. Each edit more must cost about the
// same: compare 1000 with 4000. Run: node bench/dist/texts.js [edits of each device]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { encodeInputEntry, openFold, type InputEntry, type WindowBounds } from '@tidemark/merger';
import { decodeRow, toHex, type BaseVersion, type Customization } from '@tidemark/model';
import { nodeCrypto } from '@tidemark/node';
import type { FieldCrdt, InputLog, Marker } from '@tidemark/ports';
import { openInputLog, openServerStore } from '@tidemark/store-level';
import { DeviceLog, sketchTransaction } from '@tidemark/testkit';
import { ClassicLevel } from 'classic-level';
import { MemoryLevel } from 'memory-level';

const editsEach = Number(process.argv[2] ?? 1_000);
const perEnvelope = 100;
const hash = nodeCrypto.sha256;
const clock = { now: 1_700_000_000_000 };

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
      name: 'notes',
      rule: 'server-wins',
      onDelete: 'edit-wins',
      indexes: [],
      fields: [{ id: 1, name: 'text', type: 'text' }],
    },
  ],
};

const record = '018bcfe5-6800-7000-8000-000000000001';

const append = async (input: InputLog, entry: InputEntry): Promise<void> => {
  clock.now += 1;
  await input.append([encodeInputEntry(entry)]);
};

const openInput = () =>
  openInputLog({ database: memory(), marker: marker(), hash, clock: { nowMs: () => clock.now } });

const foldInto = async (
  database: ClassicLevel<Uint8Array, Uint8Array> | MemoryLevel<Uint8Array, Uint8Array>,
  input: InputLog,
  window: Partial<WindowBounds> = {},
) => {
  const store = await openServerStore({ database, marker: marker(), hash });
  const crdt = () => loadAutomergeCrdt({ hash });
  const crypto = { sha256: hash };
  return { store, fold: await openFold({ tenant: 'acme', store, input, crypto, crdt, window }) };
};

const logs = [1, 2].map((i) => new DeviceLog({ replica: `device${i}`, user: `user${i}`, hash }));
const callerOf = (log: DeviceLog) => ({ tenant: 'acme', replica: log.replica, user: log.user });

/** Input with a note, and the row as devices see it. */
const startInput = async (): Promise<{ input: InputLog; base: BaseVersion }> => {
  const input = await openInput();
  await append(input, { kind: 'customization', by: 'admin', json: customization });
  for (const log of logs)
    await append(input, {
      kind: 'grant',
      caller: callerOf(log),
      request: {
        epoch: 0,
        provisional: `p-${log.replica}`,
        continues: { index: 0, head: '0'.repeat(64) },
        origin: null,
      },
    });
  const fields = { 1: 'a note' };
  const ops = [{ table: 1, id: record, kind: 'upsert', fields }] as const;
  await append(input, { kind: 'write', user: 'office', ops });
  const { store, fold } = await foldInto(memory(), input);
  await fold.advance();
  const [stored] = await store.getRecords(1, [record]);
  if (stored === undefined) throw new Error('the note was not written');
  const { version, born, modifiedOn } = decodeRow(stored.row);
  await store.close();
  return { input, base: { ...version, born, modifiedOn } };
};

/** Types `count` words into the note, each behind the last, as one device that hears of nothing. */
const typeInto = (crdt: FieldCrdt, log: DeviceLog, base: BaseVersion, count: number): void => {
  const device = logs.indexOf(log);
  const actor = new Uint8Array(16).fill(device + 1);
  let document = crdt.genesis({ tenant: 'acme', table: 1, record, field: 1 }, 'a note');
  for (let i = 0, at = 0; i < count; i += 1) {
    const insert = `${'ab'[device]}${i} `;
    const edit = crdt.spliceText(document, at, 0, insert, actor, clock.now);
    document = edit.document;
    at += insert.length;
    const changes = i === 0 ? crdt.changesOf(document) : edit.changes;
    log.append(
      sketchTransaction([
        {
          table: 1,
          record,
          kind: 'update',
          base,
          prev: Math.min(i, 1),
          crdt: [{ field: 1, changes }],
        },
      ]),
    );
  }
};

interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

const costOf = async (run: () => Promise<unknown> | void): Promise<Cost> => {
  const start = performance.now();
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return { wallMs: performance.now() - start, cpuMs: (user + system) / 1000 };
};

const say = (name: string, operations: number, { wallMs, cpuMs }: Cost): void => {
  const each = (ms: number): string => ((1000 * ms) / operations).toFixed(0);
  process.stdout.write(
    `${name}: ${operations} operations in ${wallMs.toFixed(0)} ms; each ${each(wallMs)} us, ${each(cpuMs)} us of CPU\n`,
  );
};

const folder = await mkdtemp(join(tmpdir(), 'tidemark-texts-'));
const open = (name: string): ClassicLevel<Uint8Array, Uint8Array> =>
  new ClassicLevel(join(folder, name), { keyEncoding: 'view', valueEncoding: 'view' });

const { input, base } = await startInput();
const typist = await loadAutomergeCrdt({ hash });
say(
  'typing',
  2 * editsEach,
  await costOf(() => logs.forEach((log) => typeInto(typist, log, base, editsEach))),
);
for (const log of logs)
  for (let from = 1; from <= editsEach; from += perEnvelope) {
    const to = Math.min(log.lastIndex, from + perEnvelope - 1);
    await append(input, {
      kind: 'envelope',
      caller: callerOf(log),
      envelope: log.envelope(from, to),
    });
  }

const digests = new Set<string>();
const costs: number[] = [];
for (const [name, window] of [
  ['pass 1', {}],
  ['pass 2', {}],
  ['each envelope a window', { messagesMax: 1 }],
] as const) {
  const { store, fold } = await foldInto(open(name), input, window);
  const cost = await costOf(() => fold.advance());
  costs.push(cost.cpuMs);
  say(name, 2 * editsEach, cost);
  const [stored] = await store.getRecords(1, [record]);
  const bytes = stored === undefined ? '' : toHex(hash(stored.row));
  digests.add(`${fold.state().digest} ${bytes} ${JSON.stringify(fold.state().counts)}`);
  await store.close();
}
if (digests.size !== 1) throw new Error('the passes ended differently');

const messages = await input.read({ generation: 1, seq: 0 }, { maxBytes: 1e9, maxMessages: 1e6 });
const floor = open('floor');
await floor.open();
const floorCost = await costOf(async () => {
  for (const { bytes } of messages) await floor.put(hash(bytes), bytes);
});
say('floor (hash and write the input)', 2 * editsEach, floorCost);
process.stdout.write(
  `the fold takes ${(Math.min(...costs) / floorCost.cpuMs).toFixed(0)} times the CPU of the floor\n`,
);
await floor.close();
await rm(folder, { recursive: true });
