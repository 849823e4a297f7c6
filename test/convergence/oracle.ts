import type { ServerWrite } from '@tidemark/merge';
import { decodeInputEntry, type ForeignReport } from '@tidemark/merger';
import {
  decodeEnvelope,
  decodeTransaction,
  openTransaction,
  resolutionFromFields,
  resolutionsTable,
  type Customization,
  type FieldDefinition,
  type Operation,
  type ResolutionChoice,
  type ResolutionRow,
  type ResolutionRule,
  type TableDefinition,
  type Value,
} from '@tidemark/model';
import { crypto } from './memory-parts.js';
import type { TypedTokens } from './history.js';

/*
 * A slow, plain second opinion on what the input means, written from the design alone. It keeps every
 * verdict and the whole history of each record, and asks them each time: no chains, no sparse keys.
 */

/** Milliseconds by which an author's clock may be ahead of the receipt. */
const aheadMsMax = 5 * 60_000;

/** What an operation came to; `combined` counts as applied. */
export type OracleOutcome = 'applied' | 'same' | 'superseded' | 'parked';
type FieldOutcome = OracleOutcome;

/** Record of the oracle, alive or a tombstone. */
export interface OracleRecord {
  readonly fields: Map<number, Value>;
  readonly editedAt: Map<number, number>;
  readonly typed: Set<string>;
  deleted: boolean;
  /** Which life it is: the position of the create in the order of decisions. */
  life: number;
  n: number;
  modifiedOn: number;
  /** Who changed it at which version, oldest first. */
  readonly changes: { readonly n: number; readonly by: string; readonly life: number }[];
}

interface Sent {
  readonly author: string;
  readonly index: number;
  readonly op: Operation;
  readonly at: number;
  readonly part: Part;
}

/** Operations that are decided together, in order. */
interface Part {
  readonly sent: Sent[];
  readonly whole: readonly Sent[];
}

interface Verdict {
  outcome: OracleOutcome;
  readonly fields: Map<number, FieldOutcome>;
  /** Life of the record that the author meant, as of this operation; 0 none. */
  life: number;
}

/** Sync error of the oracle. `ops` are positions in the author's log. */
export interface OracleError {
  readonly root: string;
  readonly author: string;
  state: 'open' | 'ignored' | 'resolved';
  parts: Part[];
}

/** Thrown inside a part: it parks. */
class Parks extends Error {}

interface Choice {
  readonly action: 'decide' | 'take-server' | 'merge';
  readonly choices: readonly ResolutionChoice[];
}
const afresh: Choice = { action: 'decide', choices: [] };

const same = (a: Value | undefined, b: Value | undefined): boolean => (a ?? null) === (b ?? null);

/** Folds an input as the design says it should be. Ops of texts are told by `typed`. */
export class Oracle {
  readonly records = new Map<string, OracleRecord>();
  readonly verdicts = new Map<string, Verdict>();
  readonly errors = new Map<string, OracleError>();
  readonly #typed: ReadonlyMap<string, TypedTokens>;
  readonly #serverTyped: ReadonlyMap<number, TypedTokens>;
  readonly #log = new Map<string, Sent>();
  readonly #mergedTo = new Map<string, number>();
  readonly #shadows = new Map<
    string,
    { readonly fields: ReadonlyMap<number, Value>; readonly n: number }
  >();
  #tables = new Map<number, TableDefinition>();
  #lives = 0;
  #foreign = 0;
  n = 0;
  now = 0;

  constructor(
    typed: ReadonlyMap<string, TypedTokens>,
    serverTyped: ReadonlyMap<number, TypedTokens>,
  ) {
    this.#typed = typed;
    this.#serverTyped = serverTyped;
  }

  /** Takes one message of the input. */
  take(bytes: Uint8Array, atMs: number): void {
    this.now = Math.max(this.now, atMs);
    const decoded = decodeInputEntry(bytes);
    if (decoded._tag === 'Left') throw new Error('the histories hold no undecodable entries');
    const entry = decoded.right;
    if (entry.kind === 'customization') {
      this.n += 1;
      const { tables } = entry.json as Customization;
      this.#tables = new Map(tables.map((table) => [table.id, table]));
    } else if (entry.kind === 'envelope') this.#takeEnvelope(entry.envelope);
    else if (entry.kind === 'write') {
      // A write that changes nothing takes no version.
      this.n += 1;
      const isChanged = entry.ops.map((write) => this.#write(write)).includes(true);
      if (!isChanged) this.n -= 1;
    } else if (entry.kind === 'foreign')
      for (const row of entry.rows) this.#takeForeign(entry.backend, row);
    else if (entry.kind === 'resolution') {
      this.n += 1;
      this.#resolve(entry.resolution);
    }
  }

  #takeEnvelope(bytes: Uint8Array): void {
    const decoded = decodeEnvelope(bytes);
    if (decoded._tag === 'Left') throw new Error('the histories hold no broken envelopes');
    const { replica, from, offsetMs, transactions } = decoded.right;
    let index = from;
    for (const stored of transactions) {
      const opened = openTransaction(stored, crypto.sha256);
      if (opened._tag === 'Left' || opened.right.payload === undefined) throw new Error('erased');
      const transaction = decodeTransaction(opened.right.payload);
      if (transaction._tag === 'Left') throw new Error('undecodable');
      const { ops, hlc, atomicity } = transaction.right;
      const first = index;
      index += ops.length;
      const merged = this.#mergedTo.get(replica) ?? 0;
      if (first <= merged) continue;
      if (first !== merged + 1) return;
      this.#mergedTo.set(replica, index - 1);
      this.n += 1;
      const at = Math.min(hlc.wallMs + offsetMs, this.now + aheadMsMax);
      const whole: Sent[] = [];
      const partOf = new Map<string, Part>();
      ops.forEach((op, i) => {
        const key = atomicity === 'whole' ? '' : `${op.table}/${op.record}`;
        const part = partOf.get(key) ?? { sent: [], whole };
        partOf.set(key, part);
        const sent = { author: replica, index: first + i, op, at, part };
        part.sent.push(sent);
        whole.push(sent);
        this.#log.set(`${replica}/${sent.index}`, sent);
      });
      for (const part of partOf.values()) this.#arrive(part);
    }
  }

  #arrive(part: Part): void {
    const [only] = part.sent;
    if (only?.op.table === resolutionsTable) {
      this.verdicts.set(`${only.author}/${only.index}`, {
        outcome: 'applied',
        fields: new Map(),
        life: 0,
      });
      const row = resolutionFromFields(
        Object.fromEntries(only.op.set.map(({ field, after }) => [field, after])),
      );
      if (row._tag === 'Left') throw new Error('the histories hold no malformed resolutions');
      this.#resolve(row.right);
      return;
    }
    const root = this.#waitsUnder(part);
    if (root !== undefined) {
      for (const sent of part.sent) this.#parked(sent);
      root.parts.push(part);
      return;
    }
    this.#decideOrPark(part, afresh);
  }

  #decideOrPark(part: Part, choice: Choice): boolean {
    if (this.#decide(part, choice)) return true;
    const [first] = part.sent;
    if (first === undefined) return false;
    const root = `${first.author}/1/${first.index}`;
    this.errors.set(root, { root, author: first.author, state: 'open', parts: [part] });
    return false;
  }

  /** A person's decision; the first in order holds, and only on what the person saw. */
  #resolve({ root, action, shown, choices }: ResolutionRow): void {
    const error = this.errors.get(root);
    const isStale = shown.some(({ table, record, n }) => {
      const found = this.records.get(`${table}/${record}`);
      return n !== (found?.n ?? 0) && !(n === 0 && found?.deleted === true);
    });
    if (error === undefined || error.state === 'resolved' || isStale) return;
    if ((action === 'un-ignore') !== (error.state === 'ignored')) return;
    if (action === 'ignore') error.state = 'ignored';
    else if (action === 'un-ignore') error.state = 'open';
    else if (action === 'take-server') {
      error.state = 'resolved';
      for (const part of error.parts) this.#decide(part, { action, choices: [] });
    } else {
      const [first, ...dependents] = error.parts;
      if (first === undefined) return;
      if (action === 'split') {
        error.state = 'resolved';
        for (const part of partsByRecord(first)) this.#arrive(part);
      } else {
        const kind = action === 'merge' ? 'merge' : 'decide';
        if (!this.#decide(first, { action: kind, choices })) return;
        error.state = 'resolved';
      }
      for (const part of dependents) this.#arrive(part);
    }
  }

  /** The server's own writes change the current record and never conflict. */
  #write(write: ServerWrite): boolean {
    const key = `${write.table}/${write.id}`;
    let record = this.records.get(key);
    const isLive = record !== undefined && !record.deleted;
    if (write.kind === 'upsert' && !isLive) record = this.#begin(key);
    else if (!isLive || record === undefined) return false;
    let isChanged = write.kind === 'delete' || (write.kind === 'upsert' && !isLive);
    if (write.kind === 'delete') record.deleted = true;
    else if (write.kind === 'increment')
      for (const [field, by] of Object.entries(write.by)) {
        record.fields.set(Number(field), Number(record.fields.get(Number(field)) ?? 0) + by);
        isChanged = true;
      }
    else
      for (const [field, value] of Object.entries(write.fields)) {
        const isText = this.#field(write.table, Number(field))?.type === 'text';
        if (!isText && same(record.fields.get(Number(field)), value)) continue;
        if (!isText) record.fields.set(Number(field), value);
        const earlier = record.editedAt.get(Number(field)) ?? 0;
        record.editedAt.set(Number(field), Math.max(this.now, earlier + 1));
        isChanged = true;
      }
    for (const one of this.#serverTyped.get(this.n)?.added ?? []) record.typed.add(one);
    if (isChanged) this.#changed(record, 'server');
    return isChanged;
  }

  /** A foreign row is an edit of its backend: the difference to what the backend said last. */
  #takeForeign(backend: string, row: ForeignReport): void {
    const key = `${row.table}/${row.id}`;
    const author = `backend:${backend}`;
    const shadow = this.#shadows.get(key);
    const fields = Object.entries(row.fields).map(([id, value]) => [Number(id), value] as const);
    const record = this.records.get(key);
    const isLive = record !== undefined && !record.deleted;
    const changed = fields.filter(([field, after]) => !same(shadow?.fields.get(field), after));
    if (shadow !== undefined && changed.length === 0) return;
    this.n += 1;
    this.#shadows.set(key, { fields: new Map(fields), n: this.n });
    const base = { incarnation: 1, n: shadow?.n ?? 0, born: '', modifiedOn: 0 };
    const op: Operation = {
      table: row.table,
      record: row.id,
      kind: shadow === undefined ? 'create' : 'update',
      base: shadow === undefined ? null : base,
      prev: 0,
      seen: 0,
      set: changed.map(([field, after]) => {
        return { field, before: shadow?.fields.get(field) ?? null, after };
      }),
      inc: [],
      crdt: [],
      row:
        shadow === undefined || !isLive ? null : fields.map(([field, value]) => ({ field, value })),
    };
    this.#foreign += 1;
    const part: Part = { sent: [], whole: [] };
    const at = Math.min(row.modifiedOn, this.now + aheadMsMax);
    part.sent.push({ author, index: this.#foreign, op, at, part });
    this.#decideOrPark(part, afresh);
  }

  #begin(key: string): OracleRecord {
    const earlier = this.records.get(key);
    this.#lives += 1;
    const made: OracleRecord = {
      fields: new Map(),
      editedAt: new Map(),
      typed: new Set(),
      deleted: false,
      life: this.#lives,
      n: 0,
      modifiedOn: earlier?.modifiedOn ?? 0,
      changes: [...(earlier?.changes ?? [])],
    };
    this.records.set(key, made);
    return made;
  }

  /** Error under which a part waits: by a predecessor, or by a reference to a create of its author. */
  #waitsUnder(part: Part): OracleError | undefined {
    for (const { author, index, op } of part.sent) {
      if (op.prev > 0) {
        const error = this.#errorOf(`${author}/${index - op.prev}`);
        if (error !== undefined) return error;
      }
      for (const { field, after } of op.set) {
        const target = this.#field(op.table, field)?.table;
        const table = [...this.#tables.values()].find(({ name }) => name === target);
        if (table === undefined || after === null) continue;
        for (const error of this.errors.values())
          if (error.author === author && error.state !== 'resolved')
            for (const other of error.parts)
              for (const one of other.sent)
                if (
                  other !== part &&
                  one.op.kind === 'create' &&
                  one.op.table === table.id &&
                  one.op.record === after
                )
                  return error;
      }
    }
    return undefined;
  }

  #errorOf(key: string): OracleError | undefined {
    for (const error of this.errors.values())
      if (error.state !== 'resolved')
        for (const part of error.parts)
          if (part.sent.some(({ author, index }) => `${author}/${index}` === key)) return error;
    return undefined;
  }

  #field(table: number, field: number): FieldDefinition | undefined {
    return this.#tables.get(table)?.fields.find(({ id }) => id === field);
  }

  #parked(sent: Sent): void {
    const verdict: Verdict = { outcome: 'parked', fields: new Map(), life: this.#lifeMeant(sent) };
    for (const { field } of sent.op.set) verdict.fields.set(field, 'parked');
    this.verdicts.set(`${sent.author}/${sent.index}`, verdict);
  }

  /** Decides a part: all of it, or nothing of it. */
  #decide(part: Part, choice: Choice): boolean {
    const before = new Map<string, OracleRecord | undefined>();
    const verdictsBefore = new Map<string, Verdict | undefined>();
    for (const { author, index, op } of part.sent) {
      const key = `${op.table}/${op.record}`;
      const record = this.records.get(key);
      before.set(key, record && copyOf(record));
      verdictsBefore.set(`${author}/${index}`, this.verdicts.get(`${author}/${index}`));
    }
    const lives = this.#lives;
    try {
      for (const sent of part.sent) {
        const verdict = this.#decideOp(sent, choice);
        this.verdicts.set(`${sent.author}/${sent.index}`, verdict);
      }
      return true;
    } catch (cause) {
      if (!(cause instanceof Parks)) throw cause;
      this.#lives = lives;
      for (const [key, record] of before)
        if (record === undefined) this.records.delete(key);
        else this.records.set(key, record);
      for (const [key, verdict] of verdictsBefore)
        if (verdict === undefined) this.verdicts.delete(key);
        else this.verdicts.set(key, verdict);
      for (const sent of part.sent) this.#parked(sent);
      return false;
    }
  }

  /** The author's earlier operations on the record that its base does not include, newest first. */
  #chain({ author, index, op }: Sent): readonly (readonly [Sent, Verdict])[] {
    const found: (readonly [Sent, Verdict])[] = [];
    let { prev } = op;
    let at = index;
    while (prev > 0) {
      at -= prev;
      const sent = this.#log.get(`${author}/${at}`);
      const verdict = this.verdicts.get(`${author}/${at}`);
      if (sent === undefined || verdict === undefined) break;
      found.push([sent, verdict]);
      ({ prev } = sent.op);
    }
    return found;
  }

  /** Life that the author meant: that which its predecessor left, else that of its base. */
  #lifeMeant(sent: Sent): number {
    const [newest] = this.#chain(sent);
    if (newest !== undefined) return newest[1].life;
    const { base, table, record } = sent.op;
    const changes = this.records.get(`${table}/${record}`)?.changes ?? [];
    return base === null ? 0 : (changes.findLast(({ n }) => n <= base.n)?.life ?? 0);
  }

  /** Nobody but the author changed the record since its base, and all its predecessors were applied. */
  #isClean(sent: Sent, record: OracleRecord): boolean {
    const { base } = sent.op;
    if (base !== null && base.n === record.n) return true;
    if (this.#chain(sent).some(([, { outcome }]) => outcome !== 'applied')) return false;
    const since = record.changes.filter(({ n, life }) =>
      base === null ? life === record.life : n > base.n,
    );
    return since.every(({ by }) => by === sent.author);
  }

  #decideOp(sent: Sent, choice: Choice): Verdict {
    const { op } = sent;
    const table = this.#tables.get(op.table);
    if (table === undefined) throw new Parks('unknown table');
    const record = this.records.get(`${op.table}/${op.record}`);
    const verdict: Verdict = {
      outcome: 'superseded',
      fields: new Map(),
      life: this.#lifeMeant(sent),
    };
    if (choice.action === 'take-server') {
      for (const { field } of op.set) verdict.fields.set(field, 'superseded');
      if (op.kind === 'create' && record !== undefined) verdict.life = record.life;
      return verdict;
    }
    const existence = choice.choices.find(
      (one) => one.field === 0 && one.table === op.table && one.record === op.record,
    )?.pick;
    if (existence === 'theirs') {
      for (const { field } of op.set) verdict.fields.set(field, 'superseded');
      return verdict;
    }
    if (op.kind === 'create') return this.#create(sent, table, record, verdict, choice);
    if (op.kind === 'delete') return this.#delete(sent, table, record, verdict, existence);
    return this.#update(sent, table, record, verdict, choice, existence);
  }

  #create(
    sent: Sent,
    table: TableDefinition,
    record: OracleRecord | undefined,
    verdict: Verdict,
    choice: Choice,
  ): Verdict {
    const { op, author } = sent;
    if (record !== undefined && !record.deleted) {
      verdict.life = record.life;
      this.#setFields(sent, table, record, verdict, choice);
      return verdict;
    }
    const made = this.#begin(`${op.table}/${op.record}`);
    for (const { field, after } of op.set) {
      if (this.#field(op.table, field)?.type !== 'text') made.fields.set(field, after);
      made.editedAt.set(field, Math.max(sent.at, op.seen + 1));
      verdict.fields.set(field, 'applied');
    }
    this.#type(sent, made);
    verdict.life = made.life;
    verdict.outcome = 'applied';
    this.#changed(made, author);
    return verdict;
  }

  #delete(
    sent: Sent,
    table: TableDefinition,
    record: OracleRecord | undefined,
    verdict: Verdict,
    existence: ResolutionChoice['pick'] | undefined,
  ): Verdict {
    const isGone = record === undefined || record.deleted || record.life !== verdict.life;
    if (isGone) {
      verdict.outcome = 'same';
      return verdict;
    }
    if (existence !== 'mine' && !this.#isClean(sent, record)) {
      if (table.onDelete === 'manual') throw new Parks('delete against edit');
      if (table.onDelete === 'edit-wins') return verdict;
    }
    record.deleted = true;
    verdict.outcome = 'applied';
    this.#changed(record, sent.author);
    return verdict;
  }

  #update(
    sent: Sent,
    table: TableDefinition,
    record: OracleRecord | undefined,
    verdict: Verdict,
    choice: Choice,
    existence: ResolutionChoice['pick'] | undefined,
  ): Verdict {
    const isOfLife = record !== undefined && record.life === verdict.life;
    if (record === undefined || !isOfLife) {
      if (record !== undefined && table.onDelete === 'delete-wins') return verdict;
      throw new Parks('gone');
    }
    if (record.deleted) {
      if (table.onDelete === 'delete-wins') return verdict;
      if (table.onDelete === 'manual' && existence !== 'mine')
        throw new Parks('edit against delete');
      record.deleted = false;
      verdict.outcome = 'same';
      this.#setFields(sent, table, record, verdict, choice);
      this.#changed(record, sent.author);
      return verdict;
    }
    this.#setFields(sent, table, record, verdict, choice);
    return verdict;
  }

  /** Decides the fields of an operation on a live record. */
  #setFields(
    sent: Sent,
    table: TableDefinition,
    record: OracleRecord,
    verdict: Verdict,
    choice: Choice,
  ): void {
    const { op, author } = sent;
    const outcomes: FieldOutcome[] = [];
    let isChanged = false;
    const isFull =
      table.rule === 'device-wins-full' && op.row !== null && !this.#isClean(sent, record);
    for (const { field, before, after } of op.set) {
      const definition = this.#field(op.table, field);
      if (definition === undefined) throw new Parks('unknown field');
      if (definition.type === 'text') {
        isChanged = true;
        outcomes.push('applied');
        continue;
      }
      const picked = choice.choices.find(
        (one) => one.field === field && one.table === op.table && one.record === op.record,
      );
      const time = Math.max(sent.at, op.seen + 1);
      let outcome: FieldOutcome;
      if (picked?.pick === 'theirs') outcome = 'superseded';
      else if (picked !== undefined) outcome = 'applied';
      else outcome = this.#fieldOutcome(sent, table, definition, record, before, after, time);
      const value = picked?.pick === 'value' ? (picked.value ?? null) : after;
      if (outcome === 'applied') {
        record.fields.set(field, value);
        const earlier = record.editedAt.get(field) ?? 0;
        record.editedAt.set(field, Math.max(time, same(before, value) ? earlier : earlier + 1));
        isChanged = true;
      } else if (outcome === 'same' && (definition.rule ?? table.rule) === 'latest-wins') {
        if (time > (record.editedAt.get(field) ?? 0)) {
          record.editedAt.set(field, time);
          isChanged = true;
        }
      }
      verdict.fields.set(field, outcome);
      outcomes.push(outcome);
    }
    if (isFull)
      for (const { field, value } of op.row ?? []) {
        const definition = this.#field(op.table, field);
        if (definition === undefined || definition.rule !== undefined) continue;
        if (definition.type === 'counter' || definition.type === 'text') continue;
        if (!same(record.fields.get(field), value)) isChanged = true;
        record.fields.set(field, value);
      }
    for (const { field, by } of op.inc) {
      record.fields.set(field, Number(record.fields.get(field) ?? 0) + by);
      isChanged = true;
      outcomes.push('applied');
    }
    if (op.crdt.length > 0 || this.#typed.has(`${author}/${sent.index}`)) {
      this.#type(sent, record);
      isChanged = true;
      outcomes.push('applied');
    }
    const strongest = (['applied', 'superseded', 'same'] as const).find((one) =>
      outcomes.includes(one),
    );
    verdict.outcome = strongest ?? 'same';
    if (isChanged) this.#changed(record, author);
  }

  #fieldOutcome(
    sent: Sent,
    table: TableDefinition,
    definition: FieldDefinition,
    record: OracleRecord,
    before: Value,
    after: Value,
    time: number,
  ): FieldOutcome {
    const field = definition.id;
    const rule: ResolutionRule = definition.rule ?? table.rule;
    const theirs = record.fields.get(field) ?? null;
    const earlier = this.#chain(sent)
      .map(([, verdict]) => verdict.fields.get(field))
      .filter((outcome) => outcome !== undefined);
    const isBroken = earlier.some((outcome) => outcome !== 'applied');
    if (same(theirs, after)) return 'same';
    if (!isBroken && same(theirs, before)) return 'applied';
    if (rule === 'device-wins' || rule === 'device-wins-full') return 'applied';
    if (rule === 'server-wins') return 'superseded';
    if (rule === 'manual') throw new Parks('conflict');
    if (earlier.includes('superseded')) return 'superseded';
    const theirTime = record.editedAt.get(field) ?? record.modifiedOn;
    if (time === theirTime) throw new Parks('equal times');
    return time > theirTime ? 'applied' : 'superseded';
  }

  #type(sent: Sent, record: OracleRecord): void {
    const typed = this.#typed.get(`${sent.author}/${sent.index}`);
    for (const one of typed?.added ?? []) record.typed.add(one);
  }

  #changed(record: OracleRecord, by: string): void {
    record.n = this.n;
    record.modifiedOn = Math.max(this.now, record.modifiedOn + 1);
    record.changes.push({ n: this.n, by, life: record.life });
  }
}

/** The operations of each record as a part of their own, in the order of their first. */
const partsByRecord = (part: Part): readonly Part[] => {
  const parts = new Map<string, Part>();
  for (const sent of part.sent) {
    const key = `${sent.op.table}/${sent.op.record}`;
    const own = parts.get(key) ?? { sent: [], whole: part.whole };
    parts.set(key, own);
    own.sent.push({ ...sent, part: own });
  }
  return [...parts.values()];
};

const copyOf = (record: OracleRecord): OracleRecord => ({
  ...record,
  fields: new Map(record.fields),
  editedAt: new Map(record.editedAt),
  typed: new Set(record.typed),
  changes: [...record.changes],
});
