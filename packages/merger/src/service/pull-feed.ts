import { compareTexts, membershipChange } from '@tidemark/filter';
import {
  decodeRow,
  encodeRow,
  projectRow,
  type FieldId,
  type RecordId,
  type Row,
  type TableId,
} from '@tidemark/model';
import type { StoredRecord } from '@tidemark/ports';
import type { FeedPlace, PageEntry } from '@tidemark/protocol';
import { hashOfId, hashOfScopeKey, type FeedOutline } from '../fold/feed-outline.js';
import { rewindRow, type FeedChange, type FeedEntry } from '../fold/feed-segment.js';
import type { CountedReads } from './applied-store.js';
import { readSegments, scanFeed, type ScannedSegment } from './feed-scan.js';
import type { KeyedSegments, SegmentPlace } from './keyed-segments.js';
import type { PageWriter } from './page-writer.js';
import { isInScope, type ReadScope } from './request-scope.js';

/** Feed entries that one answer reads at most, and the rest of the last window. */
export const pullEntriesMax = 5_000;
/** Segments of the feed that one answer passes by at most. */
export const pullSegmentsMax = 10_000;
const recordBatch = 256;
/** Table of the place behind all changes of a version. */
const tableMax = Number.MAX_SAFE_INTEGER;

/** One pass over the feed: of the tables in `from`, each from its own version, to `to`. */
export interface FeedPass {
  readonly incarnation: number;
  readonly from: ReadonlyMap<TableId, number>;
  readonly to: number;
  /** Version that is applied now: records are read at it. */
  readonly applied: number;
  /** Values are shown as of `to`, not as of now. */
  readonly asOfTo: boolean;
  /** The replica may hold states between `from` and `to`, from an earlier pass of this pull. */
  readonly mayHoldLater: boolean;
}

/** What one answer reads: all segments that hold a change of the pass behind its start, up to `to`. */
interface Batch {
  /** Those that may concern a scope. */
  readonly needed: readonly ScannedSegment[];
  /** Those that the scope key tells to bring no record into view: they still help to walk back. */
  readonly aside: readonly ScannedSegment[];
  readonly to: number;
}

/** Order of changes, the same on every server, however its segments are cut. */
const comparePlaces = (a: FeedPlace, b: FeedPlace): number =>
  a.n - b.n || a.table - b.table || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** Hash of the scope key that a table's scope is pinned to. */
type PinnedKeys = ReadonlyMap<TableId, number>;

const pinnedKeys = (scopes: ReadonlyMap<TableId, ReadScope>): PinnedKeys => {
  const pinned = new Map<TableId, number>();
  for (const [table, { key }] of scopes)
    if (key !== null) pinned.set(table, hashOfScopeKey(key.value));
  return pinned;
};

const concerns = (pinned: PinnedKeys, { table }: SegmentPlace, outline: FeedOutline): boolean => {
  const key = pinned.get(table);
  return key === undefined || outline.mayConcern(key);
};

/** Changes of records; of tables that are not taken as they are (`isPlain`) with their before-images. */
type ChangesByRecord = ReadonlyMap<TableId, ReadonlyMap<RecordId, readonly FeedChange[]>>;
type EntriesByRecord = ReadonlyMap<TableId, ReadonlyMap<RecordId, readonly FeedEntry[]>>;
type Wanted = ReadonlyMap<TableId, ReadonlySet<RecordId>>;

const addEntry = <E extends FeedChange>(
  found: Map<TableId, Map<RecordId, E[]>>,
  table: TableId,
  entry: E,
): void => {
  let byRecord = found.get(table);
  if (byRecord === undefined) found.set(table, (byRecord = new Map()));
  const list = byRecord.get(entry.id);
  if (list === undefined) byRecord.set(entry.id, [entry]);
  else list.push(entry);
};

/** Hashes of the ids that are wanted, as outlines are asked for them. */
const wantedHashes = (wanted: Wanted): ReadonlyMap<TableId, readonly number[]> =>
  new Map([...wanted].map(([table, ids]) => [table, [...ids].map(hashOfId)] as const));

/** Changes of the given records behind a version, up to what is applied, in version order. */
const entriesAfter = async (
  reads: CountedReads,
  pass: FeedPass,
  after: number,
  wanted: Wanted,
): Promise<EntriesByRecord> => {
  const found = new Map<TableId, Map<RecordId, FeedEntry[]>>();
  const hashes = wantedHashes(wanted);
  const { incarnation, applied: upTo } = pass;
  const scan = scanFeed(
    reads,
    { incarnation, after, upTo },
    ({ table }, outline) => hashes.has(table) && outline.mayChange(hashes.get(table) ?? []),
  );
  for await (const { place, feed } of scan) {
    const ids = wanted.get(place.table);
    if (ids === undefined || feed === undefined || !feed.ids().some((id) => ids.has(id))) continue;
    for (const entry of feed.entries())
      if (ids.has(entry.id) && entry.n > after && entry.n <= upTo)
        addEntry(found, place.table, entry);
  }
  return found;
};

const touchesProjection = (entry: FeedEntry, projection: ReadonlySet<FieldId>): boolean => {
  const { before } = entry;
  if (before === null || before.kind === 'row') return true;
  for (const key in before.fields) if (projection.has(Number(key))) return true;
  for (const key in before.editedAt) if (projection.has(Number(key))) return true;
  return before.docs.some((field) => projection.has(field));
};

/** Whether every live record is in scope, whole and as it is now: the kinds of its changes tell the rest. */
const isPlain = (pass: FeedPass, { filter, projection }: ReadScope): boolean =>
  filter === null && projection === null && !pass.asOfTo;

/** What a replica learns of one record of a plain scope: nothing is decoded. */
const decidePlain = (
  pass: FeedPass,
  id: RecordId,
  stored: StoredRecord | undefined,
  [first]: readonly FeedChange[],
): PageEntry | null => {
  if (stored !== undefined && !stored.deleted)
    return { kind: 'upsert', id, version: stored.version, row: stored.row };
  const wasLive = first?.kind === 'update' || first?.kind === 'delete';
  return wasLive || pass.mayHoldLater ? { kind: 'evict', id } : null;
};

/**
 * What a replica learns of one record. `entries` are its changes of this page, `later` all after those;
 * both in version order. Membership *then* is that before the page's first change; membership *now* is
 * that of the record as it is, or as of `to`.
 */
const decideRecord = (
  pass: FeedPass,
  scope: ReadScope,
  id: RecordId,
  stored: StoredRecord | undefined,
  entries: readonly FeedEntry[],
  later: readonly FeedEntry[],
): PageEntry | null => {
  const current = stored === undefined || stored.deleted ? undefined : stored;
  const row = current === undefined ? undefined : decodeRow(current.row);
  const holds = (one: Row | undefined): boolean => one !== undefined && isInScope(scope, id, one);
  let now: Row | undefined = row;
  let isNowSet = !pass.asOfTo;
  let state: Row | undefined = row;
  let heldBetween = false;
  const all = later.length === 0 ? entries : [...entries, ...later];
  for (let i = all.length - 1; i >= 0; i -= 1) {
    const entry = all[i] as FeedEntry;
    // Here `state` is the record right after this change.
    if (entry.n <= pass.to) {
      if (!isNowSet) now = state;
      isNowSet = true;
      heldBetween ||= pass.mayHoldLater && holds(state);
    }
    state = rewindRow(state, [entry])?.row;
  }
  const then = holds(state) || heldBetween;
  const projection = scope.projection;
  const changed =
    projection === null ||
    pass.mayHoldLater ||
    all.some((entry) => touchesProjection(entry, projection));
  switch (membershipChange(then, holds(now), changed)) {
    case 'none':
      return null;
    case 'evict':
      return { kind: 'evict', id };
    case 'touch':
      return { kind: 'touch', id, version: (now as Row).version };
    case 'upsert': {
      const shown = now as Row;
      const bytes =
        projection !== null
          ? encodeRow(projectRow(shown, projection))
          : shown === row && current !== undefined
            ? current.row
            : encodeRow(shown);
      return { kind: 'upsert', id, version: shown.version, row: bytes };
    }
  }
};

/** Whether a pass is through, and where it stands if not. */
export type FeedStep =
  { readonly done: true } | { readonly done: false; readonly place: FeedPlace | null };

/**
 * Version behind which the changes lie that follow a place. What ended a batch is not read again: it alone may
 * be as much as an answer reads, and none would ever come further.
 */
const behindOf = (start: FeedPlace | null): number =>
  start === null ? 0 : start.table === tableMax ? start.n : start.n - 1;

/**
 * Reads the segments of a pass from a place on, until they hold `pullEntriesMax` entries or `pullSegmentsMax`
 * were passed by, and then to the end of the window: the next one begins behind all versions of this one.
 */
const loadBatch = async (
  reads: CountedReads,
  keyed: KeyedSegments,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  start: FeedPlace | null,
): Promise<Batch> => {
  const needed: ScannedSegment[] = [];
  const aside: ScannedSegment[] = [];
  const pinned = pinnedKeys(scopes);
  const { incarnation, to: upTo } = pass;
  const after = Math.max(Math.min(...pass.from.values()), behindOf(start));
  const isOfPass = (place: SegmentPlace): boolean =>
    scopes.has(place.table) && place.last > (pass.from.get(place.table) ?? Infinity);
  const isNeeded = (place: SegmentPlace, outline: FeedOutline): boolean =>
    isOfPass(place) && concerns(pinned, place, outline);
  let count = 0;
  let last = after;
  for await (const segment of scanFeed(reads, { incarnation, after, upTo }, isNeeded, keyed)) {
    const isFull = count >= pullEntriesMax || needed.length + aside.length >= pullSegmentsMax;
    if (isFull && segment.first > last) return { needed, aside, to: last };
    last = Math.max(last, segment.place.last);
    if (!isOfPass(segment.place)) continue;
    if (segment.feed === undefined) aside.push(segment);
    else {
      needed.push(segment);
      count += segment.feed.header.count;
    }
  }
  return { needed, aside, to: upTo };
};

/** Change with its table. */
interface FeedPlaced {
  readonly table: TableId;
  readonly entry: FeedChange;
}

/** Changes of a batch: by table and record in version order, and the first one of each record, in order. */
interface Changes {
  readonly byRecord: ChangesByRecord;
  readonly firsts: readonly FeedPlace[];
}

type Concerned = (id: RecordId) => boolean;

/**
 * Which records of a segment a pinned scope key leaves to be decided; undefined for all. Where values are shown as
 * of `to` all are: what a later change took out of the scope was in it then.
 */
const concernedBy = async (
  reads: CountedReads,
  keyed: KeyedSegments,
  pass: FeedPass,
  { key }: ReadScope,
  { place, bytes, feed }: ScannedSegment,
): Promise<Concerned | undefined> => {
  if (key === null || pass.asOfTo || feed === undefined) return undefined;
  const segment = { place, bytes, feed };
  const hash = hashOfScopeKey(key.value);
  return keyed.concerned(reads.store, pass.incarnation, segment, key.field, hash);
};

/**
 * Changes of the pass in a batch behind a place. Of segments and records that the scope key passes over only what
 * concerns records of the others: without it they could not be walked back.
 */
const changesOf = async (
  reads: CountedReads,
  keyed: KeyedSegments,
  batch: Batch,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  start: FeedPlace | null,
): Promise<Changes> => {
  const wanted = new Map<TableId, Set<RecordId>>();
  const grouped = new Map<TableId, Map<RecordId, FeedChange[]>>();
  const firsts: FeedPlace[] = [];
  const isOfPage = (table: TableId, { n, id }: FeedChange): boolean =>
    n > (pass.from.get(table) ?? pass.to) &&
    n <= Math.min(pass.to, batch.to) &&
    (start === null || comparePlaces({ n, table, id }, start) > 0);
  const passedOver: FeedPlaced[] = [];
  for (const segment of batch.needed) {
    const { place, feed } = segment;
    const { table } = place;
    const scope = scopes.get(table) as ReadScope;
    const isConcerned = await concernedBy(reads, keyed, pass, scope, segment);
    const changes = isPlain(pass, scope) ? feed?.changes() : feed?.entries();
    for (const entry of changes ?? []) {
      if (!isOfPage(table, entry)) continue;
      if (isConcerned?.(entry.id) === false) {
        passedOver.push({ table, entry });
        continue;
      }
      let ids = wanted.get(table);
      if (ids === undefined) wanted.set(table, (ids = new Set()));
      if (!ids.has(entry.id)) firsts.push({ n: entry.n, table, id: entry.id });
      ids.add(entry.id);
      addEntry(grouped, table, entry);
    }
  }
  let isSorted = true;
  const addPassedOver = (table: TableId, entry: FeedChange): void => {
    if (wanted.get(table)?.has(entry.id) !== true) return;
    addEntry(grouped, table, entry);
    isSorted = false;
  };
  for (const { table, entry } of passedOver) addPassedOver(table, entry);
  const hashes = wantedHashes(wanted);
  const asides = batch.aside.filter(({ place, outline }) =>
    outline.mayChange(hashes.get(place.table) ?? []),
  );
  for await (const { place, feed } of readSegments(reads, pass.incarnation, asides)) {
    const ids = wanted.get(place.table);
    if (ids === undefined || !feed.ids().some((id) => ids.has(id))) continue;
    for (const entry of feed.entries())
      if (isOfPage(place.table, entry)) addPassedOver(place.table, entry);
  }
  // Those that were passed over came behind the others.
  if (!isSorted)
    for (const byRecord of grouped.values())
      for (const entries of byRecord.values()) entries.sort((a, b) => a.n - b.n);
  return { byRecord: grouped, firsts: firsts.sort(comparePlaces) };
};

/** Later changes of the records of a page, where membership or values before them must be known. */
const lookAhead = async (
  reads: CountedReads,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  to: number,
  byRecord: ChangesByRecord,
): Promise<EntriesByRecord> => {
  const wanted = new Map<TableId, ReadonlySet<RecordId>>();
  if (to === pass.applied) return new Map();
  for (const [table, records] of byRecord) {
    const scope = scopes.get(table);
    if (scope !== undefined && !isPlain(pass, scope)) wanted.set(table, new Set(records.keys()));
  }
  return wanted.size === 0 ? new Map() : entriesAfter(reads, pass, to, wanted);
};

/** Records as they are stored, by table and id. */
const storedOf = async (
  reads: CountedReads,
  places: readonly FeedPlace[],
): Promise<ReadonlyMap<TableId, ReadonlyMap<RecordId, StoredRecord | undefined>>> => {
  const ids = new Map<TableId, RecordId[]>();
  for (const { table, id } of places) {
    const known = ids.get(table);
    if (known === undefined) ids.set(table, [id]);
    else known.push(id);
  }
  const found = new Map<TableId, ReadonlyMap<RecordId, StoredRecord | undefined>>();
  for (const [table, wanted] of ids) {
    const sorted = wanted.sort(compareTexts);
    const stored = await reads.store.getRecords(table, sorted);
    found.set(table, new Map(sorted.map((id, i) => [id, stored[i]])));
  }
  return found;
};

/**
 * Reads a pass from a place on into the pages of an answer. Each record is decided once per answer, in the order
 * of its first change there. Every server goes on from the place where another one ended.
 */
export const readFeed = async (
  reads: CountedReads,
  keyed: KeyedSegments,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  start: FeedPlace | null,
  pages: PageWriter,
): Promise<FeedStep> => {
  const batch = await loadBatch(reads, keyed, pass, scopes, start);
  const to = Math.min(batch.to, pass.to);
  const { byRecord, firsts } = await changesOf(reads, keyed, batch, pass, scopes, start);
  const ahead = await lookAhead(reads, pass, scopes, to, byRecord);
  let place = start;
  for (let at = 0; at < firsts.length; at += recordBatch) {
    const some = firsts.slice(at, at + recordBatch);
    const stored = await storedOf(reads, some);
    for (const one of some) {
      const { table, id } = one;
      const changes = byRecord.get(table)?.get(id) as readonly FeedChange[];
      const later = ahead.get(table)?.get(id) ?? [];
      const scope = scopes.get(table) as ReadScope;
      const record = stored.get(table)?.get(id);
      const entry = isPlain(pass, scope)
        ? decidePlain(pass, id, record, changes)
        : decideRecord(pass, scope, id, record, changes as readonly FeedEntry[], later);
      if (entry !== null && !pages.add(table, 'incremental', entry)) return { done: false, place };
      place = one;
    }
  }
  return to === pass.to
    ? { done: true }
    : { done: false, place: { n: to, table: tableMax, id: '' } };
};
