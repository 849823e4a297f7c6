import type { Replica } from '@tidemark/client';
import { TidemarkError, type ResolutionAction } from '@tidemark/model';
import { opIdOf } from './oracle-decider.js';
import { fieldIds, customizationOf } from './tables.js';
import type { SeededRandom } from './seeded-random.js';
import { storedRecords, type World, type Device } from './world.js';

/** Codes with which an edit may be refused without anything being wrong. */
const refusals = new Set([
  'unknown-record',
  'record-exists',
  'unknown-table',
  'invalid-resolution',
]);

const allRecords = ['r1', 'r2', 'r3'];
const allTables = ['server_wins', 'device_wins', 'full_row', 'latest', 'manual', 'children'];
const values = ['x', 'y', 'z', 'w'];
const firstToken = 0x4e00;

/** Tokens that one operation typed into a text or removed from it. */
export interface TypedTokens {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** What a history did that cannot be read from the input. */
export interface HistoryFacts {
  /** By OpId of the oracle: to it, a write of the server is the operation with its version as index. */
  readonly typed: Map<string, TypedTokens>;
  /** Number of operations that a device promised to keep. */
  readonly promised: Map<string, number>;
  readonly trace: string[];
}

/** What may be part of a history. */
export interface HistoryShape {
  readonly devices: number;
  readonly steps: number;
  readonly resolutions: boolean;
  readonly foreign: boolean;
}

type Edits = Pick<Replica, 'create' | 'update' | 'delete' | 'increment' | 'editText' | 'get'>;

/** Tells whether a character of a text is a token: each is typed once, other characters only make texts long. */
export const isToken = (one: string): boolean => one.charCodeAt(0) >= firstToken;

/** Tokens of a text that are not in another one. */
export const minus = (text: string, other: string): string[] =>
  [...text].filter((one) => isToken(one) && !other.includes(one));

/** Random history on one world: every random choice comes from one seed. */
export class History {
  readonly world: World;
  readonly facts: HistoryFacts = {
    typed: new Map(),
    promised: new Map(),
    trace: [],
  };
  /** Called after every step. */
  afterStep: (device: Device | null) => Promise<void> | void = () => undefined;
  readonly #random: SeededRandom;
  readonly #shape: HistoryShape;
  /** Hot tables and records: few, so that edits meet. */
  readonly #tables: readonly string[];
  readonly #records: string[];
  #tokens = 0;
  #ids = 0;
  #version: 1 | 2 | 3 = 1;
  #rowVersion = 0;

  constructor(world: World, random: SeededRandom, shape: HistoryShape) {
    this.world = world;
    this.#random = random;
    this.#shape = shape;
    const tables = allTables.filter(() => random.chance(40));
    this.#tables = tables.length === 0 ? ['manual', 'children'] : tables;
    this.#records = allRecords.slice(0, 1 + random.below(3));
  }

  async run(): Promise<void> {
    const { world } = this;
    await world.openServer(this.#window());
    await world.time.run(world.merger.publish(customizationOf(1), 'admin'));
    for (let i = 0; i < this.#shape.devices; i += 1) await this.#addDevice(i);
    for (let step = 0; step < this.#shape.steps; step += 1) {
      world.time.nowMs += this.#random.pick([0, 0, 1, 7, 400, 60_000]);
      await this.#step();
    }
  }

  /** Brings everything everywhere: no new edits, only runs, until nothing moves any more. */
  async quiesce(): Promise<void> {
    const { world } = this;
    for (const { transport } of world.devices) transport.plan(null);
    // Two rounds suffice: the first uploads all, the second brings everyone what all uploaded.
    for (let round = 0; round < 2; round += 1)
      for (const device of world.devices) {
        world.time.nowMs += 1_000;
        await this.#sync(device);
        if (device.replica.status.error !== null)
          throw new Error(
            `${device.name} cannot sync: ${JSON.stringify(device.replica.status.error)}`,
          );
      }
  }

  #window(): { operationsMax: number; messagesMax: number } {
    return {
      operationsMax: this.#random.pick([1, 3, 4_096]),
      messagesMax: this.#random.pick([1, 2, 1_000]),
    };
  }

  #note(text: string): void {
    this.facts.trace.push(`${this.world.time.nowMs % 100_000_000} ${text}`);
  }

  async #addDevice(index: number): Promise<void> {
    const random = this.#random;
    const name = `device-${String.fromCharCode(65 + index)}`;
    const scope =
      index > 0 && random.chance(15)
        ? { tables: { server_wins: {}, manual: {}, latest: { fields: ['b', 'count', 'note'] } } }
        : index > 0 && random.chance(15)
          ? { tables: { server_wins: {}, full_row: {}, latest: { filter: "b = 'x'" } } }
          : ({ tables: 'all' } as const);
    await this.world.addDevice({
      name,
      scope,
      clockOffsetMs: random.pick([0, 0, -5_000, 90_000]),
      customization: customizationOf(1),
    });
    this.#note(`open ${name} ${JSON.stringify(scope)}`);
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const device = random.pick(this.world.devices);
    const roll = random.below(100);
    if (roll < 55) await this.#edit(device);
    else if (roll < 78) await this.#syncWithFaults(device);
    else if (roll < 84) await this.#serverWrite();
    else if (roll < 87 && this.#shape.foreign) await this.#foreign();
    else if (roll < 92 && this.#shape.resolutions) await this.#resolveOnDevice(device);
    else if (roll < 95 && this.#shape.resolutions) await this.#resolveCentrally();
    else if (roll < 96) await this.#publish();
    else if (roll < 98) await this.#reopen(device);
    else if (roll < 99) await this.#restartServer();
    else await this.#checkpoint();
    await this.afterStep(device);
  }

  #newId(): string {
    this.#ids += 1;
    return `n${this.#ids}`;
  }

  #token(): string {
    this.#tokens += 1;
    return String.fromCharCode(firstToken + this.#tokens);
  }

  #fields(version: number): Record<string, string> {
    const names = ['a', 'b', 'c', ...(version > 1 ? ['d'] : [])];
    const out: Record<string, string> = {};
    for (const name of names) if (this.#random.chance(40)) out[name] = this.#random.pick(values);
    if (Object.keys(out).length === 0) out['a'] = this.#random.pick(values);
    return out;
  }

  /** Runs an edit of a device; what it is refused is no edit. Notes what its operations typed. */
  async #edited(device: Device, what: string, edit: () => Promise<unknown>): Promise<void> {
    const before = device.local.logEnd().lastIndex;
    let result = 'ok';
    try {
      await this.world.time.run(edit());
    } catch (cause) {
      if (!(cause instanceof TidemarkError) || !refusals.has(cause.code)) throw cause;
      result = cause.code;
    }
    const { lastIndex } = device.local.logEnd();
    if (result !== 'ok' && lastIndex !== before)
      throw new Error(`${what} was refused with ${result} and yet stored`);
    this.#note(`${device.name} ${what} -> ${result} ${before + 1}..${lastIndex}`);
    if (lastIndex === before) return;
    this.facts.promised.set(device.name, lastIndex);
    for (const op of await device.replica.pending({ after: before }))
      for (const change of op.changes)
        if (change.field === 'note') {
          const was = String(change.before ?? '');
          const is = String(change.after ?? '');
          const typed = { added: minus(is, was), removed: minus(was, is) };
          this.facts.typed.set(opIdOf(device.name, op.index), typed);
        }
  }

  async #edit(device: Device): Promise<void> {
    const random = this.#random;
    if (!random.chance(18)) {
      const { what, run } = await this.#oneEdit(device, device.replica);
      return this.#edited(device, what, run);
    }
    const atomicity = random.chance(30) ? 'per-record' : 'whole';
    const size = 2 + random.below(3);
    const parts: string[] = [];
    return this.#edited(device, `transaction ${atomicity}`, async () => {
      try {
        await device.replica.transaction(
          async (edits) => {
            for (let i = 0; i < size; i += 1) {
              const { what, run } = await this.#oneEdit(device, edits as unknown as Edits);
              parts.push(what);
              await run();
            }
          },
          { atomicity },
        );
      } finally {
        this.#note(`  of ${parts.join('; ')}`);
      }
    });
  }

  /** Draws one edit that fits what the device shows, so that most are accepted. */
  async #oneEdit(
    device: Device,
    edits: Edits,
  ): Promise<{ readonly what: string; readonly run: () => Promise<unknown> }> {
    const random = this.#random;
    const { tables } = device.setup.scope;
    const held = tables === 'all' ? this.#tables : Object.keys(tables);
    const hot = held.filter((name) => this.#tables.includes(name));
    const names = hot.length === 0 ? held : hot;
    const table = random.pick(names);
    const projected = tables !== 'all' && tables[table]?.fields !== undefined;
    const id = random.pick(this.#records);
    const shown = await edits.get(table, id);
    const fields = projected
      ? { b: random.pick(values) }
      : this.#fields(device.local.schema().customization.version);
    const make = (what: string, run: () => Promise<unknown>) => ({
      what: `${what} ${table}/${id}`,
      run,
    });
    if (shown === undefined) {
      // A text is given to new records only: two creates of one record are decided by rules, not combined.
      const isNew = !projected && random.chance(12);
      const text = isNew ? { note: this.#token() } : {};
      const newId = isNew || id.startsWith('n') ? this.#newId() : id;
      if (isNew && this.#records.length < 6) this.#records.push(newId);
      const parent =
        table === 'children' && random.chance(70) ? { parent: random.pick(this.#records) } : {};
      const whole = { ...fields, ...text, ...parent };
      const inTransaction = edits !== (device.replica as unknown as Edits);
      return make(`create ${newId} ${JSON.stringify(whole)}`, () =>
        inTransaction
          ? (edits.create as unknown as (t: string, f: object, id: string) => Promise<string>)(
              table,
              whole,
              newId,
            )
          : edits.create(table, whole, { id: newId }),
      );
    }
    const kind = random.below(100);
    const text = String((shown as Record<string, unknown>)['note'] ?? '');
    if (kind < 50)
      return make(`update ${JSON.stringify(fields)}`, () => edits.update(table, id, fields));
    if (kind < 62) return make('delete', () => edits.delete(table, id));
    if (kind < 78) {
      const by = 1 + random.below(9);
      return make(`increment ${by}`, () => edits.increment(table, id, 'count', by));
    }
    const at = random.below(text.length + 1);
    const remove = random.chance(20) && at < text.length ? 1 : 0;
    const insert = this.#token();
    if (kind < 92)
      return make(`type ${at}-${remove}+${insert}`, () =>
        edits.editText(table, id, 'note', { at, remove, insert }),
      );
    const whole = text.slice(0, at) + insert + text.slice(at + remove);
    return make(`rewrite ${whole}`, () => edits.update(table, id, { note: whole }));
  }

  async #sync(device: Device, mode: 'foreground' | 'background' = 'foreground'): Promise<void> {
    const { result, error } = await this.world.time.run(device.replica.sync({ mode }));
    this.#note(`${device.name} sync ${mode} -> ${result} ${error ?? ''}`);
  }

  async #syncWithFaults(device: Device): Promise<void> {
    const random = this.#random;
    if (random.chance(25)) {
      const moment = random.chance(50) ? 'after' : 'before';
      device.transport.plan({ calls: random.below(6), moment, isLasting: random.chance(40) });
    }
    const offline = random.chance(5);
    if (offline) device.transport.local.setOnline(false);
    if (random.chance(10)) {
      // An edit made while the run is under way is a later operation.
      const run = device.replica.sync();
      await this.world.time.settle();
      await this.#edit(device);
      const { result } = await this.world.time.run(run);
      this.#note(`${device.name} sync while editing -> ${result}`);
    } else await this.#sync(device, random.chance(25) ? 'background' : 'foreground');
    device.transport.plan(null);
    device.transport.local.setOnline(true);
  }

  async #serverWrite(): Promise<void> {
    const random = this.#random;
    const { merger } = this.world;
    const table = 1 + allTables.indexOf(random.pick(this.#tables));
    const rows = await this.world.rows(table);
    const picked = random.pick(this.#records);
    const id = rows.has(picked) ? picked : 'r1';
    const row = rows.get(id);
    const roll = random.below(100);
    const named = this.#fields(this.#version);
    const byId = Object.fromEntries(
      Object.entries(named).map(([name, value]) => [
        fieldIds[name as keyof typeof fieldIds],
        value,
      ]),
    );
    let typed: TypedTokens | null = null;
    if (row !== undefined && roll >= 75 && roll < 85) {
      const insert = this.#token();
      byId[fieldIds.note] = String(row.fields[fieldIds.note] ?? '') + insert;
      typed = { added: [insert], removed: [] };
    }
    const op =
      row === undefined
        ? ({ kind: 'upsert', table, id, fields: byId } as const)
        : roll < 50 || typed !== null
          ? ({ kind: 'patch', table, id, fields: byId } as const)
          : roll < 65
            ? ({ kind: 'delete', table, id } as const)
            : ({ kind: 'increment', table, id, by: { [fieldIds.count]: 100 } } as const);
    const state = await this.world.time.run(
      merger.submit({ kind: 'write', user: 'admin', ops: [op] }),
    );
    if (typed !== null) this.facts.typed.set(opIdOf('server', state.n), typed);
    this.#note(`server ${JSON.stringify(op)}`);
  }

  async #foreign(): Promise<void> {
    const random = this.#random;
    // Only tables in which no rule parks a foreign row: nobody could resolve it on a device.
    const table = random.pick([2, 3]);
    this.#rowVersion += 1;
    const records = await storedRecords(this.world.store, table);
    const picked = random.pick(this.#records);
    const id = records.some((one) => one.id === picked) ? picked : 'r1';
    const found = records.find((one) => one.id === id);
    const held = found?.row.fields ?? {};
    // It has not seen texts that were deleted.
    if (found?.deleted === true && held[fieldIds.note] !== undefined) return;
    // A foreign row is whole: what it does not name is empty there. The backend has seen all texts.
    const row = {
      table,
      id,
      fields: {
        ...(held[fieldIds.c] === undefined ? {} : { [fieldIds.c]: held[fieldIds.c] ?? null }),
        ...(held[fieldIds.d] === undefined ? {} : { [fieldIds.d]: held[fieldIds.d] ?? null }),
        ...(held[fieldIds.note] === undefined
          ? {}
          : { [fieldIds.note]: held[fieldIds.note] ?? null }),
        [fieldIds.a]: random.pick(values),
        [fieldIds.b]: random.pick(values),
      },
      modifiedOn: this.world.time.nowMs - random.below(1_000),
      rowVersion: this.#rowVersion,
    };
    await this.world.time.run(
      this.world.merger.submit({ kind: 'foreign', backend: 'erp', rows: [row] }),
    );
    this.#note(`foreign ${JSON.stringify(row)}`);
  }

  async #resolveOnDevice(device: Device): Promise<void> {
    const random = this.#random;
    const errors = await device.replica.errors.list({ state: 'all' });
    if (errors.length === 0) return;
    const error = random.pick(errors);
    if (error.actions.length === 0) return;
    // Choices on the existence of a record are left to the tests of resolutions.
    const isOfFields = error.conflicts.every(({ field }) => field !== null);
    const actions = error.actions.filter((one) => one !== 'merge' || isOfFields);
    const action: ResolutionAction = random.pick(actions);
    const choices =
      action !== 'merge'
        ? []
        : error.conflicts.map(({ table, record, field }) => {
            const pick = random.pick(
              field === null || field === 'note'
                ? (['mine', 'theirs'] as const)
                : (['mine', 'theirs', 'value'] as const),
            );
            const target = { table, record, field };
            return pick === 'value'
              ? { ...target, pick, value: random.pick(values) }
              : { ...target, pick };
          });
    await this.#edited(device, `resolve ${error.id} ${action} ${JSON.stringify(choices)}`, () =>
      device.replica.errors.resolve(error.id, { action, choices }),
    );
  }

  async #resolveCentrally(): Promise<void> {
    const random = this.#random;
    const { merger } = this.world;
    const errors = await merger.syncErrors({});
    if (errors.length === 0) return;
    const error = random.pick(errors);
    const isOfFields = error.conflicts.every(({ field }) => field !== null);
    const action = random.pick([
      'retry',
      'ignore',
      'un-ignore',
      'take-server',
      isOfFields ? 'merge' : 'retry',
      'split',
    ] as const);
    const choices =
      action !== 'merge'
        ? []
        : error.conflicts.map(({ table, record, field }) => ({
            table,
            record,
            field,
            pick: random.pick(['mine', 'theirs'] as const),
          }));
    const work = merger.resolve(error.id, { action, choices, user: 'admin' });
    const result = await this.world.time.run(work);
    this.#note(`central ${error.id} ${action} ${JSON.stringify(choices)} -> ${result.verdict}`);
  }

  async #publish(): Promise<void> {
    if (this.#version === 3) return;
    this.#version = this.#version === 1 ? 2 : 3;
    const { merger, time } = this.world;
    await time.run(merger.publish(customizationOf(this.#version), 'admin'));
    this.#note(`publish ${this.#version}`);
  }

  async #reopen(device: Device): Promise<void> {
    await this.world.time.run(device.replica.close());
    await device.open();
    this.#note(`${device.name} reopened`);
  }

  async #restartServer(): Promise<void> {
    await this.world.closeServer();
    await this.world.openServer(this.#window());
    this.#note('server restarted');
  }

  async #checkpoint(): Promise<void> {
    await this.world.time.run(this.world.merger.checkpoint());
    this.#note('checkpoint');
  }
}
