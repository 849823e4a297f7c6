import { compareTexts } from '@tidemark/filter';
import {
  decodeRow,
  TidemarkError,
  userTableIdMax,
  type Row,
  type Schema,
  type SchemaTable,
  type TableId,
  type Value,
} from '@tidemark/model';
import type { AbortSignalLike, StoredRecord } from '@tidemark/ports';
import {
  decodeFeedSegment,
  rewindRow,
  type FeedEntry,
  type FeedKind,
} from '../fold/feed-segment.js';
import type { AppliedStore } from './applied-store.js';
import type { Horizon } from './pull-cursor.js';

/** Versions that one step of the feed of changes reads. */
export const changesVersionsMax = 1_000;
const segmentBytesMax = 4 * 1024 * 1024;
const recordBatch = 256;

/** Change of a record of a user table. */
export interface ServerChange {
  /** Give it as `since` to go on after this change. It identifies the change. */
  readonly cursor: string;
  readonly table: string;
  readonly id: string;
  readonly kind: FeedKind;
  /** Values after the change: of all fields for create and restore, of the changed ones for update. */
  readonly fields: Readonly<Record<string, Value>>;
  /** Values before it, of the same fields; of all fields for delete. */
  readonly before: Readonly<Record<string, Value>>;
  readonly version: { readonly incarnation: number; readonly n: number };
  /** Server time (ms) and user; null for a delete that was undone since. */
  readonly at: number | null;
  readonly by: string | null;
}

/** Where to begin: after a change, from the oldest one kept (null), or with the next one ('now'). */
export type ChangesSince = string | null | 'now';

/** What the feed of changes works with. */
export interface ChangesSource {
  readonly applied: AppliedStore;
  readonly schema: () => Schema;
  readonly horizon: () => Horizon;
  /** Resolves when the server advanced past `n`, false when the signal fired. */
  readonly waitPast: (n: number, signal: AbortSignalLike | undefined) => Promise<boolean>;
}

interface Place {
  readonly incarnation: number;
  readonly n: number;
  /** Changes of version `n` that were seen. */
  readonly seen: number;
}

interface OrderedEntry {
  readonly table: TableId;
  readonly entry: FeedEntry;
}

const isAborted = (signal: AbortSignalLike | undefined): boolean => signal?.aborted === true;

const readPlace = (since: ChangesSince, source: ChangesSource): Place => {
  const { incarnation, n } = source.applied.applied();
  const horizon = source.horizon();
  const cut = horizon.incarnation === incarnation ? horizon.n : 0;
  if (since === 'now') return { incarnation, n, seen: Number.MAX_SAFE_INTEGER };
  if (since === null) return { incarnation, n: cut, seen: Number.MAX_SAFE_INTEGER };
  const match = /^(\d{1,10})\.(\d{1,15})\.(\d{1,9})$/.exec(since);
  if (match === null) throw new TidemarkError('invalid-cursor', 'since is not a cursor of changes');
  const place = { incarnation: Number(match[1]), n: Number(match[2]), seen: Number(match[3]) };
  if (place.incarnation !== incarnation || place.n > n)
    throw new TidemarkError('invalid-cursor', 'the server was restored since: read it anew');
  if (place.n < cut)
    throw new TidemarkError('invalid-cursor', 'the cursor is behind the horizon: read it anew');
  return place;
};

/** Entries of user tables in (after, upTo], by version, table and id. */
const readEntries = async (
  applied: AppliedStore,
  incarnation: number,
  after: number,
  upTo: number,
  wanted?: ReadonlyMap<TableId, ReadonlySet<string>>,
): Promise<OrderedEntry[]> => {
  const found: OrderedEntry[] = [];
  let from: { readonly last: number; readonly table: number } | undefined;
  for (;;) {
    const segments = await applied.store.scanSegments('feed', {
      incarnation,
      after,
      upTo,
      maxBytes: segmentBytesMax,
      ...(from === undefined ? {} : { from }),
    });
    if (segments.length === 0) break;
    for (const { last, table, bytes } of segments) {
      from = { last, table };
      const ids = wanted?.get(table);
      if (table > userTableIdMax || (wanted !== undefined && ids === undefined)) continue;
      const feed = decodeFeedSegment(bytes);
      if (ids !== undefined && !feed.ids().some((id) => ids.has(id))) continue;
      for (const entry of feed.entries())
        if (entry.n > after && entry.n <= upTo && (ids === undefined || ids.has(entry.id)))
          found.push({ table, entry });
    }
  }
  return found.sort(
    (a, b) => a.entry.n - b.entry.n || a.table - b.table || compareTexts(a.entry.id, b.entry.id),
  );
};

const named = (
  table: SchemaTable,
  fields: Readonly<Record<number, Value>>,
  only?: readonly number[],
): Record<string, Value> => {
  const out: Record<string, Value> = {};
  for (const { id, name } of table.fields)
    if (only === undefined || only.includes(id)) out[name] = fields[id] ?? null;
  return out;
};

const changeOf = (
  table: SchemaTable,
  { entry }: OrderedEntry,
  after: Row | undefined,
  tombstone: StoredRecord | undefined,
  place: Place,
): ServerChange => {
  const { before } = entry;
  const common = {
    cursor: `${place.incarnation}.${place.n}.${place.seen}`,
    table: table.name,
    id: entry.id,
    kind: entry.kind,
    version: { incarnation: place.incarnation, n: entry.n },
  };
  if (entry.kind === 'delete') {
    const row = before?.kind === 'row' ? decodeRow(before.row) : undefined;
    const isLast = tombstone?.deleted === true && tombstone.version.n === entry.n;
    const buried = isLast ? decodeRow(tombstone.row) : undefined;
    return {
      ...common,
      fields: {},
      before: named(table, row?.fields ?? {}),
      at: buried?.modifiedOn ?? null,
      by: buried?.modifiedBy ?? null,
    };
  }
  const only =
    before?.kind === 'fields'
      ? [...new Set([...Object.keys(before.fields).map(Number), ...before.docs])]
      : undefined;
  return {
    ...common,
    fields: named(table, after?.fields ?? {}, only),
    before:
      before?.kind === 'fields'
        ? named(table, before.fields, Object.keys(before.fields).map(Number))
        : {},
    at: after?.modifiedOn ?? null,
    by: after?.modifiedBy ?? null,
  };
};

const idsByTable = (entries: readonly OrderedEntry[]): Map<TableId, Set<string>> => {
  const ids = new Map<TableId, Set<string>>();
  for (const { table, entry } of entries) {
    const known = ids.get(table);
    if (known === undefined) ids.set(table, new Set([entry.id]));
    else known.add(entry.id);
  }
  return ids;
};

const keyOf = (table: TableId, id: string): string => `${table}/${id}`;

/** Changes of versions (`after`, `upTo`], each with the record right after it. */
const readChanges = async (
  source: ChangesSource,
  incarnation: number,
  after: number,
  upTo: number,
): Promise<readonly ServerChange[]> =>
  source.applied.alone(async () => {
    const { applied } = source;
    const entries = await readEntries(applied, incarnation, after, upTo);
    if (entries.length === 0) return [];
    const ids = idsByTable(entries);
    const { n } = applied.applied();
    const later = upTo < n ? await readEntries(applied, incarnation, upTo, n, ids) : [];
    const records = new Map<string, StoredRecord>();
    for (const [table, wanted] of ids) {
      const sorted = [...wanted].sort(compareTexts);
      for (let at = 0; at < sorted.length; at += recordBatch)
        for (const record of await applied.store.getRecords(
          table,
          sorted.slice(at, at + recordBatch),
        ))
          if (record !== undefined) records.set(keyOf(table, record.id), record);
    }
    // Walking back from what is stored gives each record right after each change.
    const rows = new Map<string, Row | undefined>();
    for (const [key, record] of records)
      rows.set(key, record.deleted ? undefined : decodeRow(record.row));
    for (const { table, entry } of later.reverse()) {
      const key = keyOf(table, entry.id);
      rows.set(key, rewindRow(rows.get(key), [entry])?.row);
    }
    const afters: (Row | undefined)[] = [];
    for (let i = entries.length - 1; i >= 0; i -= 1) {
      const { table, entry } = entries[i] as OrderedEntry;
      const key = keyOf(table, entry.id);
      afters[i] = rows.get(key);
      rows.set(key, rewindRow(rows.get(key), [entry])?.row);
    }
    const changes: ServerChange[] = [];
    let seen = 0;
    let version = after;
    entries.forEach((one, i) => {
      const { n: at, id } = one.entry;
      seen = at === version ? seen + 1 : 1;
      version = at;
      const table = source.schema().tablesById.get(one.table);
      if (table === undefined) return;
      const place = { incarnation, n: at, seen };
      changes.push(changeOf(table, one, afters[i], records.get(keyOf(one.table, id)), place));
    });
    return changes;
  });

/**
 * Changes of user tables in the order of their versions: at least once, resumable by `cursor`. It ends
 * when the signal fires. Rejects with `invalid-cursor` when `since` is behind the horizon or of another
 * incarnation, also while it runs.
 */
export async function* serverChanges(
  source: ChangesSource,
  since: ChangesSince,
  signal: AbortSignalLike | undefined,
): AsyncGenerator<ServerChange> {
  let place = readPlace(since, source);
  for (;;) {
    if (isAborted(signal)) return;
    const { incarnation, n } = source.applied.applied();
    if (incarnation !== place.incarnation)
      throw new TidemarkError('invalid-cursor', 'the server was restored since: read it anew');
    const horizon = source.horizon();
    if (horizon.incarnation === incarnation && place.n < horizon.n)
      throw new TidemarkError('invalid-cursor', 'the cursor is behind the horizon: read it anew');
    // A place inside a version begins with it again; what was seen of it is passed over.
    const after = place.seen === Number.MAX_SAFE_INTEGER ? place.n : place.n - 1;
    const upTo = Math.min(n, after + changesVersionsMax);
    if (upTo > after) {
      const start = place;
      for (const change of await readChanges(source, incarnation, after, upTo)) {
        const seen = Number(change.cursor.slice(change.cursor.lastIndexOf('.') + 1));
        if (change.version.n === start.n && seen <= start.seen) continue;
        yield change;
        if (isAborted(signal)) return;
      }
      place = { incarnation, n: upTo, seen: Number.MAX_SAFE_INTEGER };
    }
    if (upTo === n && !(await source.waitPast(n, signal))) return;
  }
}
