import type { Replica, SyncErrorList } from '@tidemark/client';
import { TidemarkError, type ResolutionAction } from '@tidemark/model';
import { minus, type TypedTokens } from '../convergence/history.js';
import type { SeededRandom } from '../convergence/seeded-random.js';
import type { SimContext } from './context.js';
import type { DeviceActor } from './device-actor.js';
import type { Plan } from './plan.js';

/** Values that broke something somewhere; the first ones are drawn most, so that edits meet. */
const nastyValues = [
  'x',
  'y',
  'z',
  'x',
  'y',
  '',
  ' ',
  '\u0000',
  '__proto__',
  'constructor',
  'null',
  '-0',
  '"\\\n',
  'e\u0301',
  '\u00e9',
  '\u{1d4b3}\u{1f600}',
  '\u202e',
  '2099-12-31',
  'long '.repeat(80),
  `${'long '.repeat(40)}and changed ${'long '.repeat(40)}`,
];
/** From so many units on segments hold a text as a change of an earlier one. */
const longLengthMin = 64;
const longInsert = 'words '.repeat(16);
/** Values that no string field takes. */
const refusedValues = ['\ud800', 7, true, {}];

/** Codes with which an edit may be refused without anything being wrong. */
const refusals = new Set([
  'unknown-record',
  'record-exists',
  'unknown-table',
  'unknown-field',
  'invalid-value',
  'invalid-id',
  'invalid-resolution',
]);
/** Codes after which nobody knows whether the edit was stored. */
const unknowns = new Set(['storage-unavailable', 'replica-closed']);

/** Table and records that are only written together: who sees them apart saw half a transaction. */
export const pairTable = 'latest';
export const pairRecords = ['p1', 'p2'] as const;
export const pairTableId = 4;
/** Record that only a backend and plain edits touch. */
export const foreignRecord = 'f1';
const hotRecords = ['r1', 'r2', 'r3'];
const firstToken = 0x4e00;
const recordsMax = 8;

type Edits = Pick<Replica, 'create' | 'update' | 'delete' | 'increment' | 'editText' | 'get'>;
type LooseCreate = (table: string, fields: object, id: string) => Promise<string>;

/** What people do with the records of a world. Ids and tokens are given out once per world. */
export class Workload {
  readonly #plan: Plan;
  readonly #context: SimContext;
  readonly #records: string[];
  #tokens = 0;
  #ids = 0;

  constructor(plan: Plan, context: SimContext) {
    this.#plan = plan;
    this.#context = context;
    this.#records = [...hotRecords.slice(0, plan.records), foreignRecord];
  }

  get records(): readonly string[] {
    return this.#records;
  }

  token(): string {
    this.#tokens += 1;
    return String.fromCharCode(firstToken + this.#tokens);
  }

  fields(random: SeededRandom, version: number): Record<string, string> {
    const names = ['a', 'b', 'c', ...(version > 1 ? ['d'] : [])];
    const out: Record<string, string> = {};
    for (const name of names) if (random.chance(40)) out[name] = random.pick(nastyValues);
    if (Object.keys(out).length === 0) out['a'] = random.pick(nastyValues);
    return out;
  }

  /** A few edits one after the other, as people make them. */
  async edits(device: DeviceActor, random: SeededRandom): Promise<void> {
    const count = 1 + random.below(4);
    for (let i = 0; i < count && device.isOpen; i += 1) await this.edit(device, random, false);
  }

  /** One edit, or a transaction of several. */
  async edit(device: DeviceActor, random: SeededRandom, isWhole: boolean): Promise<void> {
    const durability = random.chance(25) ? 'disk' : 'os';
    const { replica } = device;
    if (replica === null) return;
    const parts: string[] = [];
    const touched = new Set<string>();
    const count = isWhole ? 2 + random.below(3) : 1;
    const atomicity = isWhole && random.chance(30) ? 'per-record' : 'whole';
    await this.#stored(
      device,
      isWhole ? `transaction ${atomicity}` : 'edit',
      durability,
      parts,
      () =>
        replica.transaction(
          async (edits) => {
            for (let i = 0; i < count; i += 1)
              await this.#oneEdit(device, edits as unknown as Edits, random, touched, parts);
          },
          { atomicity, durability },
        ),
    );
  }

  /** The two records that belong together change together. */
  async pair(device: DeviceActor, random: SeededRandom): Promise<void> {
    const { replica } = device;
    if (replica === null || device.setup.scope.tables !== 'all') return;
    const value = `pair ${this.token()}`;
    const durability = random.chance(50) ? 'disk' : 'os';
    await this.#stored(device, 'pair', durability, [value], () =>
      replica.transaction(
        async (edits) => {
          for (const id of pairRecords) {
            await edits.update(pairTable, id, { a: value });
            note(device, pairTable, id, { a: value }, {});
          }
        },
        { durability },
      ),
    );
  }

  /** Resolves a sync error as a person at the device would. */
  async resolve(device: DeviceActor, random: SeededRandom): Promise<void> {
    const { replica } = device;
    if (replica === null) return;
    const errors = await replica.errors.list({ state: 'all' });
    const error = errors.length === 0 ? undefined : random.pick(errors);
    if (error === undefined || error.actions.length === 0) return;
    const isPair = error.conflicts.some(({ record }) => isOfPair(record)) || isOfPair(error.record);
    const isOfFields = error.conflicts.every(({ field }) => field !== null);
    const actions = error.actions.filter((one) =>
      one === 'merge' ? isOfFields && !isPair : one !== 'split' || !isPair,
    );
    if (actions.length === 0) return;
    const action: ResolutionAction = random.pick(actions);
    const choices =
      action !== 'merge' ? [] : error.conflicts.map((one) => this.#choice(one, random));
    this.#context.saw(`resolution ${action} on a device`);
    await this.#stored(device, `resolve ${error.id} ${action}`, 'os', [], () =>
      replica.errors.resolve(error.id, { action, choices }),
    );
  }

  #choice(
    { table, record, field }: ConflictOf,
    random: SeededRandom,
  ): Parameters<SyncErrorList['resolve']>[1]['choices'] extends readonly (infer A)[] | undefined
    ? A
    : never {
    const pick = random.pick(
      field === null || field === 'note'
        ? (['mine', 'theirs'] as const)
        : (['mine', 'theirs', 'value'] as const),
    );
    const target = { table, record, field };
    return pick === 'value'
      ? { ...target, pick, value: random.pick(nastyValues) }
      : { ...target, pick };
  }

  /** Runs an edit and notes what was promised by it. */
  async #stored(
    device: DeviceActor,
    what: string,
    durability: 'os' | 'disk',
    parts: readonly string[],
    edit: () => Promise<unknown>,
  ): Promise<void> {
    const { local, life } = device;
    if (local === null || device.isEditing) return;
    device.isEditing = true;
    device.typing = new Map();
    device.editing = [];
    const before = local.logEnd().lastIndex;
    let result = 'ok';
    try {
      await edit();
    } catch (cause) {
      if (!(cause instanceof TidemarkError)) throw cause;
      if (!refusals.has(cause.code) && !unknowns.has(cause.code)) throw cause;
      result = cause.code;
      this.#context.saw(`an edit was refused with ${result}`);
    }
    if (!life.alive || device.local !== local) return;
    device.isEditing = false;
    const { lastIndex } = local.logEnd();
    if (refusals.has(result) && lastIndex !== before)
      this.#context.violate('I10', `${what} was refused with ${result} and yet stored`);
    if (result === 'ok' && lastIndex > before) {
      device.book.notePromised(before + 1, lastIndex, durability, what);
      device.own.note(lastIndex, device.editing);
    }
    // What failed may be stored, and what a resolution shows is not the author's edit alone.
    if (unknowns.has(result) || what.startsWith('resolve')) device.own.forget();
    const of = parts.length === 0 ? '' : ` of ${parts.join('; ')}`;
    this.#context.note(
      `${device.name} ${what}${of} at "${durability}" -> ${result} ${before + 1}..${lastIndex}`,
    );
  }

  /** Draws one edit that fits what the device shows, so that most are accepted. */
  async #oneEdit(
    device: DeviceActor,
    edits: Edits,
    random: SeededRandom,
    touched: Set<string>,
    parts: string[],
  ): Promise<void> {
    const { tables } = device.setup.scope;
    const held = tables === 'all' ? this.#plan.tables : Object.keys(tables);
    const hot = held.filter((name) => this.#plan.tables.includes(name));
    const table = random.pick(hot.length === 0 ? held : hot);
    const projected = tables !== 'all' && tables[table]?.fields !== undefined;
    const id = random.pick(this.#records);
    const place = `${table}/${id}`;
    const wasTouched = touched.has(place);
    touched.add(place);
    const shown = await edits.get(table, id);
    const version = device.local?.schema().customization.version ?? 1;
    const fields = projected ? { b: random.pick(nastyValues) } : this.fields(random, version);
    if (shown === undefined)
      return this.#create(device, edits, table, id, fields, projected, random, parts);
    if (random.chance(2)) {
      parts.push(`update ${place} with a refused value`);
      return edits.update(table, id, { a: random.pick(refusedValues) } as never);
    }
    const kind = random.below(100);
    const text = String((shown as Record<string, unknown>)['note'] ?? '');
    if (kind < 55 || ((!this.#plan.texts || wasTouched || id === foreignRecord) && kind >= 82)) {
      parts.push(`update ${place} ${JSON.stringify(fields)}`);
      note(device, table, id, fields, shown);
      return edits.update(table, id, fields as never);
    }
    if (kind < 66) {
      parts.push(`delete ${place}`);
      device.editing.push({ table, record: id, fields: null, isWhole: true });
      return edits.delete(table, id);
    }
    if (kind < 82) {
      const by = 1 + random.below(9);
      parts.push(`increment ${place} by ${by}`);
      return edits.increment(table, id, 'count' as never, by);
    }
    return this.#type(device, edits, { table, id, text }, random, parts);
  }

  async #create(
    device: DeviceActor,
    edits: Edits,
    table: string,
    id: string,
    fields: Record<string, string>,
    projected: boolean,
    random: SeededRandom,
    parts: string[],
  ): Promise<void> {
    const isNew = !projected && random.chance(12) && this.#records.length < recordsMax;
    if (isNew) this.#ids += 1;
    const newId = isNew ? `n${this.#ids}` : id;
    if (isNew) this.#records.push(newId);
    const parent =
      table === 'children' && random.chance(70) ? { parent: random.pick(this.#records) } : {};
    const whole = { ...fields, ...parent };
    parts.push(`create ${table}/${newId} ${JSON.stringify(whole)}`);
    device.editing.push({ table, record: newId, fields: whole, isWhole: true });
    await (edits.create as unknown as LooseCreate)(table, whole, newId);
  }

  async #type(
    device: DeviceActor,
    edits: Edits,
    { table, id, text }: { readonly table: string; readonly id: string; readonly text: string },
    random: SeededRandom,
    parts: string[],
  ): Promise<void> {
    const at = random.below(text.length + 1);
    const remove = random.chance(20) && at < text.length ? 1 : 0;
    const insert = random.chance(50) ? `${this.token()}${longInsert}` : this.token();
    const after = text.slice(0, at) + insert + text.slice(at + remove);
    device.typing.set(`${table}/${id}`, typedBetween(text, after));
    parts.push(`type ${table}/${id} ${at}-${remove}+${insert}`);
    this.#context.saw('a text was edited');
    if (after.length >= longLengthMin) this.#context.saw('a long text was edited');
    if (random.chance(70)) await edits.editText(table, id, 'note' as never, { at, remove, insert });
    else await edits.update(table, id, { note: after } as never);
  }
}

interface ConflictOf {
  readonly table: string;
  readonly record: string;
  readonly field: string | null;
}

/** Notes what an update changes: fields that show the same already make no operation. */
const note = (
  device: DeviceActor,
  table: string,
  record: string,
  fields: Readonly<Record<string, unknown>>,
  shown: object,
): void => {
  const before = shown as Readonly<Record<string, unknown>>;
  const changed = Object.entries(fields).filter(([name, value]) => before[name] !== value);
  const edit = { table, record, fields: Object.fromEntries(changed), isWhole: false };
  device.editing.push(edit);
};

const isOfPair = (record: string): boolean => (pairRecords as readonly string[]).includes(record);

const typedBetween = (before: string, after: string): TypedTokens => ({
  added: minus(after, before),
  removed: minus(before, after),
});

/** Draws a value that a string field takes. */
export const nastyValue = (random: SeededRandom): string => random.pick(nastyValues);
