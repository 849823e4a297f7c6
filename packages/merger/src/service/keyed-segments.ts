import { compareTexts } from '@tidemark/filter';
import { decodeRow, type FieldId, type RecordId, type Value } from '@tidemark/model';
import type { ServerStore } from '@tidemark/ports';
import { hashOfScopeKey } from '../fold/feed-outline.js';
import type { FeedSegment } from '../fold/feed-segment.js';

/** Bytes of segments that are kept decoded, as they are stored: decoded they take several times as much. */
export const keyedSegmentBytesMax = 8 * 1_024 * 1_024;

/** Place of a segment in the feed of this server: last version and table. */
export interface SegmentPlace {
  readonly last: number;
  readonly table: number;
}

/** Segment that was read, with its length as it is stored. */
interface ReadSegment {
  readonly place: SegmentPlace;
  readonly bytes: number;
  readonly feed: FeedSegment;
}

/** Records of a segment by the values that their scope key may have had, and those of which that is not known. */
interface Keyed {
  readonly feed: FeedSegment;
  readonly bytes: number;
  readonly field: FieldId;
  readonly byHash: ReadonlyMap<number, ReadonlySet<RecordId>>;
  readonly open: ReadonlySet<RecordId>;
}

const keyedRecords = async (
  store: Pick<ServerStore, 'getRecords'>,
  { place: { table }, bytes, feed }: ReadSegment,
  field: FieldId,
): Promise<Keyed> => {
  const byHash = new Map<number, Set<RecordId>>();
  const open = new Set<RecordId>();
  const add = (id: RecordId, value: Value | undefined): void => {
    const hash = hashOfScopeKey(value ?? null);
    const ids = byHash.get(hash);
    if (ids === undefined) byHash.set(hash, new Set([id]));
    else ids.add(id);
  };
  const ids = [...feed.ids()].sort(compareTexts);
  const stored = await store.getRecords(table, ids);
  for (const [i, id] of ids.entries()) {
    const record = stored[i];
    if (record === undefined || record.deleted) open.add(id);
    else add(id, decodeRow(record.row).fields[field]);
  }
  for (const { id, before } of feed.entries()) {
    if (before === null) continue;
    if (before.kind === 'row') add(id, decodeRow(before.row).fields[field]);
    else if (field in before.fields) add(id, before.fields[field]);
  }
  return { feed, bytes, field, byHash, open };
};

/**
 * Segments of the feed that pulls of pinned scopes have read lately, decoded, with the values of the scope key of their
 * records: those before each change, and those at some time behind the segment. A record that got another value
 * between the two is named by the change that took the value away.
 */
export class KeyedSegments {
  /** Loads of the store: other windows may stand at the same places behind one. */
  readonly #reloads: () => number;
  readonly #known = new Map<string, Keyed>();
  #bytes = 0;
  #era = 0;

  constructor(reloads: () => number) {
    this.#reloads = reloads;
  }

  /** A segment that is kept; undefined where it must be read. */
  find(incarnation: number, place: SegmentPlace): FeedSegment | undefined {
    this.#renew();
    return this.#known.get(nameOf(incarnation, place))?.feed;
  }

  /** Tells which records of a segment may have had a value of the scope key. */
  async concerned(
    store: Pick<ServerStore, 'getRecords'>,
    incarnation: number,
    segment: ReadSegment,
    field: FieldId,
    hash: number,
  ): Promise<(id: RecordId) => boolean> {
    this.#renew();
    const name = nameOf(incarnation, segment.place);
    const known = this.#known.get(name);
    const keyed = known?.field === field ? known : await keyedRecords(store, segment, field);
    this.#drop(name);
    this.#known.set(name, keyed);
    this.#bytes += keyed.bytes;
    for (const oldest of this.#known.keys()) {
      if (this.#bytes <= keyedSegmentBytesMax) break;
      this.#drop(oldest);
    }
    const { byHash, open } = keyed;
    const ids = byHash.get(hash);
    return (id) => ids?.has(id) === true || open.has(id);
  }

  #drop(name: string): void {
    this.#bytes -= this.#known.get(name)?.bytes ?? 0;
    this.#known.delete(name);
  }

  #renew(): void {
    const era = this.#reloads();
    if (era === this.#era) return;
    this.#era = era;
    this.#known.clear();
    this.#bytes = 0;
  }
}

const nameOf = (incarnation: number, { last, table }: SegmentPlace): string =>
  `${incarnation}/${last}/${table}`;
