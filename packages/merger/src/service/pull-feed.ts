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
import type { PageEntry } from '@tidemark/protocol';
import { hashOfId, hashOfScopeKey, type FeedOutline } from '../fold/feed-outline.js';
import { rewindRow, type FeedEntry } from '../fold/feed-segment.js';
import type { CountedReads } from './applied-store.js';
import { readSegments, scanFeed, type ScannedSegment, type SegmentPlace } from './feed-scan.js';
import type { PageWriter } from './page-writer.js';
import { isInScope, type ReadScope } from './request-scope.js';

/** Feed entries that one answer reads at most (it always reads one segment). */
export const pullEntriesMax = 5_000;
/** Segments of the feed that one answer passes by at most. */
export const pullSegmentsMax = 10_000;
const recordBatch = 256;
const tableMax = 0xffff_ffff;

/** Place in a pass: after segment (`last`, `table`), and inside the next one after record `after`. */
export interface FeedPlace {
  readonly feed: SegmentPlace | null;
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
  readonly place: SegmentPlace;
  readonly scope: ReadScope | undefined;
  /** Entries of the pass by record, in version order; records in order of their ids' UTF-16 units. */
  readonly records: ReadonlyMap<RecordId, readonly FeedEntry[]>;
  /** Set when the scope key tells that no record comes into view here: it still helps to walk back. */
  readonly aside: ScannedSegment | undefined;
}

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

const noRecords: LoadedSegment['records'] = new Map();

const loadSegment = (
  segment: ScannedSegment,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  after: string | null,
): LoadedSegment => {
  const { place, feed } = segment;
  const from = pass.from.get(place.table);
  const scope = scopes.get(place.table);
  if (from === undefined || scope === undefined || place.last <= from)
    return { place, scope: undefined, records: noRecords, aside: undefined };
  if (feed === undefined) return { place, scope: undefined, records: noRecords, aside: segment };
  const records = new Map<RecordId, FeedEntry[]>();
  for (const id of feed.ids()) if (after === null || id > after) records.set(id, []);
  for (const entry of feed.entries())
    if (entry.n > from && entry.n <= pass.to) records.get(entry.id)?.push(entry);
  for (const [id, entries] of records) if (entries.length === 0) records.delete(id);
  return { place, scope, records, aside: undefined };
};

type EntriesByRecord = ReadonlyMap<TableId, ReadonlyMap<RecordId, readonly FeedEntry[]>>;
type Wanted = ReadonlyMap<TableId, ReadonlySet<RecordId>>;

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

/** Hashes of the ids that are wanted, as outlines are asked for them. */
const wantedHashes = (wanted: Wanted): ReadonlyMap<TableId, readonly number[]> =>
  new Map([...wanted].map(([table, ids]) => [table, [...ids].map(hashOfId)] as const));

/**
 * Changes of the given records behind the segments of a page, up to what is applied, in version order. The page
 * may end with a segment that goes beyond the pass: of that it holds what belongs to the pass.
 */
const entriesAfter = async (
  reads: CountedReads,
  pass: FeedPass,
  end: SegmentPlace,
  wanted: Wanted,
): Promise<EntriesByRecord> => {
  const isBeyond = end.last > pass.to;
  const from = isBeyond ? { last: pass.to, table: tableMax } : end;
  const known = isBeyond ? pass.to : 0;
  const found = new Map<TableId, Map<RecordId, FeedEntry[]>>();
  const hashes = wantedHashes(wanted);
  const { incarnation, applied: upTo } = pass;
  const range = { incarnation, after: Math.min(...pass.from.values()), upTo, from };
  const scan = scanFeed(
    reads,
    range,
    ({ table }, outline) => hashes.has(table) && outline.mayChange(hashes.get(table) ?? []),
  );
  for await (const { place, feed } of scan) {
    const ids = wanted.get(place.table);
    if (ids === undefined || feed === undefined || !feed.ids().some((id) => ids.has(id))) continue;
    for (const entry of feed.entries())
      if (ids.has(entry.id) && entry.n > known && entry.n <= upTo)
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

/**
 * Loads segments of the pass from a place on: at most `pullEntriesMax` entries, at least one segment, and
 * passes by at most `pullSegmentsMax`.
 */
const loadBatch = async (
  reads: CountedReads,
  pass: FeedPass,
  scopes: ReadonlyMap<TableId, ReadScope>,
  start: FeedPlace,
): Promise<{ readonly segments: readonly LoadedSegment[]; readonly ended: boolean }> => {
  const loaded: LoadedSegment[] = [];
  const pinned = pinnedKeys(scopes);
  const { incarnation, to: upTo } = pass;
  const range = { incarnation, after: Math.min(...pass.from.values()), upTo, from: start.feed };
  const isNeeded = (place: SegmentPlace, outline: FeedOutline): boolean =>
    scopes.has(place.table) &&
    place.last > (pass.from.get(place.table) ?? Infinity) &&
    concerns(pinned, place, outline);
  let count = 0;
  for await (const segment of scanFeed(reads, range, isNeeded)) {
    if (loaded.length > 0 && (count >= pullEntriesMax || loaded.length >= pullSegmentsMax))
      return { segments: loaded, ended: false };
    const one = loadSegment(segment, pass, scopes, loaded.length === 0 ? start.after : null);
    loaded.push(one);
    for (const entries of one.records.values()) count += entries.length;
  }
  return { segments: loaded, ended: true };
};

/**
 * Entries of the loaded segments by table and record, first to last. Of segments that the scope key passes
 * over only what concerns records of the others: without it they could not be walked back.
 */
const groupEntries = async (
  reads: CountedReads,
  segments: readonly LoadedSegment[],
  pass: FeedPass,
): Promise<EntriesByRecord> => {
  const wanted = new Map<TableId, Set<RecordId>>();
  const grouped = new Map<TableId, Map<RecordId, FeedEntry[]>>();
  for (const { place, records } of segments)
    for (const [id, entries] of records) {
      let ids = wanted.get(place.table);
      if (ids === undefined) wanted.set(place.table, (ids = new Set()));
      ids.add(id);
      for (const entry of entries) addEntry(grouped, place.table, entry);
    }
  const hashes = wantedHashes(wanted);
  const asides = segments.flatMap(({ place, aside }) =>
    aside?.outline.mayChange(hashes.get(place.table) ?? []) === true ? [aside] : [],
  );
  for await (const { place, feed } of readSegments(reads, pass.incarnation, asides)) {
    const ids = wanted.get(place.table);
    const from = pass.from.get(place.table) ?? pass.to;
    if (ids === undefined || !feed.ids().some((id) => ids.has(id))) continue;
    for (const entry of feed.entries())
      if (ids.has(entry.id) && entry.n > from && entry.n <= pass.to)
        addEntry(grouped, place.table, entry);
  }
  // Those of the segments passed over came behind the others.
  if (asides.length > 0)
    for (const byRecord of grouped.values())
      for (const entries of byRecord.values()) entries.sort((a, b) => a.n - b.n);
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
  const grouped = await groupEntries(reads, segments, pass);
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
