import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import {
  decodeFeedSegment,
  decodeLedgerSegment,
  type FoldOptions,
  type InputEntry,
  type LedgerEntry,
} from '@tidemark/merger';
import {
  decodeRow,
  fromBase64,
  resolutionActions,
  utf8Encode,
  type BaseVersion,
  type Operation,
  type RowFields,
  type Value,
} from '@tidemark/model';
import type { FieldCrdt } from '@tidemark/ports';
import type { OperationSketch } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { lawRuns } from '../../law-runs.js';
import { customizationOf, FoldWorld, set, sha256, testTables, type Device } from './fold-world.js';

/** Texts that begin alike are written as changes of each other. */
const long = 'as long as a note '.repeat(6);

const deviceNames = ['a', 'b'] as const;
const recordNames = ['r0', 'r1', 'r2'] as const;

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      tag: fc.constant('edit' as const),
      device: fc.nat(1),
      ops: fc.array(
        fc.record({
          table: fc.integer({ min: 1, max: 2 }),
          record: fc.nat(2),
          kind: fc.constantFrom('create', 'update', 'update', 'update', 'delete', 'text'),
          field: fc.integer({ min: 1, max: 6 }),
          value: fc.constantFrom('x', 'y', 'r0', 'r1', 'too long', 'bad', `${long}a`, `${long}b`),
        }),
        { minLength: 1, maxLength: 3 },
      ),
      apart: fc.boolean(),
      wallMs: fc.nat(300_000),
    }),
  },
  { weight: 5, arbitrary: fc.record({ tag: fc.constant('sync' as const), device: fc.nat(1) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      tag: fc.constant('send' as const),
      device: fc.nat(1),
      back: fc.nat(3),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      tag: fc.constant('server' as const),
      kind: fc.constantFrom('upsert', 'patch', 'delete'),
      table: fc.integer({ min: 1, max: 2 }),
      record: fc.nat(2),
      field: fc.constantFrom(1, 2, 4),
      value: fc.constantFrom('x', 'z', `${long}c`),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      tag: fc.constant('foreign' as const),
      record: fc.nat(2),
      value: fc.constantFrom('x', 'f', `${long}d`),
      status: fc.constantFrom('x', 'g'),
      deleted: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      tag: fc.constant('resolve' as const),
      which: fc.nat(5),
      action: fc.constantFrom(...resolutionActions),
      pick: fc.constantFrom('mine', 'theirs'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ tag: fc.constant('poison' as const), device: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ tag: fc.constant('publish' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      tag: fc.constant('epoch' as const),
      device: fc.nat(1),
      back: fc.nat(2),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface Seen {
  base: BaseVersion | null;
  fields: Record<number, Value>;
  doc: Uint8Array | null;
  last: number;
}

/** Devices that edit what they have seen, and everybody else who writes to the input. */
class Crowd {
  readonly world: FoldWorld;
  readonly crdt: FieldCrdt;
  readonly devices: readonly Device[];
  readonly #seen = new Map<string, Seen>();
  #version = 1;
  #count = 0;

  constructor(world: FoldWorld, crdt: FieldCrdt, devices: readonly Device[]) {
    this.world = world;
    this.crdt = crdt;
    this.devices = devices;
  }

  #seenBy(device: number, table: number, record: string): Seen {
    const key = `${device}/${table}/${record}`;
    let seen = this.#seen.get(key);
    if (seen === undefined) {
      seen = { base: null, fields: {}, doc: null, last: 0 };
      this.#seen.set(key, seen);
    }
    return seen;
  }

  async run(one: Step): Promise<void> {
    this.#count += 1;
    switch (one.tag) {
      case 'edit':
        this.#edit(one);
        return;
      case 'sync':
        return this.#sync(one.device);
      case 'send': {
        const { log } = this.devices[one.device] as Device;
        const from = log.transactions[Math.max(0, log.transactions.length - 1 - one.back)];
        if (from !== undefined)
          await this.world.append((this.devices[one.device] as Device).envelope(from.first));
        return;
      }
      case 'server':
        return this.#serverWrite(one);
      case 'foreign':
        return this.world.append({
          kind: 'foreign',
          backend: 'crm',
          rows: [
            {
              table: 1,
              id: recordNames[one.record] as string,
              fields: { 1: one.value, 2: one.status },
              modifiedOn: this.world.clock.now,
              deleted: one.deleted,
            },
          ],
        });
      case 'resolve':
        return this.#resolve(one);
      case 'poison':
        (this.devices[one.device] as Device).log.appendPayload(utf8Encode('[]'), 1);
        return;
      case 'publish':
        return this.#publish();
      case 'epoch':
        return this.#newEpoch(one.device, one.back);
    }
  }

  #edit(one: Extract<Step, { tag: 'edit' }>): void {
    const device = this.devices[one.device] as Device;
    const first = device.log.lastIndex + 1;
    const ops = one.ops.map((op, i) => this.#operation(one.device, first + i, op));
    device.log.append({
      schemaVersion: 1,
      hlc: { wallMs: one.wallMs, counter: 0 },
      atomicity: one.apart ? 'per-record' : 'whole',
      ops: ops.map((op) => ({
        base: null,
        prev: 0,
        since: op.prev ?? 0,
        seen: 0,
        set: [],
        inc: [],
        crdt: [],
        row: null,
        ...op,
      })) as Operation[],
    });
  }

  #operation(
    device: number,
    index: number,
    op: Extract<Step, { tag: 'edit' }>['ops'][number],
  ): OperationSketch {
    const record = recordNames[op.record] as string;
    const seen = this.#seenBy(device, op.table, record);
    const target = {
      table: op.table,
      record,
      base: seen.base,
      prev: seen.last === 0 ? 0 : index - seen.last,
    };
    seen.last = index;
    if (op.kind === 'delete') return { ...target, kind: 'delete' };
    if (op.kind === 'text' && op.table === 1) {
      const key = { tenant: 'acme', table: 1, record, field: 5 };
      const plain = seen.fields[5];
      const start = seen.doc ?? this.crdt.genesis(key, typeof plain === 'string' ? plain : '');
      const actor = new Uint8Array(16).fill(device + 1);
      const actorOfEdit = Uint8Array.from(actor, (byte, i) =>
        i < 2 ? (index >> (8 * i)) & 255 : byte,
      );
      const after = `${this.crdt.read(start)}${op.value}`;
      const edit = this.crdt.editText(start, after, actorOfEdit, index);
      const changes = seen.doc === null ? this.crdt.changesOf(edit.document) : edit.changes;
      seen.doc = edit.document;
      seen.fields[5] = after;
      return { ...target, kind: 'update', crdt: [{ field: 5, changes }] };
    }
    const kind = op.kind === 'create' ? 'create' : 'update';
    if (op.table === 1 && op.field === 3)
      return kind === 'create'
        ? { ...target, kind, set: [] }
        : { ...target, kind, inc: [{ field: 3, by: 1 }] };
    const field = op.table === 2 ? 1 + (op.field % 2) : op.field;
    const after: Value = op.table === 1 && field === 4 ? op.value.length : op.value;
    const before = kind === 'create' ? null : (seen.fields[field] ?? null);
    seen.fields[field] = after;
    return { ...target, kind, set: set({ [field]: [before, after] }) };
  }

  async #sync(device: number): Promise<void> {
    await this.world.fold.advance();
    for (const table of [1, 2])
      for (const record of recordNames) {
        const found = await this.world.stored(table, record);
        const live = found === undefined || found.deleted ? undefined : found.row;
        const seen = this.#seenBy(device, table, record);
        seen.base = await this.world.base(table, record);
        seen.fields = { ...(live?.fields as RowFields | undefined) };
        const doc = live?.docs[5];
        seen.doc = doc === undefined ? null : (fromBase64(doc) ?? null);
        seen.last = 0;
      }
  }

  async #serverWrite(one: Extract<Step, { tag: 'server' }>): Promise<void> {
    const target = { table: one.table, id: recordNames[one.record] as string };
    const field = one.table === 2 ? 2 : one.field;
    const fields = { [field]: field === 4 ? one.value.length : one.value };
    await this.world.append({
      kind: 'write',
      user: 'boss',
      ops: [
        one.kind === 'delete'
          ? { ...target, kind: 'delete' }
          : { ...target, kind: one.kind as 'patch', fields },
      ],
    });
  }

  async #resolve(one: Extract<Step, { tag: 'resolve' }>): Promise<void> {
    await this.world.fold.advance();
    const errors = await this.world.syncErrors();
    const row = errors[one.which % Math.max(1, errors.length)];
    if (row === undefined) return;
    const shown = [];
    for (const { table, record } of row.conflicts) {
      const base = await this.world.base(table, record);
      shown.push({ table, record, incarnation: base?.incarnation ?? 0, n: base?.n ?? 0 });
    }
    const choices = row.conflicts.map(({ table, record, field }) => ({
      table,
      record,
      field,
      pick: one.pick as 'mine',
    }));
    const { root } = row;
    const resolution = { root, action: one.action, shown, choices };
    await this.world.append({ kind: 'resolution', by: 'boss', id: `x${this.#count}`, resolution });
  }

  async #publish(): Promise<void> {
    this.#version += 1;
    const tables = testTables.map((table) => ({
      ...table,
      fields: [
        ...table.fields,
        { id: 100 + this.#version, name: `extra${this.#version}`, type: 'string' as const },
      ],
    }));
    await this.world.append({
      kind: 'customization',
      by: 'boss',
      json: customizationOf(this.#version, this.#version === 2 ? tables : testTables),
    });
  }

  async #newEpoch(device: number, back: number): Promise<void> {
    await this.world.fold.advance();
    const one = this.devices[device] as Device;
    const state = await this.world.replica(one.log.replica);
    if (state === undefined) return;
    const merged = one.log.transactions.filter(({ last }) => last <= state.mergedTo);
    const keep = merged[merged.length - 1 - back]?.last ?? 0;
    one.log = one.log.copy({ epoch: state.epoch + 1 }, keep);
    const continues = { index: keep, head: one.log.headTextAt(keep) };
    const provisional = `p${this.#count}`;
    await this.world.append(one.grant({ epoch: state.epoch, provisional, continues }));
    for (const [key, seen] of this.#seen)
      if (key.startsWith(`${device}/`) && seen.last > keep) seen.last = 0;
  }
}

/** Everything of a store that must not depend on windows; documents by heads and text. */
const contentOf = async (world: FoldWorld, crdt: FieldCrdt) => {
  const records: unknown[] = [];
  for (const table of [1, 2, 60_001, 60_002, 60_003]) {
    const page = await world.store.scanRecords(table, { maxBytes: 1e9, maxRecords: 1e6 });
    for (const { id, deleted, row, extra } of page.records) {
      const decoded = decodeRow(row);
      const docs = Object.entries(decoded.docs).map(([field, text]) => {
        const document = fromBase64(text) ?? new Uint8Array();
        return [field, crdt.heads(document), crdt.read(document)];
      });
      records.push([table, id, deleted, { ...decoded, docs }, Buffer.from(extra).toString()]);
    }
  }
  const options = { incarnation: 1, after: 0, upTo: 1e9, maxBytes: 1e9 };
  const feed = (await world.store.scanSegments('feed', options)).flatMap(({ table, bytes }) =>
    decodeFeedSegment(bytes)
      .entries()
      .map((entry) => ({ table, ...entry })),
  );
  const ledger = (await world.store.scanSegments('ledger', options)).flatMap(({ table, bytes }) =>
    decodeLedgerSegment(bytes)
      .entries()
      .map((entry) => ({ table, ...entry })),
  );
  const order = (a: { table: number; n: number }, b: { table: number; n: number }) =>
    a.table - b.table || a.n - b.n;
  return {
    state: world.fold.state(),
    records,
    feed: feed.sort(order),
    ledger: ledger.sort(order),
    replicas: await world.space('replicas'),
    chains: await world.space('chains'),
    parked: await world.space('parked'),
    shadows: await world.space('shadows'),
    heads: await world.space('heads'),
    quarantine: await world.space('quarantine'),
  };
};

/** Counts that spare look-ups must be exact. */
const expectExactCounts = async (world: FoldWorld): Promise<void> => {
  const parked = await world.space('parked');
  for (const space of ['chains', 'side-documents'] as const) {
    const keys = (await world.space(space)).map(([key]) => key);
    for (const [replica] of await world.space('replicas')) {
      const state = await world.replica(replica);
      const held = keys.filter((key) => key.startsWith(`${replica}/`)).length;
      expect(space === 'chains' ? state?.chains : state?.sides).toBe(held);
      const ops = parked.filter(([key]) => key.startsWith(`o/${replica}/`)).length;
      expect(state?.parked).toBe(ops);
    }
  }
};

/** At rest each operation has one verdict, and waits exactly if its last word says so. */
const expectOneVerdictEach = async (
  world: FoldWorld,
  ledger: readonly LedgerEntry[],
): Promise<void> => {
  const verdicts = new Set<string>();
  const last = new Map<string, LedgerEntry>();
  for (const entry of ledger.filter(({ op }) => !op.startsWith('server:'))) {
    if (entry.decider === 'merge') {
      expect(verdicts.has(entry.op)).toBe(false);
      verdicts.add(entry.op);
    }
    const before = last.get(entry.op);
    if (before === undefined || before.n <= entry.n) last.set(entry.op, entry);
  }
  const waiting = (await world.space('parked'))
    .filter(([key]) => key.startsWith('o/'))
    .map(([key]) => key.slice(2).replaceAll(/\/0+(?=\d)/g, '/'));
  const undecided = [...last.values()].filter(({ outcome }) => waits.has(outcome));
  expect(undecided.map(({ op }) => op).sort()).toEqual(waiting.sort());
  for (const op of last.keys()) expect(verdicts.has(op)).toBe(true);
};

const waits = new Set(['parked', 'rejected', 'ignored', 'open']);

const options: Partial<FoldOptions> = {
  validate: async ({ operations }, view) => {
    const [op] = operations;
    const record = op === undefined ? null : await view.get('visits', op.record);
    return operations.some((one) => Object.values(one.set).includes('bad')) && record === null
      ? 'bad'
      : undefined;
  },
};

it('[SRV-21] gives the same store whatever the windows are', async () => {
  const crdt = await loadAutomergeCrdt({ hash: sha256 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.integer({ min: 1, max: 6 }),
      async (steps, operationsMax) => {
        const world = await FoldWorld.open({ ...options, window: { messagesMax: 1 } });
        const devices: Device[] = [];
        for (const name of deviceNames) devices.push(await world.enrol(name, `u-${name}`));
        const crowd = new Crowd(world, crdt, devices);
        for (const one of steps) await crowd.run(one);
        for (const device of devices) {
          const all: InputEntry[] = device.log.transactions.length === 0 ? [] : [device.envelope()];
          if (all.length > 0) await world.append(...all);
        }
        await world.fold.advance();
        await expectExactCounts(world);
        const expected = await contentOf(world, crdt);
        await expectOneVerdictEach(world, expected.ledger);
        for (const window of [{}, { operationsMax }, { bytesMax: 700 * operationsMax }]) {
          const other = await world.again({ window });
          await other.fold.advance();
          expect(await contentOf(other, crdt)).toEqual(expected);
        }
      },
    ),
    lawRuns(0.6),
  );
});
