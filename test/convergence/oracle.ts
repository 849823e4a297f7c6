import type { ServerWrite } from '@tidemark/merge';
import { decodeInputEntry, type ForeignReport } from '@tidemark/merger';
import {
  decodeEnvelope,
  decodeTransaction,
  openTransaction,
  resolutionFromFields,
  resolutionsTable,
  type Customization,
  type Operation,
  type ResolutionRow,
  type Value,
} from '@tidemark/model';
import type { TypedTokens } from './history.js';
import { crypto } from './memory-parts.js';
import {
  afresh,
  aheadMsMax,
  OracleDecider,
  same,
  type Choice,
  type OracleRecord,
  type Part,
  type Sent,
} from './oracle-decider.js';

/*
 * A slow, plain second opinion on what the input means, written from the design alone. It keeps every
 * verdict and the whole history of each record, and asks them each time: no chains, no sparse keys.
 */

/** Sync error of the oracle. `ops` are positions in the author's log. */
export interface OracleError {
  readonly root: string;
  readonly author: string;
  state: 'open' | 'ignored' | 'resolved';
  parts: Part[];
}

/** Folds an input as the design says it should be. What operations typed into texts is told by `typed`. */
export class Oracle extends OracleDecider {
  readonly errors = new Map<string, OracleError>();
  readonly #serverTyped: ReadonlyMap<number, TypedTokens>;
  readonly #mergedTo = new Map<string, number>();
  /** Keys of replicas, and what else of identities takes a version once. */
  readonly #keys = new Map<string, string>();
  readonly #saidOnce = new Set<string>();
  readonly #shadows = new Map<
    string,
    { readonly fields: ReadonlyMap<number, Value>; readonly n: number }
  >();
  /** Newest version of a row that its backend reported: older ones may come behind it. */
  readonly #rowVersions = new Map<string, number>();
  #foreign = 0;

  constructor(
    typed: ReadonlyMap<string, TypedTokens>,
    serverTyped: ReadonlyMap<number, TypedTokens>,
  ) {
    super(typed);
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
      this.tables = new Map(tables.map((table) => [table.id, table]));
    } else if (entry.kind === 'enroll') {
      // The histories enrol nobody who may not be.
      if (this.#keys.get(entry.replica) === entry.publicKey) return;
      this.#keys.set(entry.replica, entry.publicKey);
      this.n += 1;
    } else if (entry.kind === 'policy' || entry.kind === 'revoke') {
      const said = entry.kind === 'policy' ? 'policy' : `${entry.of} ${entry.id}`;
      if (!this.#saidOnce.has(said)) this.n += 1;
      this.#saidOnce.add(said);
    } else if (entry.kind === 'envelope') this.#takeEnvelope(entry.envelope, atMs);
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

  #takeEnvelope(bytes: Uint8Array, receivedAt: number): void {
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
      const latest = receivedAt + aheadMsMax;
      const at = Math.min(hlc.wallMs + offsetMs, latest);
      const whole: Sent[] = [];
      const partOf = new Map<string, Part>();
      ops.forEach((op, i) => {
        const key = atomicity === 'whole' ? '' : `${op.table}/${op.record}`;
        const part = partOf.get(key) ?? { sent: [], whole };
        partOf.set(key, part);
        const sent = { author: replica, index: first + i, op, at, latest, part };
        part.sent.push(sent);
        whole.push(sent);
        this.log.set(`${replica}/${sent.index}`, sent);
      });
      this.#arriveTogether([...partOf.values()]);
    }
  }

  /** `asked`: a person asks for the decision, whatever else of the author waits. */
  #arrive(part: Part, asked = false): void {
    const [only] = part.sent;
    if (only?.op.table === resolutionsTable) {
      this.verdicts.set(`${only.author}/${only.index}`, {
        outcome: 'applied',
        fields: new Map(),
        life: 0,
        n: this.n,
      });
      const row = resolutionFromFields(
        Object.fromEntries(only.op.set.map(({ field, after }) => [field, after])),
      );
      if (row._tag === 'Left') throw new Error('the histories hold no malformed resolutions');
      this.#resolve(row.right);
      return;
    }
    const root = asked ? undefined : this.#waitsUnder(part);
    if (root !== undefined) {
      for (const sent of part.sent) this.parked(sent);
      root.parts.push(part);
      // Nothing is set aside unseen.
      root.state = 'open';
      return;
    }
    this.#decideOrPark(part, afresh);
  }

  /** Parts of one transaction: one that refers to a create which another one parks waits with it. */
  #arriveTogether(parts: readonly Part[], asked = false): void {
    const undo = parts.map((part) => this.snapshot(part));
    for (const part of parts) this.#arrive(part, asked);
    for (let again = true; again;) {
      again = false;
      for (const [i, part] of parts.entries()) {
        if (this.#errorWith(part) !== undefined) continue;
        const root = asked ? this.#refersUnder(part, parts) : this.#waitsUnder(part);
        if (root === undefined) continue;
        undo[i]?.();
        for (const sent of part.sent) this.parked(sent);
        root.parts.push(part);
        again = true;
      }
    }
  }

  #errorWith(part: Part): OracleError | undefined {
    for (const error of this.errors.values())
      if (error.state !== 'resolved' && error.parts.includes(part)) return error;
    return undefined;
  }

  #decideOrPark(part: Part, choice: Choice): boolean {
    if (this.decide(part, choice)) return true;
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
      for (const part of error.parts) this.decide(part, { action, choices: [] });
    } else {
      const [first, ...dependents] = error.parts;
      if (first === undefined) return;
      if (action === 'split') {
        error.state = 'resolved';
        this.#arriveTogether(partsByRecord(first), true);
      } else {
        const kind = action === 'merge' ? 'merge' : 'decide';
        if (!this.decide(first, { action: kind, choices })) return;
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
    if (write.kind === 'upsert' && !isLive) record = this.begin(key);
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
        const isText = this.field(write.table, Number(field))?.type === 'text';
        if (!isText && same(record.fields.get(Number(field)), value)) continue;
        if (!isText) record.fields.set(Number(field), value);
        const earlier = record.editedAt.get(Number(field)) ?? 0;
        record.editedAt.set(Number(field), Math.max(this.now, earlier + 1));
        isChanged = true;
      }
    if (!isChanged) return false;
    for (const one of this.#serverTyped.get(this.n)?.added ?? []) record.typed.add(one);
    this.changed(record, 'server');
    return true;
  }

  /** A foreign row is an edit of its backend: the difference to what the backend said last. */
  #takeForeign(backend: string, row: ForeignReport): void {
    const key = `${row.table}/${row.id}`;
    const newest = this.#rowVersions.get(key);
    const rowVersion = row.rowVersion ?? (newest ?? 0) + 1;
    if (newest !== undefined && rowVersion <= newest) return;
    this.#rowVersions.set(key, rowVersion);
    const author = `backend:${backend}`;
    const shadow = this.#shadows.get(key);
    const all = this.tables.get(row.table)?.fields.filter(({ type }) => type !== 'counter') ?? [];
    const fields = all.map(({ id }) => [id, row.fields[id] ?? null] as const);
    const record = this.records.get(key);
    const isLive = record !== undefined && !record.deleted;
    // Without a shadow, the row differs from what is held here.
    const changed = fields.filter(([field, after]) =>
      shadow === undefined && isLive
        ? !this.#holds(row.table, record, field, after)
        : !same(shadow?.fields.get(field), after),
    );
    const isEcho = changed.length === 0 && (shadow !== undefined || isLive);
    if (isEcho) {
      this.#shadows.set(key, { fields: new Map(fields), n: this.n });
      return;
    }
    this.n += 1;
    this.#shadows.set(key, { fields: new Map(fields), n: this.n });
    const base = { incarnation: 1, n: shadow?.n ?? 0, born: '', modifiedOn: 0 };
    const op: Operation = {
      table: row.table,
      record: row.id,
      kind: shadow === undefined ? 'create' : 'update',
      base: shadow === undefined ? null : base,
      prev: 0,
      since: 0,
      seen: 0,
      set: changed
        .filter(([field]) => this.field(row.table, field)?.type !== 'text')
        .map(([field, after]) => {
          return { field, before: shadow?.fields.get(field) ?? null, after };
        }),
      inc: [],
      crdt: [],
      // Without a shadow it is not known what the backend holds on purpose.
      row: shadow === undefined ? null : fields.map(([field, value]) => ({ field, value })),
    };
    this.#foreign += 1;
    const part: Part = { sent: [], whole: [] };
    const latest = this.now + aheadMsMax;
    const at = Math.min(row.modifiedOn, latest);
    part.sent.push({ author, index: this.#foreign, op, at, latest, part });
    this.#decideOrPark(part, afresh);
  }

  /** Texts are not known here: the foreign rows of the histories always name the one that is there. */
  #holds(table: number, record: OracleRecord | undefined, field: number, after: Value): boolean {
    return this.field(table, field)?.type === 'text' || same(record?.fields.get(field), after);
  }

  /** Verdict on an operation by its OpId text, for messages. */
  outcomeOf(op: string): string {
    return this.verdicts.get(op.replace('/1/', '/'))?.outcome ?? '-';
  }

  /** Base and chain of an operation, and the changes of its record, for messages. */
  toldOf(op: string): string {
    const sent = this.log.get(op.replace('/1/', '/'));
    if (sent === undefined) return '';
    const { base, prev, table, record, kind } = sent.op;
    const changes = this.records.get(`${table}/${record}`)?.changes ?? [];
    return `${kind} on ${base?.n ?? '-'} after ${prev}; ${JSON.stringify(changes)}`;
  }

  /** Error under which a part waits: by a predecessor, or by a reference to a create of its author. */
  #waitsUnder(part: Part): OracleError | undefined {
    for (const { author, index, op } of part.sent) {
      if (op.prev > 0) {
        const error = this.#errorOf(`${author}/${index - op.prev}`);
        if (error !== undefined) return error;
      }
      const error = this.#createWaits(part, op, author, () => true);
      if (error !== undefined) return error;
    }
    return undefined;
  }

  /** Error under which a part waits by a reference to a create of another one of `parts`. */
  #refersUnder(part: Part, parts: readonly Part[]): OracleError | undefined {
    for (const { author, op } of part.sent) {
      const error = this.#createWaits(part, op, author, (other) => parts.includes(other));
      if (error !== undefined) return error;
    }
    return undefined;
  }

  /** Error under which the create of a record waits that an operation of the part refers to. */
  #createWaits(
    part: Part,
    op: Operation,
    author: string,
    counts: (other: Part) => boolean,
  ): OracleError | undefined {
    for (const { field, after } of op.set) {
      const target = this.field(op.table, field)?.table;
      const table = [...this.tables.values()].find(({ name }) => name === target);
      if (table === undefined || after === null) continue;
      for (const error of this.errors.values())
        if (error.author === author && error.state !== 'resolved')
          for (const other of error.parts)
            for (const one of other.sent)
              if (
                other !== part &&
                counts(other) &&
                one.op.kind === 'create' &&
                one.op.table === table.id &&
                one.op.record === after
              )
                return error;
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
