import {
  documentIn,
  settledDocuments,
  type Decision,
  type MergeCrdt,
  type MergeRecord,
} from '@tidemark/merge';
import {
  toHex,
  fromHex,
  rowText,
  utf8Encode,
  utf8EncodeBriefly,
  type Hash,
  type RecordId,
  type RowFields,
  type Schema,
  type ServerVersion,
  type TableId,
  type Value,
} from '@tidemark/model';
import type { Ed25519, InputPosition, Segment, ServerStore } from '@tidemark/ports';
import { encodeOutline } from './feed-outline.js';
import { FeedDraft, feedEntry, type FeedEntry } from './feed-segment.js';
import type { FoldCounts, FoldState } from './fold-state.js';
import { LedgerDraft, type LedgerEntry, type LedgerOutcome } from './ledger-segment.js';
import { LogicalRows } from './logical-row.js';
import { Overlay } from './overlay.js';
import type { RecordCache } from './record-cache.js';
import type { ReplicaState } from './replica-state.js';
import type { ValidateHook } from './validate-hook.js';

/** What the fold of one tenant works with besides the state. */
export interface FoldContext {
  readonly tenant: string;
  readonly hash: Hash;
  readonly verify: Ed25519['verify'];
  readonly crdt: MergeCrdt;
  readonly schema: Schema;
  /** The schema has text fields, so merger actors are needed. */
  readonly hasText: boolean;
  readonly validate: ValidateHook | undefined;
}

const outcomeCodes: Readonly<Record<LedgerOutcome, string>> = {
  applied: 'a',
  combined: 'c',
  same: 's',
  superseded: 'u',
  parked: 'p',
  rejected: 'r',
  ignored: 'i',
  open: 'o',
};

interface StepWrite {
  readonly table: TableId;
  readonly id: RecordId;
  readonly before: MergeRecord | undefined;
  after: MergeRecord;
  /** Left out of a record with documents: each edit of a long note would encode it anew. */
  row: Uint8Array | undefined;
}

const hasDocuments = ({ row }: MergeRecord): boolean => {
  for (const _ in row.docs) return true;
  return false;
};

interface TableFeed {
  readonly draft: FeedDraft;
  /** Values of the table's scope key before and after the changes; null where it has none. */
  readonly scopeKeys: Set<Value> | null;
}

/** Quarantined messages of one window that are told one by one. */
export const quarantinedToldMax = 100;

/** A message that was not what it claims: who sent it, as far as the transport knows, and why. */
export interface QuarantinedMessage {
  readonly position: InputPosition;
  readonly replica: string | null;
  readonly device: string | null;
  readonly reason: string;
}

/** Replica id under which the server itself writes records of system tables. */
export const foldAuthor = 'server:fold';

/**
 * Window under way: everything that its transactions change, in memory until it is committed. Between
 * `begin` and `finish` lies one transaction of the input, with one version.
 */
export class Window {
  readonly overlay: Overlay;
  context: FoldContext;
  incarnation: number;
  n: number;
  now: number;
  customizationVersion: number;
  lives: FoldState['lives'];
  needsIdentities: boolean;
  /** What this window quarantined, as far as it is told one by one. */
  readonly quarantined: QuarantinedMessage[] = [];
  operations = 0;
  readonly counts: { -readonly [K in keyof FoldCounts]: FoldCounts[K] };
  readonly moved = new Set<string>();
  /** Resolutions of devices that the version under way has written, and that are not carried out yet. */
  readonly resolutions: { readonly id: RecordId; readonly replica: ReplicaState }[] = [];
  #digest: Uint8Array;
  readonly #feed = new Map<TableId, TableFeed>();
  readonly #ledger = new Map<TableId, LedgerDraft>();
  readonly #writes = new Map<string, StepWrite>();
  /** Records with documents that the message under way has written. */
  readonly #unsettled = new Map<string, { readonly table: TableId; readonly id: RecordId }>();
  readonly #rows = new LogicalRows();
  #room = new Uint8Array(1_024);
  #outcomes = '';

  constructor(store: ServerStore, state: FoldState, context: FoldContext, records?: RecordCache) {
    this.overlay = new Overlay(store, records);
    this.context = context;
    this.incarnation = state.incarnation;
    this.n = state.n;
    this.now = state.now;
    this.customizationVersion = state.customizationVersion;
    this.lives = state.lives;
    this.needsIdentities = state.needsIdentities;
    this.counts = { ...state.counts };
    this.#digest = fromHex(state.digest) ?? new Uint8Array(32);
  }

  get version(): ServerVersion {
    return { incarnation: this.incarnation, n: this.n };
  }

  get digest(): string {
    return toHex(this.#digest);
  }

  /** Begins the next transaction of the input. */
  begin(): void {
    this.n += 1;
    this.counts.transactions += 1;
    this.#writes.clear();
    this.#outcomes = '';
  }

  /** Replaces a record at the version under way; several writes of one record count as one change. */
  write(table: TableId, id: RecordId, after: MergeRecord): void {
    const row = hasDocuments(after) ? undefined : utf8EncodeBriefly(rowText(after.row));
    const key = `${table}/${id}`;
    const earlier = this.#writes.get(key);
    if (earlier === undefined) {
      const before = this.overlay.records.get(table, id);
      this.#writes.set(key, { table, id, before, after, row });
    } else {
      earlier.after = after;
      earlier.row = row;
    }
    if (row === undefined) this.#unsettled.set(key, { table, id });
    this.overlay.records.set(table, id, after, row);
  }

  /** Writes a record of a system table. Null fields are left out. */
  writeSystem(table: TableId, id: RecordId, fields: RowFields, owner: string, by: string): void {
    const before = this.overlay.records.get(table, id);
    const kept: Record<number, Value> = {};
    for (const key in fields) {
      const value = fields[Number(key)] as Value;
      if (value !== null) kept[Number(key)] = value;
    }
    const opId = `${foldAuthor}/${this.incarnation}/${this.n}`;
    this.write(table, id, {
      row: {
        version: this.version,
        born: before?.row.born ?? opId,
        modifiedOn: Math.max(this.now, (before?.row.modifiedOn ?? 0) + 1),
        modifiedBy: by,
        createdOn: before?.row.createdOn ?? this.now,
        owner,
        fields: kept,
        docs: {},
        editedAt: {},
      },
      deleted: false,
      lastOp: opId,
      chainFrom: 0,
    });
  }

  /** Notes the verdict on, or the disposition of, one operation. */
  note(
    table: TableId,
    entry: Pick<LedgerEntry, 'op' | 'user' | 'record' | 'outcome' | 'fields' | 'decider'>,
  ): void {
    let draft = this.#ledger.get(table);
    if (draft === undefined) this.#ledger.set(table, (draft = new LedgerDraft()));
    draft.add({ n: this.n, time: this.now, ...entry });
    this.#outcomes += outcomeCodes[entry.outcome];
  }

  /** Ends the transaction under way: its changes enter the feed and the digest. */
  finish(): void {
    // What stands between two rows is one text, so that it is encoded at once. Outcome codes need no escapes.
    let text = `[${this.incarnation},${this.n},"${this.#outcomes}"]`;
    const parts: Uint8Array[] = [this.#digest];
    for (const write of this.#writes.values()) {
      const { table, id, before, after } = write;
      const entry = feedEntry(id, this.n, before, after);
      if (entry !== null) this.#feedOf(table, entry, before, after);
      parts.push(
        utf8Encode(`${text}${table}/${id}/${after.deleted ? 1 : 0}`),
        ...this.#logical(write),
      );
      text = '';
    }
    if (text !== '') parts.push(utf8Encode(text));
    this.#digest = this.context.hash(this.#joined(parts));
  }

  /** The parts one after the other, valid until the next call: rows with long notes are not allocated anew. */
  #joined(parts: readonly Uint8Array[]): Uint8Array {
    let length = 0;
    for (const part of parts) length += part.length;
    if (length > this.#room.length) this.#room = new Uint8Array(2 * length);
    let at = 0;
    for (const part of parts) {
      this.#room.set(part, at);
      at += part.length;
    }
    return this.#room.subarray(0, length);
  }

  /** Bytes that are equal for logically equal rows: documents count by their heads. */
  #logical({ table, id, after, row }: StepWrite): readonly Uint8Array[] {
    if (row !== undefined) return [row];
    const docs: Record<number, string> = {};
    for (const key in after.row.docs) {
      const field = Number(key);
      const document = documentIn(this.context.crdt, after.row.docs, field);
      docs[field] = document === undefined ? '' : this.context.crdt.heads(document).join(' ');
    }
    return this.#rows.encode(`${table}/${id}`, { ...after.row, docs });
  }

  #feedOf(
    table: TableId,
    entry: FeedEntry,
    before: MergeRecord | undefined,
    after: MergeRecord,
  ): void {
    const definition = this.context.schema.tablesById.get(table);
    const scopeKey = definition?.fieldsByName.get(definition.scopeKey ?? '')?.id;
    let feed = this.#feed.get(table);
    if (feed === undefined) {
      feed = { draft: new FeedDraft(), scopeKeys: scopeKey === undefined ? null : new Set() };
      this.#feed.set(table, feed);
    }
    feed.draft.add(entry);
    if (feed.scopeKeys === null || scopeKey === undefined) return;
    if (before !== undefined && !before.deleted)
      feed.scopeKeys.add(before.row.fields[scopeKey] ?? null);
    if (!after.deleted) feed.scopeKeys.add(after.row.fields[scopeKey] ?? null);
  }

  /**
   * Ends a message of the input: the documents that it edited take the bytes that are stored. Once for each
   * message, since what is stored must not depend on where windows end.
   */
  settle(): void {
    const { records } = this.overlay;
    for (const { table, id } of this.#unsettled.values()) {
      const record = records.get(table, id);
      const docs = record && settledDocuments(this.context.crdt, record.row.docs);
      if (record !== undefined && docs !== undefined && docs !== record.row.docs)
        records.set(table, id, { ...record, row: { ...record.row, docs } }, undefined);
    }
    this.#unsettled.clear();
  }

  /** Tables whose feed grew. */
  tables(): TableId[] {
    return [...this.#feed.keys()].sort((a, b) => a - b);
  }

  /** Feed segments of the window, one per table. */
  feed(): Segment[] {
    return this.tables().map((table) => {
      const { draft, scopeKeys } = this.#feed.get(table) as TableFeed;
      const { incarnation } = this;
      const { changes } = draft;
      const first = changes[0]?.n ?? 0;
      const last = changes[changes.length - 1]?.n ?? 0;
      const outline = encodeOutline(
        first,
        changes.map(({ id }) => id),
        scopeKeys,
      );
      return { table, incarnation, first, last, bytes: draft.encode(table, incarnation), outline };
    });
  }

  /** Ledger segments of the window, one per table. */
  ledger(): Segment[] {
    return [...this.#ledger]
      .sort(([a], [b]) => a - b)
      .map(([table, draft]) => {
        const { incarnation } = this;
        const { first, last } = draft;
        return { table, incarnation, first, last, bytes: draft.encode(table, incarnation) };
      });
  }

  /** Takes over what a decision changes, its parks excepted. */
  apply(decision: Decision, replica: string, clone: boolean): void {
    for (const { table, id, after } of decision.writes) this.write(table, id, after);
    const { chains, sides } = this.overlay;
    let chainCount = 0;
    for (const { table, id, chain } of decision.chains) {
      const key = `${replica}/${table}/${id}`;
      const had = chains.peek(key) !== undefined;
      // A clone keeps an inert chain, so that it does not meet the chain of the replica that it was.
      const value = chain ?? (clone ? { record: null, fields: {} } : undefined);
      if (!had && value === undefined) continue;
      chains.set(key, value);
      chainCount += (value === undefined ? 0 : 1) - (had ? 1 : 0);
    }
    let sideCount = 0;
    for (const { table, id, field, document } of decision.sides) {
      const key = `${replica}/${table}/${field}/${id}`;
      const had = sides.peek(key) !== undefined;
      if (!had && document === null) continue;
      sides.set(key, document ?? undefined);
      sideCount += (document === null ? 0 : 1) - (had ? 1 : 0);
    }
    if (chainCount !== 0 || sideCount !== 0) this.#count(replica, chainCount, sideCount, 0);
  }

  #count(replica: string, chains: number, sides: number, parked: number): void {
    const state = this.overlay.replicas.get(replica);
    // A system of record has no state before its first operation, and no chains.
    if (state === undefined) return;
    this.overlay.replicas.set(replica, {
      ...state,
      chains: state.chains + chains,
      sides: state.sides + sides,
      parked: state.parked + parked,
    });
  }

  /** Adjusts the number of parked operations of a replica. */
  countParked(replica: string, by: number): void {
    this.#count(replica, 0, 0, by);
  }
}
