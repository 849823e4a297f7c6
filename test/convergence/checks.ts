import type { LocalReplica, Replica } from '@tidemark/client';
import type { Scope } from '@tidemark/filter';
import type { Merger } from '@tidemark/merger';
import { userTableIdMax, type Row, type SchemaTable, type Value } from '@tidemark/model';
import type { InputMessage, ServerStore } from '@tidemark/ports';
import { isToken, type HistoryFacts } from './history.js';
import { readLedger, readSyncErrors } from './ledger.js';
import { Oracle } from './oracle.js';
import type { OracleOutcome } from './oracle-decider.js';
import { readEntry } from './read-entry.js';
import { storedRecords } from './world.js';

/** Device as the checks see it; its name is the id of its replica. */
export interface CheckedDevice {
  readonly name: string;
  readonly setup: { readonly scope: Scope };
  readonly replica: Replica;
  readonly local: LocalReplica;
}

/** World as the checks see it: one server's view, and the devices. */
export interface CheckedWorld {
  readonly devices: readonly CheckedDevice[];
  readonly store: ServerStore;
  readonly merger: Merger;
  readonly rows: (table: number) => Promise<ReadonlyMap<string, Row>>;
  readonly messages: () => Promise<readonly InputMessage[]>;
}

/** A world with what is known of its history. */
export interface CheckedHistory {
  readonly world: CheckedWorld;
  readonly facts: Pick<HistoryFacts, 'typed' | 'promised'>;
}

/** Fails a history with what differs. */
export const expectEqual = (what: string, actual: unknown, expected: unknown): void => {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}\n  is       ${a}\n  expected ${b}`);
};

type Shown = Readonly<Record<string, Value>>;

const shownFields = (
  device: CheckedDevice,
  table: SchemaTable,
): readonly (readonly [id: number, name: string])[] => {
  const { tables } = device.setup.scope;
  const projected = tables === 'all' ? undefined : tables[table.name]?.fields;
  return table.fields
    .filter(({ name }) => projected === undefined || projected.includes(name))
    .map(({ id, name }) => [id, name] as const);
};

/** Whether the scope of a device holds a record; the only filter of the histories is `b = 'x'`. */
const holds = (device: CheckedDevice, table: string, row: Row): boolean => {
  const { tables } = device.setup.scope;
  if (tables === 'all') return true;
  const selection = tables[table];
  return selection !== undefined && (selection.filter === undefined || row.fields[2] === 'x');
};

const checkTable = async (
  world: CheckedWorld,
  device: CheckedDevice,
  table: SchemaTable,
): Promise<void> => {
  const fields = shownFields(device, table);
  const ofRow = (row: Row): Shown =>
    Object.fromEntries(fields.map(([id, name]) => [name, row.fields[id] ?? null]));
  const ofView = (view: Readonly<Record<string, Value>> | undefined): Shown | null =>
    view === undefined
      ? null
      : Object.fromEntries(fields.map(([, name]) => [name, view[name] ?? null]));
  const expected = new Map<string, Shown>();
  for (const [id, row] of await world.rows(table.id))
    if (holds(device, table.name, row)) expected.set(id, ofRow(row));
  const views = new Map(
    (await device.local.scan(table.name)).map((view) => [view.id, view] as const),
  );
  for (const id of [...new Set([...expected.keys(), ...views.keys(), 'r1', 'r2', 'r3'])].sort()) {
    const place = `${device.name} ${table.name}/${id}`;
    const want = expected.get(id) ?? null;
    expectEqual(`${place}: image`, ofView(await device.local.serverRecord(table.name, id)), want);
    const state = await device.replica.recordState(table.name, id);
    if (state === 'pending') throw new Error(`${place} is pending at rest`);
    if (state === 'current') expectEqual(`${place}: view`, ofView(views.get(id)), want);
  }
};

const checkStatusAtRest = async (world: CheckedWorld, device: CheckedDevice): Promise<void> => {
  const errors = await readSyncErrors(world.store);
  let parked = 0;
  for (const { replica, state, ranges } of errors.values())
    if (replica === device.name && state === 'open')
      for (const { from, to } of ranges) parked += to - from + 1;
  const { status } = device.replica;
  expectEqual(`${device.name}: pending`, status.pending, { operations: 0, oldestAt: null });
  expectEqual(`${device.name}: parked`, status.parked, parked);
  expectEqual(`${device.name}: synced`, status.synced, parked === 0);
  expectEqual(
    `${device.name}: schema`,
    status.customization.version,
    world.merger.schema().customization.version,
  );
};

/** A device holds what the server holds, projected by its scope; open edits show on their device only. */
export const checkImage = async (world: CheckedWorld, device: CheckedDevice): Promise<void> => {
  const { tables } = device.setup.scope;
  for (const table of device.local.schema().tablesById.values())
    if (table.id <= userTableIdMax && (tables === 'all' || tables[table.name] !== undefined))
      await checkTable(world, device, table);
  await checkIndex(device);
};

/** Every device holds what the server holds, and says so. */
export const checkDevices = async (world: CheckedWorld): Promise<void> => {
  for (const device of world.devices) {
    await checkStatusAtRest(world, device);
    await checkImage(world, device);
  }
};

/** An answer by an index is the answer without it. */
const checkIndex = async (device: CheckedDevice): Promise<void> => {
  const { tables } = device.setup.scope;
  if (tables !== 'all') return;
  const found = await device.replica.query('device_wins', { filter: "a = 'x'" });
  const all = await device.local.scan('device_wins');
  expectEqual(
    `${device.name}: index by_a`,
    found.map(({ id }) => id).sort(),
    all.filter((view) => view['a'] === 'x').map(({ id }) => id),
  );
};

/** Every operation that a device promised was decided once; parked ones are open, ignored or disposed of. */
export const checkVerdicts = async (history: CheckedHistory): Promise<void> => {
  const { world, facts } = history;
  const ledger = await readLedger(world.store, world.merger.state().incarnation);
  const errors = await readSyncErrors(world.store);
  const entries = new Map<string, (typeof ledger)[number][]>();
  for (const entry of ledger) {
    const list = entries.get(entry.op) ?? [];
    list.push(entry);
    entries.set(entry.op, list);
  }
  const waiting = new Set<string>();
  for (const { replica, state, ranges } of errors.values())
    if (state !== 'resolved')
      for (const { epoch, from, to } of ranges)
        for (let i = from; i <= to; i += 1) waiting.add(`${replica}/${epoch}/${i}`);
  for (const [device, last] of facts.promised)
    for (let index = 1; index <= last; index += 1) {
      const op = `${device}/1/${index}`;
      const decided = entries.get(op) ?? [];
      const verdicts = decided.filter(({ decider }) => decider === 'merge');
      if (verdicts.length !== 1) throw new Error(`${op} has ${verdicts.length} verdicts`);
      const isParked = ['parked', 'rejected'].includes(verdicts[0]?.outcome ?? '');
      if (!isParked && decided.length > 1) throw new Error(`${op} was decided again`);
      const lastWord = decided[decided.length - 1]?.outcome;
      const isWaiting = ['parked', 'rejected', 'ignored', 'open'].includes(lastWord ?? '');
      if (isWaiting !== waiting.has(op))
        throw new Error(`${op}: ledger ends with ${lastWord}, waiting is ${waiting.has(op)}`);
    }
};

const plainOutcome = (outcome: string | undefined): OracleOutcome | undefined =>
  outcome === 'combined'
    ? 'applied'
    : outcome === 'rejected' || outcome === 'open' || outcome === 'ignored'
      ? 'parked'
      : (outcome as OracleOutcome | undefined);

/** Text holds what its applied operations typed and nobody removed, once, and nothing that was not applied. */
const checkText = (
  place: string,
  text: string,
  typed: ReadonlySet<string>,
  history: CheckedHistory,
): void => {
  const { facts } = history;
  const removed = new Set([...facts.typed.values()].flatMap((one) => one.removed));
  for (const one of typed)
    if (!removed.has(one) && !text.includes(one)) throw new Error(`${place}: ${one} was lost`);
  for (const one of text) {
    if (!isToken(one)) continue;
    if (!typed.has(one)) throw new Error(`${place}: ${one} was not applied and shows`);
    if (text.indexOf(one) !== text.lastIndexOf(one)) throw new Error(`${place}: ${one} doubled`);
  }
};

/** Records, verdicts and sync errors are those of the oracle. */
export const checkOracle = async (history: CheckedHistory): Promise<void> => {
  const { world, facts } = history;
  const oracle = new Oracle();
  for (const { bytes, atMs } of await world.messages()) oracle.take(readEntry(bytes), atMs);
  const outcomeOf = (op: string): OracleOutcome | undefined => oracle.verdicts.get(op)?.outcome;
  const state = world.merger.state();
  const ledger = await readLedger(world.store, state.incarnation);
  const errors = await readSyncErrors(world.store);
  const lastWord = new Map<string, string>();
  for (const { op, outcome } of ledger) lastWord.set(op, outcome);
  // In the order of decisions: the first that differs explains those behind it.
  for (const { op, table, record, outcome, n, fields } of ledger) {
    const expected = outcomeOf(op);
    if (!facts.promised.has(op.split('/')[0] ?? '')) continue;
    if (plainOutcome(lastWord.get(op)) === expected) continue;
    const history = ledger
      .filter((entry) => entry.table === table && entry.record === record)
      .map((entry) => `${entry.n} ${entry.op} ${entry.outcome} (${outcomeOf(entry.op) ?? '-'})`);
    const { sent } = oracle.verdicts.get(op) ?? {};
    const changes = oracle.versions({ table, record }).map((one) => `${one.n} ${one.by}`);
    throw new Error(
      `outcome of ${op} on ${table}/${record} at ${n}\n  is       ${outcome}, at last ` +
        `${lastWord.get(op)}\n  expected ${expected}\n  ${JSON.stringify({ sent, changes })}\n  fields ${JSON.stringify(fields)}\n  ` +
        history.join('\n  '),
    );
  }
  expectEqual('version', state.n, oracle.n);
  const waiting = (list: Iterable<{ readonly root: string; readonly state: string }>) =>
    [...list]
      .filter((one) => one.state !== 'resolved' && one.root.startsWith('device'))
      .map((one) => `${one.root} ${one.state}`)
      .sort();
  expectEqual('sync errors', waiting(errors.values()), waiting(oracle.errors.values()));
  for (const table of world.merger.schema().customization.tables) {
    const found = new Set<string>();
    for (const { id, row, deleted } of await storedRecords(world.store, table.id)) {
      const place = `${table.name}/${id}`;
      found.add(id);
      const expected = oracle.records.get(`${table.id}/${id}`)?.at(-1);
      expectEqual(`${place} is deleted`, deleted, expected?.deleted);
      if (deleted || expected === undefined) continue;
      const typed = new Set(expected.ops.flatMap((op) => facts.typed.get(op)?.added ?? []));
      for (const field of table.fields) {
        const value = row.fields[field.id] ?? null;
        if (field.type === 'text')
          checkText(`${place} ${field.name}`, String(value ?? ''), typed, history);
        else
          expectEqual(
            `${place} ${field.name}`,
            value,
            expected.fields.get(field.id)?.value ?? null,
          );
      }
    }
    for (const [key, versions] of oracle.records) {
      const [tableId, id] = key.split('/');
      if (
        Number(tableId) === table.id &&
        versions.at(-1)?.deleted === false &&
        !found.has(id ?? '')
      )
        throw new Error(`${table.name}/${id} is missing`);
    }
  }
};
