import { decodeInputEntry, type ForeignReport, type InputEntry } from '@tidemark/merger';
import {
  decodeEnvelope,
  decodeTransaction,
  openTransaction,
  resolutionFromFields,
  resolutionsTable,
  type Customization,
  type Operation,
  type ResolutionRow,
  type RowFields,
} from '@tidemark/model';
import type { TypedTokens } from './history.js';
import { crypto } from './memory-parts.js';
import { OracleDecider, opIdOf, placeOf, same, type Part, type Sent } from './oracle-decider.js';

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

/** Folds an input as the design says it should be. What was typed into texts is told to it. */
export class Oracle extends OracleDecider {
  readonly errors = new Map<string, OracleError>();
  readonly #typed: ReadonlyMap<string, TypedTokens>;
  /** What backends said last of records, and at which version. */
  readonly #shadows = new Map<string, { fields: RowFields; rowVersion: number; n: number }>();
  /** Keys of replicas, and what else is said of identities. */
  readonly #identities = new Map<string, string>();

  /** `typed` is by `replica/index` of operations, `serverTyped` by version of server writes. */
  constructor(
    typed: ReadonlyMap<string, TypedTokens>,
    serverTyped: ReadonlyMap<number, TypedTokens>,
  ) {
    super();
    const ofServer = [...serverTyped].map(([n, tokens]) => [`server/${n}`, tokens] as const);
    this.#typed = new Map([...typed, ...ofServer]);
  }

  /** Takes one message of the input. */
  take(bytes: Uint8Array, atMs: number): void {
    this.now = Math.max(this.now, atMs);
    const entry = decoded(decodeInputEntry(bytes));
    if (entry.kind === 'envelope') this.#takeEnvelope(entry.envelope, atMs);
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
      const { tables } = entry.json as Customization;
      this.tables = new Map(tables.map((table) => [table.id, table]));
    }
  }

  /** An operation, and who changed its record when, for messages. */
  toldOf(id: string): string {
    const sent = this.verdicts.get(id)?.sent;
    const changes = sent && this.versions(placeOf(sent)).map(({ n, by }) => `${n} ${by}`);
    return JSON.stringify({ sent, changes });
  }

  /** What is said again takes no version. The histories enrol nobody who may not be. */
  #identify(subject: string, said: string): void {
    if (this.#identities.get(subject) !== said) this.n += 1;
    this.#identities.set(subject, said);
  }

  #takeEnvelope(bytes: Uint8Array, receivedAt: number): void {
    const { replica, from, offsetMs, transactions } = decoded(decodeEnvelope(bytes));
    let next = from;
    for (const stored of transactions) {
      const { payload } = decoded(openTransaction(stored, crypto.sha256));
      const { ops, hlc, atomicity } = decoded(decodeTransaction(payload ?? new Uint8Array()));
      const first = next;
      next += ops.length;
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
    const typed = this.#typed.get(`${author}/${index}`)?.added ?? [];
    return { ...op, id: opIdOf(author, index), author, index, time, typed };
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
      const root = this.#rootOf(part, isAsked ? parts : undefined);
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
  #rootOf(part: Part, among?: readonly Part[]): OracleError | undefined {
    const waiting = [...this.errors.values()].flatMap((error) => {
      const parts = error.state === 'resolved' ? [] : error.parts;
      const counted = among === undefined ? parts : parts.filter((one) => among.includes(one));
      return counted.flat().map((one) => ({ error, one }));
    });
    for (const sent of part) {
      const before = opIdOf(sent.author, sent.index - sent.prev);
      const found =
        waiting.find(({ one }) => one.id === before) ??
        waiting.find(({ one }) => this.#isCreateFor(sent, one));
      if (found !== undefined) return found.error;
    }
    return undefined;
  }

  /** Whether an operation refers to a record that another one of its author creates. */
  #isCreateFor(sent: Sent, { author, kind, table, record }: Sent): boolean {
    if (author !== sent.author || kind !== 'create') return false;
    const { name } = this.tables.get(table) ?? {};
    return sent.set.some(
      ({ field, after }) => after === record && this.field(sent.table, field)?.table === name,
    );
  }

  /** A device resolves by a create. */
  #resolveOn(sent: Sent): void {
    this.verdicts.set(sent.id, { sent, outcome: 'applied', fields: new Map(), life: null });
    const fields = Object.fromEntries(sent.set.map(({ field, after }) => [field, after]));
    this.#resolve(decoded(resolutionFromFields(fields)));
  }

  /** A person's decision; the first in order holds, and only on what the person saw. */
  #resolve({ root, action, shown, choices }: ResolutionRow): void {
    const error = this.errors.get(root);
    const isStale = shown.some((one) => {
      const { n, deleted } = this.record(placeOf(one));
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
  #write(write: Extract<InputEntry, { kind: 'write' }>['ops'][number]): boolean {
    const { table, id: record } = write;
    const place = placeOf({ table, record });
    const { deleted, n } = this.record(place);
    if (deleted && write.kind !== 'upsert') return false;
    const kind = deleted ? 'create' : write.kind === 'delete' ? 'delete' : 'update';
    const set = this.#differences(place, 'fields' in write ? write.fields : {});
    const inc = Object.entries('by' in write ? write.by : {});
    if (kind === 'update' && set.length + inc.length === 0) return false;
    const op: Operation = {
      ...{ ...bare, table, record, kind, base: baseAt(n), set },
      inc: inc.map(([field, by]) => ({ field: Number(field), by })),
    };
    return this.decide([this.#sent('server', this.n, op, this.now, this.now)]);
  }

  /** A foreign row is an edit of its backend: the difference to what the backend said last. */
  #takeForeign(backend: string, row: ForeignReport): void {
    const { table, id: record } = row;
    const place = placeOf({ table, record });
    const shadow = this.#shadows.get(place);
    const rowVersion = row.rowVersion ?? (shadow?.rowVersion ?? 0) + 1;
    if (shadow !== undefined && rowVersion <= shadow.rowVersion) return;
    const { deleted } = this.record(place);
    const defined = this.tables.get(table)?.fields.filter(({ type }) => type !== 'counter') ?? [];
    const fields = Object.fromEntries(defined.map(({ id }) => [id, row.fields[id] ?? null]));
    const changed = this.#differences(place, fields, shadow?.fields);
    // Texts are not held here: without a shadow, the rows of the histories name the one that is there.
    const plain = changed.filter(({ field }) => !this.isText(table, field));
    const isNew = shadow === undefined;
    const isEcho = !(isNew && deleted) && (isNew ? plain : changed).length === 0;
    if (!isEcho) this.n += 1;
    this.#shadows.set(place, { fields, rowVersion, n: this.n });
    if (isEcho) return;
    const op: Operation = {
      ...{ ...bare, table, record, kind: isNew ? 'create' : 'update' },
      base: isNew ? null : baseAt(shadow.n),
      // Without a shadow it is not known what the backend saw, and what it holds on purpose.
      set: isNew ? plain.map((one) => ({ ...one, before: null })) : plain,
      row: isNew ? null : defined.map(({ id }) => ({ field: id, value: fields[id] ?? null })),
    };
    const sent = this.#sent(`backend:${backend}`, this.n, op, row.modifiedOn, this.now);
    this.#arrive([[sent]], true);
  }

  /** What values change of others; without those, of what a living record holds. */
  #differences(place: string, to: RowFields, from?: RowFields): Operation['set'] {
    const { deleted, fields } = this.record(place);
    return Object.entries(to).flatMap(([id, after]) => {
      const field = Number(id);
      const held = deleted ? undefined : fields.get(field)?.value;
      const before = (from === undefined ? held : from[field]) ?? null;
      return same(before, after) ? [] : [{ field, before, after }];
    });
  }
}

/** What operations have that only devices make. */
const bare = { prev: 0, since: 0, seen: 0, set: [], inc: [], crdt: [], row: null } as const;

const baseAt = (n: number) => ({ incarnation: 1, n, born: '', modifiedOn: 0 });

/** What the histories hold can be read, all of it. */
const decoded = <A>(result: { _tag: 'Left' } | { _tag: 'Right'; right: A }): A => {
  if (result._tag === 'Left') throw new Error('the histories hold nothing that cannot be read');
  return result.right;
};

/** The operations of each record as a part of their own, in the order of their first. */
const byRecord = (part: Part): readonly Part[] => {
  const places = new Set(part.map(placeOf));
  return [...places].map((place) => part.filter((one) => placeOf(one) === place));
};
