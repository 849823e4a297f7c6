import type {
  FieldDefinition,
  Operation,
  ResolutionChoice,
  ResolutionRule,
  TableDefinition,
  Value,
} from '@tidemark/model';
import type { TypedTokens } from './history.js';

/** Milliseconds by which an author's clock may be ahead of the receipt. */
export const aheadMsMax = 5 * 60_000;

/** What an operation came to; `combined` counts as applied. */
export type OracleOutcome = 'applied' | 'same' | 'superseded' | 'parked';
export type FieldOutcome = OracleOutcome;

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

export interface Sent {
  readonly author: string;
  readonly index: number;
  readonly op: Operation;
  /** Its author's time, bounded by `latest`. */
  readonly at: number;
  readonly latest: number;
  readonly part: Part;
}

/** Operations that are decided together, in order. */
export interface Part {
  readonly sent: Sent[];
  readonly whole: readonly Sent[];
}

export interface Verdict {
  outcome: OracleOutcome;
  readonly fields: Map<number, FieldOutcome>;
  /** Life of the record that the author meant, as of this operation; 0 none. */
  life: number;
  /** True for a create that found nothing alive. */
  began?: boolean;
  /** True for a create that began a life or met one. */
  hasLife?: boolean;
  /** Version at which it was decided. */
  readonly n: number;
}

/** Thrown inside a part: it parks. */
class Parks extends Error {}

export interface Choice {
  readonly action: 'decide' | 'take-server' | 'merge';
  readonly choices: readonly ResolutionChoice[];
}
export const afresh: Choice = { action: 'decide', choices: [] };

export const same = (a: Value | undefined, b: Value | undefined): boolean =>
  (a ?? null) === (b ?? null);

/** Decides operations as the design says, with all records, operations and verdicts at hand. */
export class OracleDecider {
  readonly records = new Map<string, OracleRecord>();
  readonly verdicts = new Map<string, Verdict>();
  n = 0;
  now = 0;
  protected readonly log = new Map<string, Sent>();
  protected tables = new Map<number, TableDefinition>();
  protected readonly typed: ReadonlyMap<string, TypedTokens>;
  #lives = 0;

  constructor(typed: ReadonlyMap<string, TypedTokens>) {
    this.typed = typed;
  }

  /** Begins a life of a record. */
  protected begin(key: string): OracleRecord {
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

  /** Definition of a field, if the schema has it. */
  protected field(table: number, field: number): FieldDefinition | undefined {
    return this.tables.get(table)?.fields.find(({ id }) => id === field);
  }

  /** Notes that an operation waits. */
  protected parked(sent: Sent): void {
    const verdict: Verdict = {
      outcome: 'parked',
      fields: new Map(),
      life: this.#lifeMeant(sent),
      n: this.n,
    };
    for (const { field } of sent.op.set) verdict.fields.set(field, 'parked');
    this.verdicts.set(`${sent.author}/${sent.index}`, verdict);
  }

  /** Remembers what a part may change; returns the way back. */
  protected snapshot(part: Part): () => void {
    const records = new Map<string, OracleRecord | undefined>();
    const verdicts = new Map<string, Verdict | undefined>();
    for (const { author, index, op } of part.sent) {
      const record = this.records.get(`${op.table}/${op.record}`);
      records.set(`${op.table}/${op.record}`, record && copyOf(record));
      verdicts.set(`${author}/${index}`, this.verdicts.get(`${author}/${index}`));
    }
    return () => {
      for (const [key, record] of records)
        if (record === undefined) this.records.delete(key);
        else this.records.set(key, record);
      for (const [key, verdict] of verdicts)
        if (verdict === undefined) this.verdicts.delete(key);
        else this.verdicts.set(key, verdict);
    };
  }

  /** Decides a part: all of it, or nothing of it. */
  protected decide(part: Part, choice: Choice): boolean {
    const undo = this.snapshot(part);
    try {
      for (const sent of part.sent) {
        const verdict = this.#decideOp(sent, choice);
        this.verdicts.set(`${sent.author}/${sent.index}`, verdict);
      }
      return true;
    } catch (cause) {
      if (!(cause instanceof Parks)) throw cause;
      undo();
      for (const sent of part.sent) this.parked(sent);
      return false;
    }
  }

  /** The author's earlier operations on the record that its base does not include, newest first. */
  #chain({ author, index, op }: Sent): readonly (readonly [Sent, Verdict])[] {
    const found: (readonly [Sent, Verdict])[] = [];
    let { prev } = op;
    let at = index;
    // What lies behind the oldest operation that the author had not seen decided is no part of the chain.
    while (prev > 0 && at - prev >= index - op.since) {
      at -= prev;
      const sent = this.log.get(`${author}/${at}`);
      const verdict = this.verdicts.get(`${author}/${at}`);
      if (sent === undefined || verdict === undefined) break;
      found.push([sent, verdict]);
      // A create that began a life has nothing of the earlier ones behind it.
      if (verdict.began === true) break;
      ({ prev } = sent.op);
    }
    return found;
  }

  /** Life that the author meant: that which its own create began or met, else that of its base. */
  #lifeMeant(sent: Sent): number {
    // A backend knows of no lives: its row is whatever record has that id.
    if (sent.author.startsWith('backend:'))
      return this.records.get(`${sent.op.table}/${sent.op.record}`)?.life ?? 0;
    const chain = this.#chain(sent);
    for (const [, verdict] of chain) if (verdict.hasLife === true) return verdict.life;
    const { base, table, record } = sent.op;
    const found = this.records.get(`${table}/${record}`);
    if (found !== undefined && this.#isOwnBirth(sent, found)) return found.life;
    // Behind a predecessor whose own create is out of reach, it is still that one's life that goes on.
    const [newest] = chain;
    if (base === null && newest !== undefined && newest[1].life > 0) return newest[1].life;
    // Who saw no version, and whose create came to nothing, means whatever is there.
    if (base === null) return found?.life ?? 0;
    return [...(found?.changes ?? [])].reverse().find(({ n }) => n <= base.n)?.life ?? 0;
  }

  /** The record lives by a create of the author that the operation's base does not include. */
  #isOwnBirth({ author, op }: Sent, record: OracleRecord): boolean {
    const birth = record.changes.find(({ life }) => life === record.life);
    return op.prev > 0 && birth?.by === author && birth.n > (op.base?.n ?? 0);
  }

  /** Nobody but the author changed the record since its base, and all its predecessors were applied. */
  #isClean(sent: Sent, record: OracleRecord): boolean {
    const { base } = sent.op;
    if (base !== null && base.n === record.n) return true;
    const newest = new Map<number, FieldOutcome>();
    let began = this.#isOwnBirth(sent, record);
    for (const [{ op }, verdict] of this.#chain(sent)) {
      const { outcome, fields } = verdict;
      if (verdict.hasLife === true && verdict.began !== true) return false;
      began ||= verdict.began === true && verdict.life === record.life;
      const byFields = fields.size > 0 && op.inc.length === 0 && op.crdt.length === 0;
      if (outcome !== 'applied' && !byFields) return false;
      for (const [field, one] of fields) if (!newest.has(field)) newest.set(field, one);
    }
    if ([...newest.values()].some((one) => one !== 'applied')) return false;
    const since = record.changes.filter(({ n, life }) =>
      began || base === null ? life === record.life : n > base.n,
    );
    return since.every(({ by }) => by === sent.author);
  }

  #decideOp(sent: Sent, choice: Choice): Verdict {
    const { op } = sent;
    const table = this.tables.get(op.table);
    if (table === undefined) throw new Parks('unknown table');
    const record = this.records.get(`${op.table}/${op.record}`);
    const verdict: Verdict = {
      outcome: 'superseded',
      fields: new Map(),
      life: this.#lifeMeant(sent),
      n: this.n,
    };
    if (choice.action === 'take-server') {
      return supersede(op, verdict);
    }
    const existence = choice.choices.find(
      (one) => one.field === 0 && one.table === op.table && one.record === op.record,
    )?.pick;
    if (existence === 'theirs') return supersede(op, verdict);
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
    verdict.hasLife = true;
    if (record !== undefined && !record.deleted) {
      verdict.life = record.life;
      this.#setFields(sent, table, record, verdict, choice);
      return verdict;
    }
    const made = this.begin(`${op.table}/${op.record}`);
    for (const { field, after } of op.set) {
      if (this.field(op.table, field)?.type !== 'text') made.fields.set(field, after);
      made.editedAt.set(field, timeOf(sent));
      verdict.fields.set(field, 'applied');
    }
    this.#type(sent, made);
    verdict.life = made.life;
    verdict.began = true;
    verdict.outcome = 'applied';
    this.changed(made, author);
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
    this.changed(record, sent.author);
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
      if (record !== undefined && table.onDelete === 'delete-wins')
        return supersede(sent.op, verdict);
      throw new Parks('gone');
    }
    if (record.deleted) {
      if (table.onDelete === 'delete-wins') return supersede(sent.op, verdict);
      if (table.onDelete === 'manual' && existence !== 'mine')
        throw new Parks('edit against delete');
      record.deleted = false;
      this.#setFields(sent, table, record, verdict, choice);
      verdict.outcome = 'applied';
      this.changed(record, sent.author);
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
      const definition = this.field(op.table, field);
      if (definition === undefined) throw new Parks('unknown field');
      if (definition.type === 'text') {
        isChanged = true;
        outcomes.push('applied');
        continue;
      }
      // Of several choices for a field the last counts.
      const picked = [...choice.choices]
        .reverse()
        .find((one) => one.field === field && one.table === op.table && one.record === op.record);
      const time = timeOf(sent);
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
        const definition = this.field(op.table, field);
        if (definition === undefined || definition.rule !== undefined) continue;
        if (definition.type === 'counter' || definition.type === 'text') continue;
        if (!same(record.fields.get(field), value)) {
          isChanged = true;
          outcomes.push('applied');
        }
        record.fields.set(field, value);
      }
    for (const { field, by } of op.inc) {
      record.fields.set(field, Number(record.fields.get(field) ?? 0) + by);
      isChanged = true;
      outcomes.push('applied');
    }
    if (op.crdt.length > 0 || this.typed.has(`${author}/${sent.index}`)) {
      this.#type(sent, record);
      isChanged = true;
      outcomes.push('applied');
    }
    const strongest = (['applied', 'superseded', 'same'] as const).find((one) =>
      outcomes.includes(one),
    );
    verdict.outcome = strongest ?? 'same';
    if (isChanged) this.changed(record, author);
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
    // How the author's newest earlier edit of the field fared.
    const earlier = this.#chain(sent)
      .map(([, verdict]) => verdict.fields.get(field))
      .find((outcome) => outcome !== undefined);
    const isBroken = earlier !== undefined && earlier !== 'applied';
    if (same(theirs, after)) return 'same';
    if (!isBroken && same(theirs, before)) return 'applied';
    if (rule === 'device-wins' || rule === 'device-wins-full') return 'applied';
    if (rule === 'server-wins') return 'superseded';
    if (rule === 'manual') throw new Parks('conflict');
    if (earlier === 'superseded') return 'superseded';
    const theirTime = record.editedAt.get(field) ?? record.modifiedOn;
    if (time === theirTime) throw new Parks('equal times');
    return time > theirTime ? 'applied' : 'superseded';
  }

  #type(sent: Sent, record: OracleRecord): void {
    const typed = this.typed.get(`${sent.author}/${sent.index}`);
    for (const one of typed?.added ?? []) record.typed.add(one);
  }

  /** Notes who changed a record, at the version under way. */
  protected changed(record: OracleRecord, by: string): void {
    record.n = this.n;
    record.modifiedOn = Math.max(this.now, record.modifiedOn + 1);
    record.changes.push({ n: this.n, by, life: record.life });
  }
}
/** Corrected time of an operation: later than what its author had seen, and never past its bound but by that. */
const timeOf = ({ op, at, latest }: Sent): number =>
  op.seen > 0 ? Math.max(at, Math.min(op.seen, latest) + 1) : at;

/** All of an operation gives way. */
const supersede = (op: Operation, verdict: Verdict): Verdict => {
  for (const { field } of op.set) verdict.fields.set(field, 'superseded');
  return verdict;
};

const copyOf = (record: OracleRecord): OracleRecord => ({
  ...record,
  fields: new Map(record.fields),
  editedAt: new Map(record.editedAt),
  typed: new Set(record.typed),
  changes: [...record.changes],
});
