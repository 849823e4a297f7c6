import type { ForeignReport } from '@tidemark/merger';
import {
  indexSchema,
  resolutionFromFields,
  resolutionsTable,
  type Customization,
  type Operation,
  type ResolutionRow,
  type RowFields,
} from '@tidemark/model';
import { sketchOperation } from '@tidemark/testkit';
import { OracleDecider, opIdOf, placeOf, type Part, type Sent } from './oracle-decider.js';
import { readable, type ReadEntry, type ReadEnvelope } from './read-entry.js';

/*
 * A slow, plain second opinion on what the input means, written from the design alone; of the engine it has
 * only the form of the input's bytes. It keeps every verdict and every version of each record, and asks them
 * each time: no sparse keys, nothing worked out before. Writes of the server, rows of backends and what
 * devices send are all operations to it, decided by the same rules.
 */

/** Milliseconds by which an author's clock may be ahead of the receipt. */
const aheadMsMax = 5 * 60_000;

/** Sync error of the oracle: its root is the OpId of the first operation. */
export interface OracleError {
  readonly root: string;
  state: 'open' | 'ignored' | 'resolved';
  /** What waits, the root's own operations first. */
  readonly parts: Part[];
}

/** Folds an input as the design says it should be. Of texts it knows only which operations are in them. */
export class Oracle extends OracleDecider {
  readonly errors = new Map<string, OracleError>();
  /** What backends said last of records, and at which version. */
  readonly #shadows = new Map<string, { fields: RowFields; rowVersion: number; n: number }>();
  /** Keys of replicas, and what else is said of identities. */
  readonly #identities = new Map<string, string>();

  /** Takes one entry of the input, and when it was received. */
  take(entry: ReadEntry, atMs: number): void {
    this.now = Math.max(this.now, atMs);
    if (entry.kind === 'envelope') this.#takeEnvelope(entry, atMs);
    else if (entry.kind === 'foreign')
      for (const row of entry.rows) this.#takeForeign(entry.backend, row);
    else if (entry.kind === 'enroll') this.#identify(`key ${entry.replica}`, entry.publicKey);
    else if (entry.kind === 'revoke') this.#identify(`${entry.of} ${entry.id}`, 'revoked');
    else if (entry.kind === 'policy') this.#identify('policy', 'set');
    else if (entry.kind === 'write') {
      this.n += 1;
      const isChanged = entry.ops.map((write) => this.#write(write)).includes(true);
      // Writes that change nothing take no version.
      if (!isChanged) this.n -= 1;
    } else if (entry.kind === 'resolution') {
      this.n += 1;
      this.#resolve(entry.resolution);
    } else if (entry.kind === 'customization') {
      this.n += 1;
      this.tables = indexSchema(entry.json as Customization, []).tablesById;
    }
  }

  /** What is said again takes no version. The histories enrol nobody who may not be. */
  #identify(subject: string, said: string): void {
    if (this.#identities.get(subject) !== said) this.n += 1;
    this.#identities.set(subject, said);
  }

  #takeEnvelope({ replica, offsetMs, transactions }: ReadEnvelope, receivedAt: number): void {
    for (const { first, ops, hlc, atomicity } of transactions) {
      // What was decided is no news, and what lies behind a gap has to come again.
      if (this.verdicts.has(opIdOf(replica, first))) continue;
      if (first > 1 && !this.verdicts.has(opIdOf(replica, first - 1))) return;
      this.n += 1;
      const wallMs = hlc.wallMs + offsetMs;
      const sent = ops.map((op, i) => this.#sent(replica, first + i, op, wallMs, receivedAt));
      this.#arrive(atomicity === 'whole' ? [sent] : byRecord(sent));
    }
  }

  /** The time of an operation is bounded by its receipt, and later than what its author had seen. */
  #sent(author: string, index: number, op: Operation, wallMs: number, receivedAt: number): Sent {
    const latest = receivedAt + aheadMsMax;
    const time = Math.max(Math.min(wallMs, latest), Math.min(op.seen, latest) + 1);
    return { ...op, id: opIdOf(author, index), author, index, time };
  }

  /**
   * Decides the parts of one transaction, each apart, or notes that they wait. Parts that a person or a
   * backend asks for (`isAsked`) wait for nothing but each other.
   */
  #arrive(parts: readonly Part[], isAsked = false): void {
    const left = new Set(parts);
    const arrive = (part: Part): void => {
      if (!left.delete(part)) return;
      // That to which it refers is decided before it.
      for (const other of left)
        if (part.some((sent) => other.some((one) => this.#isCreateFor(sent, one)))) arrive(other);
      const [first] = part;
      const root = this.#rootOf(part, (other) => !isAsked || parts.includes(other));
      if (root !== undefined) {
        this.park(part);
        root.parts.push(part);
        // Nothing is set aside unseen.
        root.state = 'open';
      } else if (first?.table === resolutionsTable) this.#resolveOn(first);
      else if (first !== undefined && !this.decide(part))
        this.errors.set(first.id, { root: first.id, state: 'open', parts: [part] });
    };
    parts.forEach(arrive);
  }

  /** Error under which a part waits: by a predecessor, or by a reference to a create of its author. */
  #rootOf(part: Part, counts: (other: Part) => boolean): OracleError | undefined {
    const unresolved = [...this.errors.values()].filter(({ state }) => state !== 'resolved');
    const under = (isIt: (one: Sent) => boolean): OracleError | undefined =>
      unresolved.find(({ parts }) => parts.filter(counts).flat().some(isIt));
    for (const sent of part) {
      const before = opIdOf(sent.author, sent.index - sent.prev);
      const root = under(({ id }) => id === before) ?? under((one) => this.#isCreateFor(sent, one));
      if (root !== undefined) return root;
    }
    return undefined;
  }

  /** Whether an operation refers to a record that another one of its author creates. */
  #isCreateFor(sent: Sent, { author, kind, table, record }: Sent): boolean {
    if (author !== sent.author || kind !== 'create') return false;
    const { name } = this.tables.get(table) ?? {};
    const fields = this.tables.get(sent.table)?.fieldsById;
    return sent.set.some((one) => one.after === record && fields?.get(one.field)?.table === name);
  }

  /** A device resolves by a create. */
  #resolveOn(sent: Sent): void {
    this.verdicts.set(sent.id, { sent, outcome: 'applied', fields: new Map(), life: null });
    const fields = Object.fromEntries(sent.set.map(({ field, after }) => [field, after]));
    this.#resolve(readable(resolutionFromFields(fields)));
  }

  /** A person's decision; the first in order holds, and only on what the person saw. */
  #resolve({ root, action, shown, choices }: ResolutionRow): void {
    const error = this.errors.get(root);
    const isStale = shown.some((one) => {
      const { n, deleted } = this.record(one);
      return one.n !== n && !(one.n === 0 && deleted);
    });
    const state = action === 'un-ignore' ? 'ignored' : 'open';
    if (error?.state !== state || isStale) return;
    const [first = [], ...dependents] = error.parts;
    if (action === 'ignore') error.state = 'ignored';
    else if (action === 'un-ignore') error.state = 'open';
    else if (action === 'take-server') {
      error.state = 'resolved';
      const none = error.parts.flat().map((one) => ({ ...one, field: 0, pick: 'theirs' as const }));
      for (const part of error.parts) this.decide(part, none);
    } else {
      if (action !== 'split' && !this.decide(first, choices)) return;
      error.state = 'resolved';
      if (action === 'split') this.#arrive(byRecord(first), true);
      for (const part of dependents) this.#arrive([part]);
    }
  }

  /** A write of the server is an edit by one who has seen everything. Returns whether it changes anything. */
  #write(write: Extract<ReadEntry, { kind: 'write' }>['ops'][number]): boolean {
    const at = { table: write.table, record: write.id };
    const { deleted, n } = this.record(at);
    if (deleted && write.kind !== 'upsert') return false;
    const kind = deleted ? 'create' : write.kind === 'delete' ? 'delete' : 'update';
    const set = this.differences(at, 'fields' in write ? write.fields : {});
    const by = Object.entries('by' in write ? write.by : {});
    const inc = by.map(([field, more]) => ({ field: Number(field), by: more }));
    if (kind === 'update' && set.length + inc.length === 0) return false;
    const op = sketchOperation({ ...at, kind, base: baseAt(n), set, inc });
    return this.decide([this.#sent('server', this.n, op, this.now, this.now)]);
  }

  /** A foreign row is an edit of its backend: the difference to what the backend said last. */
  #takeForeign(backend: string, report: ForeignReport): void {
    const at = { table: report.table, record: report.id };
    const shadow = this.#shadows.get(placeOf(at));
    const rowVersion = report.rowVersion ?? (shadow?.rowVersion ?? 0) + 1;
    if (shadow !== undefined && rowVersion <= shadow.rowVersion) return;
    const defined =
      this.tables.get(at.table)?.fields.filter(({ type }) => type !== 'counter') ?? [];
    const row = defined.map(({ id }) => ({ field: id, value: report.fields[id] ?? null }));
    const fields = Object.fromEntries(row.map(({ field, value }) => [field, value]));
    const changed = this.differences(at, fields, shadow?.fields);
    // Texts are not held here: without a shadow, the rows of the histories name the one that is there.
    const plain = changed.filter(({ field }) => !this.isText(at.table, field));
    const isNews = shadow ? changed.length > 0 : plain.length > 0 || this.record(at).deleted;
    if (isNews) this.n += 1;
    this.#shadows.set(placeOf(at), { fields, rowVersion, n: this.n });
    if (!isNews) return;
    // Without a shadow it is not known what the backend saw, and what it holds on purpose.
    const op = shadow
      ? { kind: 'update' as const, base: baseAt(shadow.n), set: plain, row }
      : { kind: 'create' as const, set: plain.map((one) => ({ ...one, before: null })) };
    const whole = sketchOperation({ ...at, ...op });
    const sent = this.#sent(`backend:${backend}`, this.n, whole, report.modifiedOn, this.now);
    this.#arrive([[sent]], true);
  }
}

const baseAt = (n: number) => ({ incarnation: 1, n, born: '', modifiedOn: 0 });

/** The operations of each record as a part of their own, in the order of their first. */
const byRecord = (part: Part): readonly Part[] => {
  const places = new Set(part.map(placeOf));
  return [...places].map((place) => part.filter((one) => placeOf(one) === place));
};
