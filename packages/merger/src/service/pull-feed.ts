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
import type { Segment, StoredRecord } from '@tidemark/ports';
import type { PageEntry } from '@tidemark/protocol';
import {
  decodeFeedSegment,
  rewindRow,
  type FeedEntry,
  type FeedSegment,
} from '../fold/feed-segment.js';
import type { CountedReads } from './applied-store.js';
import type { PageWriter } from './page-writer.js';
import { isInScope, type ReadScope } from './request-scope.js';

/** Feed entries that one answer reads at most (it always reads one segment). */
export const pullEntriesMax = 5_000;
const segmentBytesMax = 1024 * 1024;
const recordBatch = 256;

/** Place in a pass: after segment (`last`, `table`), and inside the next one after record `after`. */
export interface FeedPlace {
  readonly feed: { readonly last: number; readonly table: number } | null;
  readonly after: string | null;
}

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

interface LoadedSegment {
  readonly place: { readonly last: number; readonly table: number };
  readonly scope: ReadScope | undefined;
  /** Entries of the pass by record, in version order; records in order of their ids' UTF-16 units. */
  readonly records: ReadonlyMap<RecordId, readonly FeedEntry[]>;
  /** Set when the scope key tells that no record comes into view here: it still helps to walk back. */
  readonly aside: FeedSegment | undefined;
}

const loadSegment = (
  segment: Segment,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  after: string | null,
): LoadedSegment => {
  const place = { last: segment.last, table: segment.table };
  const from = pass.from.get(segment.table);
  const scope = scopes.get(segment.table);
  const records = new Map<RecordId, FeedEntry[]>();
  if (from === undefined || scope === undefined || segment.last <= from)
    return { place, scope: undefined, records, aside: undefined };
  const feed = decodeFeedSegment(segment.bytes);
  const { scopeKeys } = feed.header;
  // The header lists every key value before and after: a scope pinned to another one has no part in it.
  if (scope.key !== null && scopeKeys !== null && !scopeKeys.includes(scope.key.value))
    return { place, scope: undefined, records, aside: feed };
  for (const id of feed.ids()) if (after === null || id > after) records.set(id, []);
  for (const entry of feed.entries())
    if (entry.n > from && entry.n <= pass.to) records.get(entry.id)?.push(entry);
  for (const [id, entries] of records) if (entries.length === 0) records.delete(id);
  return { place, scope, records, aside: undefined };
};

type EntriesByRecord = ReadonlyMap<TableId, ReadonlyMap<RecordId, readonly FeedEntry[]>>;

const addEntry = (
  found: Map<TableId, Map<RecordId, FeedEntry[]>>,
  table: TableId,
  entry: FeedEntry,
): void => {
  let byRecord = found.get(table);
  if (byRecord === undefined) found.set(table, (byRecord = new Map()));
  const list = byRecord.get(entry.id);
  if (list === undefined) byRecord.set(entry.id, [entry]);
  else list.push(entry);
};

/** Changes of the given records after a place of the feed, up to what is applied, in version order. */
const entriesAfter = async (
  reads: CountedReads,
  pass: FeedPass,
  start: { readonly last: number; readonly table: number },
  wanted: ReadonlyMap<TableId, ReadonlySet<RecordId>>,
): Promise<EntriesByRecord> => {
  const found = new Map<TableId, Map<RecordId, FeedEntry[]>>();
  let from = start;
  for (;;) {
    const segments = await reads.store.scanSegments('feed', {
      incarnation: pass.incarnation,
      after: Math.min(...pass.from.values()),
      upTo: pass.applied,
      maxBytes: segmentBytesMax,
      from,
    });
    if (segments.length === 0) return found;
    for (const segment of segments) {
      from = { last: segment.last, table: segment.table };
      const ids = wanted.get(segment.table);
      if (ids === undefined) continue;
      const feed = decodeFeedSegment(segment.bytes);
      if (!feed.ids().some((id) => ids.has(id))) continue;
      for (const entry of feed.entries())
        if (ids.has(entry.id) && entry.n <= pass.applied) addEntry(found, segment.table, entry);
    }
  }
};

const touchesProjection = (entry: FeedEntry, projection: ReadonlySet<FieldId>): boolean => {
  const { before } = entry;
  if (before === null || before.kind === 'row') return true;
  for (const key in before.fields) if (projection.has(Number(key))) return true;
  for (const key in before.editedAt) if (projection.has(Number(key))) return true;
  return before.docs.some((field) => projection.has(field));
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
  const [first] = entries as readonly [FeedEntry];
  const plain = scope.filter === null && scope.projection === null && !pass.asOfTo;
  if (plain) {
    // Every live record is in scope: the kinds of the changes tell membership, nothing is decoded.
    if (current !== undefined)
      return { kind: 'upsert', id, version: current.version, row: current.row };
    const held = first.before !== null || pass.mayHoldLater;
    return held ? { kind: 'evict', id } : null;
  }
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
  { readonly done: true } | { readonly done: false; readonly place: FeedPlace };

/** Loads segments of the pass from a place on: at most `pullEntriesMax` entries, at least one segment. */
const loadBatch = async (
  reads: CountedReads,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  place: FeedPlace,
): Promise<{ readonly segments: readonly LoadedSegment[]; readonly ended: boolean }> => {
  const oldest = Math.min(...pass.from.values());
  const loaded: LoadedSegment[] = [];
  let from = place.feed;
  let count = 0;
  while (count < pullEntriesMax) {
    const segments = await reads.store.scanSegments('feed', {
      incarnation: pass.incarnation,
      after: oldest,
      upTo: pass.to,
      maxBytes: segmentBytesMax,
      ...(from === null ? {} : { from }),
    });
    if (segments.length === 0) return { segments: loaded, ended: true };
    for (const segment of segments) {
      if (count >= pullEntriesMax && loaded.length > 0) return { segments: loaded, ended: false };
      const one = loadSegment(segment, pass, scopes, loaded.length === 0 ? place.after : null);
      loaded.push(one);
      for (const entries of one.records.values()) count += entries.length;
      from = one.place;
    }
  }
  return { segments: loaded, ended: false };
};

/**
 * Entries of the loaded segments by table and record, first to last. Of segments that the scope key passes
 * over only what concerns records of the others: without it they could not be walked back.
 */
const groupEntries = (segments: readonly LoadedSegment[], pass: FeedPass): EntriesByRecord => {
  const wanted = new Map<TableId, Set<RecordId>>();
  for (const { place, records } of segments) {
    let ids = wanted.get(place.table);
    if (ids === undefined) wanted.set(place.table, (ids = new Set()));
    for (const id of records.keys()) ids.add(id);
  }
  const grouped = new Map<TableId, Map<RecordId, FeedEntry[]>>();
  for (const { place, records, aside } of segments) {
    for (const entries of records.values())
      for (const entry of entries) addEntry(grouped, place.table, entry);
    const ids = wanted.get(place.table);
    const from = pass.from.get(place.table) ?? pass.to;
    if (aside === undefined || ids === undefined || !aside.ids().some((id) => ids.has(id)))
      continue;
    for (const entry of aside.entries())
      if (ids.has(entry.id) && entry.n > from && entry.n <= pass.to)
        addEntry(grouped, place.table, entry);
  }
  return grouped;
};

/** Later changes of the records of a page, where membership or values before them must be known. */
const lookAhead = async (
  reads: CountedReads,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  page: { readonly segments: readonly LoadedSegment[]; readonly ended: boolean },
  grouped: EntriesByRecord,
): Promise<EntriesByRecord> => {
  const last = page.segments[page.segments.length - 1]?.place;
  const wanted = new Map<TableId, ReadonlySet<RecordId>>();
  if (last === undefined || (page.ended && pass.to === pass.applied)) return new Map();
  for (const [table, byRecord] of grouped) {
    const scope = scopes.get(table);
    if (scope !== undefined && (pass.asOfTo || scope.filter !== null || scope.projection !== null))
      wanted.set(table, new Set(byRecord.keys()));
  }
  return wanted.size === 0 ? new Map() : entriesAfter(reads, pass, last, wanted);
};

/**
 * Reads a pass from a place on into the pages of an answer. Each record is decided once per answer, at its
 * first change; where the answer ends inside a segment, the next one goes on after the same record.
 */
export const readFeed = async (
  reads: CountedReads,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  start: FeedPlace,
  pages: PageWriter,
): Promise<FeedStep> => {
  const page = await loadBatch(reads, pass, scopes, start);
  const { segments, ended } = page;
  const grouped = groupEntries(segments, pass);
  const ahead = await lookAhead(reads, pass, scopes, page, grouped);
  const decided = new Map<TableId, Set<RecordId>>();
  let place: FeedPlace = start;
  for (const { place: segmentPlace, scope, records } of segments) {
    if (scope !== undefined) {
      const table = segmentPlace.table;
      let done = decided.get(table);
      if (done === undefined) decided.set(table, (done = new Set()));
      const ids = [...records.keys()].filter((id) => !done.has(id));
      for (let at = 0; at < ids.length; at += recordBatch) {
        const batch = ids.slice(at, at + recordBatch);
        const sorted = [...batch].sort(compareTexts);
        const stored = await reads.store.getRecords(table, sorted);
        const byId = new Map(sorted.map((id, i) => [id, stored[i]]));
        for (const id of batch) {
          const entries = grouped.get(table)?.get(id) as readonly FeedEntry[];
          const later = ahead.get(table)?.get(id) ?? [];
          const entry = decideRecord(pass, scope, id, byId.get(id), entries, later);
          if (entry !== null && !pages.add(table, 'incremental', entry))
            return { done: false, place };
          done.add(id);
          place = { feed: place.feed, after: id };
        }
      }
    }
    place = { feed: segmentPlace, after: null };
  }
  return ended ? { done: true } : { done: false, place };
};
