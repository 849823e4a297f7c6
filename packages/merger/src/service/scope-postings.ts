import {
  concatBytes,
  decodeRow,
  TidemarkError,
  utf8Decode,
  utf8Encode,
  type FieldId,
} from '@tidemark/model';
import { compareTexts } from '@tidemark/filter';
import type { PreparedPack, RecordPage } from '@tidemark/ports';
import { hashOfScopeKey } from '../fold/feed-outline.js';
import {
  openPreparedCache,
  type PreparedCache,
  type PreparedNote,
  type PreparedSource,
} from './prepared-cache.js';

/** Ids that one read gives at most. */
export const postingIdsMax = 10_000;
/** Rows for each id of a value from which on its ids are read by themselves: with fewer a scan is faster. */
export const postingRowsMin = 16;
/** Bytes of postings that one read takes at most. */
const readBytes = 512 * 1_024;
/** Postings lie beside packs: there is no table of so great a number. */
const shelfFrom = 2 ** 31;

/*
 * Posting of a value of a scope key, integers big-endian: rows of the table before its step u32, then for each
 * record id length u8, id. It lies under the value's hash u32 and the last id.
 */
const headBytes = 4;
const hashBytes = 4;

/** What a fill wants: the records that have had a value of the table's scope key, by its hash. */
export interface WantedPosting {
  readonly field: FieldId;
  readonly hash: number;
}

/** Ids in order, with that behind which a fill goes on. */
export interface PostedIds {
  readonly kind: 'ids';
  readonly ids: readonly string[];
  /** Postings that were read for it. */
  readonly postings: number;
  readonly filling: string | null;
  /** True when so many of the table's rows are among them that a scan is faster. */
  readonly isDense: boolean;
}

/**
 * Ids of a table's records by the value of its scope key, for first fills of scopes that pin it: prepared by the
 * first replica that asks. A record is named under the value that it had when it was read, and perhaps under
 * others: who reads it decides.
 */
export type ScopePostings = PreparedCache<WantedPosting, PostedIds>;

const placeOf = (hash: number, id: string): Uint8Array => {
  const text = utf8Encode(id);
  const place = new Uint8Array(hashBytes + text.length);
  new DataView(place.buffer).setUint32(0, hash);
  place.set(text, hashBytes);
  return place;
};

/** Place behind all ids of a hash: no id begins with so great a byte. */
const endOf = (hash: number): Uint8Array => concatBytes([placeOf(hash, ''), Uint8Array.of(0xff)]);

const encodePosting = (rowsBefore: number, ids: readonly string[]): Uint8Array => {
  const head = new Uint8Array(headBytes);
  new DataView(head.buffer).setUint32(0, rowsBefore);
  const parts: Uint8Array[] = [head];
  for (const id of ids) {
    const text = utf8Encode(id);
    parts.push(Uint8Array.of(text.length), text);
  }
  return concatBytes(parts);
};

const decodePosting = (
  bytes: Uint8Array,
): { readonly rowsBefore: number; readonly ids: readonly string[] } => {
  const ids: string[] = [];
  let at = headBytes;
  while (at < bytes.length) {
    const from = at + 1;
    at = from + (bytes[at] as number);
    if (at > bytes.length) break;
    ids.push(utf8Decode(bytes.subarray(from, at)));
  }
  if (at !== bytes.length || ids.length === 0)
    throw new TidemarkError('storage-damaged', 'a posting has another form', {});
  const rowsBefore = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return { rowsBefore, ids };
};

/** Postings of the records of a page. */
const postingsOf = (page: RecordPage, field: FieldId, rowsBefore: number): PreparedPack[] => {
  const byHash = new Map<number, string[]>();
  for (const { id, row, deleted } of page.records) {
    if (deleted) continue;
    const hash = hashOfScopeKey(decodeRow(row).fields[field] ?? null);
    const ids = byHash.get(hash);
    if (ids === undefined) byHash.set(hash, [id]);
    else ids.push(id);
  }
  return [...byHash].map(([hash, ids]) => ({
    last: placeOf(hash, ids.at(-1) as string),
    bytes: encodePosting(rowsBefore, ids),
  }));
};

/** Ids out of postings behind an id; where there are more than one read gives, how dense they lie. */
const idsOf = (
  postings: readonly PreparedPack[],
  { upTo }: PreparedNote,
  after: string,
): PostedIds => {
  const ids: string[] = [];
  const read = { kind: 'ids', ids, postings: postings.length } as const;
  let bytes = 0;
  let [firstRow, lastRow] = [0, 0];
  for (const [i, posting] of postings.entries()) {
    const { rowsBefore, ids: some } = decodePosting(posting.bytes);
    if (i === 0) firstRow = rowsBefore;
    lastRow = rowsBefore;
    bytes += posting.bytes.length;
    for (const id of some) if (compareTexts(id, after) > 0) ids.push(id);
    if (ids.length < postingIdsMax && bytes < readBytes) continue;
    const isDense = lastRow - firstRow < ids.length * postingRowsMin;
    return { ...read, filling: ids.at(-1) ?? upTo, isDense };
  }
  return { ...read, filling: upTo, isDense: false };
};

/** Opens the postings of a store. */
export const openScopePostings = (source: PreparedSource): ScopePostings => {
  const { prepared } = source.applied.store;
  const { stepBytes } = source.limits;
  const shelf = (table: number): number => shelfFrom + table;
  return openPreparedCache<WantedPosting, PostedIds>(source, {
    shelf,
    field: ({ field }) => field,
    stepBytes: () => stepBytes,
    make: (_table, page, note) => {
      const live = page.records.filter(({ deleted }) => !deleted);
      return Promise.resolve({
        packs: postingsOf(page, note.field as FieldId, note.rows),
        next: {
          ...note,
          upTo: page.next ?? null,
          last: live.at(-1)?.id ?? note.last,
          rows: note.rows + live.length,
          bytes: live.reduce((sum, { row }) => sum + row.length, note.bytes),
        },
      });
    },
    read: async (table, note, after, { hash }) => {
      const range = { after: placeOf(hash, after), before: endOf(hash), maxBytes: readBytes };
      return idsOf(await prepared.scan(shelf(table), range), note, after);
    },
  });
};
