import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import {
  encodeInputEntry,
  openFold,
  type Fold,
  type InputEntry,
  type Merger,
} from '@tidemark/merger';
import {
  baseOfRow,
  decodeRow,
  type BaseVersion,
  type Operation,
  type RowFields,
  type Value,
} from '@tidemark/model';
import type { InputLog, InputMessage, ServerStore } from '@tidemark/ports';
import { openInputLog, openServerStore } from '@tidemark/store-level';
import { DeviceLog, sketchTransaction, type OperationSketch } from '@tidemark/testkit';
import { checkOracle, type CheckedWorld } from './checks.js';
import { readLedger, readSyncErrors } from './ledger.js';
import { crypto, memoryDatabase, memoryMarker } from './memory-parts.js';
import { SeededRandom } from './seeded-random.js';
import { customizationOf, fieldIds } from './tables.js';

const tenant = 'acme';
const tableIds = [1, 2, 3, 4, 5, 6];
const fullRowTable = 3;
const plainFields = [fieldIds.a, fieldIds.b, fieldIds.c];
const values = ['x', 'y', 'z', null];
const hotRecords = 4;
const hotTables = 2;
/** Transactions after which the hot records are others: those of before are parked sooner or later. */
const hotFor = 40;
const messagesMax = 1_000_000;

/** What an author knows of a record: the image it saw, and its own operations on it. */
interface Known {
  readonly base: BaseVersion | null;
  readonly editedAt: Readonly<Record<number, number>>;
  fields: Record<number, Value> | null;
  /** First and last of its operations that the image does not hold; 0: none. */
  first: number;
  last: number;
}

const memoryParts = async (clock: {
  now: number;
}): Promise<{ readonly input: InputLog; readonly store: ServerStore }> => ({
  input: await openInputLog({
    database: memoryDatabase(),
    marker: memoryMarker(),
    hash: crypto.sha256,
    clock: { nowMs: () => clock.now },
  }),
  store: await openServerStore({
    database: memoryDatabase(),
    marker: memoryMarker(),
    hash: crypto.sha256,
  }),
});

/** A device without a replica: it edits what it saw, and sends what it wrote in pieces. */
class Author {
  readonly log: DeviceLog;
  readonly offsetMs: number;
  readonly known = new Map<string, Known>();
  /** Records on which something of it waits: a person would have to decide first. */
  readonly stuck = new Set<string>();
  /** Record that it edited last. */
  edited: { readonly table: number; readonly record: string } | undefined;
  sentTo = 0;

  constructor(name: string, offsetMs: number) {
    this.log = new DeviceLog({ replica: name, user: `user-of-${name}`, hash: crypto.sha256 });
    this.offsetMs = offsetMs;
  }

  get caller(): { readonly tenant: string; readonly replica: string; readonly user: string } {
    return { tenant, replica: this.log.replica, user: this.log.user };
  }
}

/** Authors, a server and a backend on one input, without replicas: many transactions in little time. */
export class MergeCrowd {
  readonly #random: SeededRandom;
  readonly #input: InputLog;
  readonly #store: ServerStore;
  readonly #fold: Fold;
  readonly #clock: { now: number };
  readonly #authors: readonly Author[];
  #transactions = 0;
  #admins = 0;

  private constructor(
    random: SeededRandom,
    parts: { readonly input: InputLog; readonly store: ServerStore; readonly fold: Fold },
    clock: { now: number },
    authors: readonly Author[],
  ) {
    this.#random = random;
    this.#input = parts.input;
    this.#store = parts.store;
    this.#fold = parts.fold;
    this.#clock = clock;
    this.#authors = authors;
  }

  /** Opens an empty world with two to four authors. */
  static async open(seed: number): Promise<MergeCrowd> {
    const random = new SeededRandom(seed);
    const clock = { now: 1_800_000_000_000 };
    const { input, store } = await memoryParts(clock);
    const fold = await openFold({
      tenant,
      store,
      input,
      crypto,
      crdt: () => loadAutomergeCrdt({ hash: crypto.sha256 }),
      window: {
        operationsMax: random.pick([1, 7, 4_096]),
        messagesMax: random.pick([1, 3, 1_000]),
      },
    });
    const authors = ['A', 'B', 'C', 'D']
      .slice(0, 2 + random.below(3))
      .map((name) => new Author(`device-${name}`, random.pick([0, 0, -5_000, 90_000])));
    const crowd = new MergeCrowd(random, { input, store, fold }, clock, authors);
    await crowd.#append({ kind: 'customization', by: 'admin', json: customizationOf(1) });
    for (const { caller } of authors)
      await crowd.#append({
        kind: 'grant',
        caller,
        request: {
          epoch: 0,
          provisional: `p-${caller.replica}`,
          continues: { index: 0, head: '0'.repeat(64) },
          origin: null,
        },
      });
    return crowd;
  }

  /** Transactions of authors and of the server so far. */
  get transactions(): number {
    return this.#fold.state().counts.transactions;
  }

  /** Writes about `count` transactions, and folds them as they come. */
  async run(count: number): Promise<void> {
    while (this.#transactions < count) {
      const random = this.#random;
      this.#clock.now += random.pick([0, 0, 1, 7, 400, 60_000]);
      const roll = random.below(100);
      const author = random.pick(this.#authors);
      if (roll < 70) this.#edit(author);
      else if (roll < 80) await this.#send(author);
      else if (roll < 92) await this.#see(author);
      else await this.#write();
    }
    for (const author of this.#authors) await this.#send(author);
    await this.#fold.advance();
  }

  /** Holds records, verdicts and sync errors against the oracle. Throws with what differs. */
  async check(): Promise<void> {
    const messages: readonly InputMessage[] = await this.#input.read(
      { generation: 1, seq: 0 },
      { maxBytes: Number.MAX_SAFE_INTEGER, maxMessages: messagesMax },
    );
    const { state, schema } = this.#fold;
    const world: CheckedWorld = {
      devices: [],
      store: this.#store,
      merger: { state, schema } as unknown as Merger,
      rows: () => Promise.resolve(new Map()),
      messages: () => Promise.resolve(messages),
    };
    const promised = new Map(this.#authors.map(({ log }) => [log.replica, log.lastIndex] as const));
    await checkOracle({ world, facts: { typed: new Map(), promised } });
  }

  /** Verdicts by outcome. */
  async outcomes(): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    for (const { outcome } of await readLedger(this.#store, this.#fold.state().incarnation))
      found.set(outcome, (found.get(outcome) ?? 0) + 1);
    return found;
  }

  async close(): Promise<void> {
    await this.#store.close();
    await this.#input.close();
  }

  async #append(entry: InputEntry): Promise<void> {
    await this.#input.append([encodeInputEntry(entry)]);
  }

  /** Tables that are hot now: edits of one record meet. */
  #tables(): readonly number[] {
    const window = Math.floor(this.#transactions / hotFor);
    const first = (window * hotTables) % tableIds.length;
    return tableIds.slice(first, first + hotTables);
  }

  /** Record that is hot now. */
  #record(): string {
    const window = Math.floor(this.#transactions / hotFor);
    return `r${window * hotRecords + this.#random.below(hotRecords)}`;
  }

  #edit(author: Author): void {
    const random = this.#random;
    const ops: OperationSketch[] = [];
    const count = random.chance(70) ? 1 : 2 + random.below(3);
    for (let i = 0; i < count; i += 1) {
      const op = this.#operation(author, author.log.lastIndex + 1 + ops.length);
      if (op !== undefined) ops.push(op);
    }
    if (ops.length === 0) return;
    author.log.append(
      sketchTransaction(ops, {
        hlc: { wallMs: this.#clock.now - author.offsetMs, counter: 0 },
        atomicity: random.chance(80) ? 'whole' : 'per-record',
      }),
    );
    this.#transactions += 1;
  }

  #operation(author: Author, index: number): OperationSketch | undefined {
    const random = this.#random;
    // Chains of edits of one author that has seen nothing meanwhile decide otherwise than edits alone.
    const again = random.chance(40) ? author.edited : undefined;
    const { table, record } = again ?? {
      table: random.pick(this.#tables()),
      record: this.#record(),
    };
    const place = `${table}/${record}`;
    if (author.stuck.has(place)) return undefined;
    author.edited = { table, record };
    const known = author.known.get(place) ?? {
      base: null,
      editedAt: {},
      fields: null,
      first: 0,
      last: 0,
    };
    author.known.set(place, known);
    const kind: Operation['kind'] =
      known.fields === null ? 'create' : random.chance(12) ? 'delete' : 'update';
    const before = known.fields ?? {};
    const after: Record<number, Value> = { ...before };
    const isCount = kind === 'update' && random.chance(25);
    if (kind !== 'delete' && !isCount)
      for (const field of plainFields) if (random.chance(45)) after[field] = random.pick(values);
    if (table === 6 && kind === 'create' && random.chance(60))
      after[fieldIds.parent] = this.#record();
    const set = [...plainFields, fieldIds.parent]
      .filter((field) => (before[field] ?? null) !== (after[field] ?? null))
      .map((field) => ({ field, before: before[field] ?? null, after: after[field] ?? null }));
    if (kind === 'update' && !isCount && set.length === 0) return undefined;
    const wallMs = this.#clock.now - author.offsetMs;
    const op: OperationSketch = {
      ...{ table, record, kind, base: known.base },
      prev: known.last === 0 ? 0 : index - known.last,
      since: known.last === 0 ? 0 : index - known.first,
      seen: Math.max(0, ...set.map(({ field }) => known.editedAt[field] ?? 0)),
      set: kind === 'delete' ? [] : set,
      inc: isCount ? [{ field: fieldIds.count, by: 1 + random.below(5) }] : [],
      row: table === fullRowTable && kind === 'update' ? wholeRow(after) : null,
    };
    known.fields = kind === 'delete' ? null : after;
    known.last = index;
    if (known.first === 0) known.first = index;
    for (const { field } of set) (known.editedAt as Record<number, number>)[field] = wallMs;
    return op;
  }

  /** Sends what was not sent yet, sometimes together with what was. */
  async #send(author: Author): Promise<void> {
    const { log } = author;
    if (log.lastIndex === author.sentTo) return;
    const starts = log.transactions.filter(({ first }) => first <= author.sentTo + 1);
    const from = this.#random.chance(20)
      ? this.#random.pick(starts.slice(-4)).first
      : author.sentTo + 1;
    const envelope = log.envelope(from, log.lastIndex, author.offsetMs);
    await this.#append({ kind: 'envelope', caller: author.caller, envelope });
    author.sentTo = log.lastIndex;
  }

  /** Sends everything, and sees the hot records as they are then. */
  async #see(author: Author): Promise<void> {
    await this.#send(author);
    await this.#fold.advance();
    author.stuck.clear();
    for (const { replica, state, table, record, conflicts } of (
      await readSyncErrors(this.#store)
    ).values()) {
      if (replica !== author.log.replica || state === 'resolved') continue;
      author.stuck.add(`${table}/${record}`);
      for (const one of conflicts) author.stuck.add(`${one.table}/${one.record}`);
    }
    const places = [...author.known.keys()];
    author.known.clear();
    author.edited = undefined;
    const window = Math.floor(this.#transactions / hotFor);
    for (const table of tableIds) {
      const ids = Array.from({ length: hotRecords }, (_, i) => `r${window * hotRecords + i}`);
      for (const place of places) {
        const [of, id] = place.split('/') as [string, string];
        if (Number(of) === table && !ids.includes(id)) author.stuck.add(place);
      }
      const rows = await this.#store.getRecords(table, ids);
      rows.forEach((found, i) => {
        if (found === undefined || found.deleted) return;
        const row = decodeRow(found.row);
        author.known.set(`${table}/${ids[i]}`, {
          base: baseOfRow(row),
          editedAt: { ...row.editedAt },
          fields: { ...(row.fields as RowFields) },
          first: 0,
          last: 0,
        });
      });
    }
  }

  /** A write of the server's own. */
  async #write(): Promise<void> {
    const random = this.#random;
    const target = { table: random.pick(this.#tables()), id: this.#record() };
    const fields = Object.fromEntries(
      plainFields.filter(() => random.chance(50)).map((field) => [field, random.pick(values)]),
    );
    this.#admins += 1;
    const roll = random.below(100);
    await this.#append({
      kind: 'write',
      user: `admin-${this.#admins}`,
      ops: [
        roll < 55
          ? { kind: 'upsert', ...target, fields }
          : roll < 75
            ? { kind: 'delete', ...target }
            : roll < 90
              ? { kind: 'increment', ...target, by: { [fieldIds.count]: 100 } }
              : { kind: 'patch', ...target, fields },
      ],
    });
    this.#transactions += 1;
  }
}

const wholeRow = (fields: Readonly<Record<number, Value>>): NonNullable<Operation['row']> =>
  plainFields.map((field) => ({ field, value: fields[field] ?? null }));
