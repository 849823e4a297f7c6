import type { ServerVersion } from '@tidemark/model';
import type { Durability, StoreDamage } from './replica-store.js';

/**
 * Record as the server stores it. `row` are the public row bytes (model `encodeRow`), forwarded without
 * decoding; `extra` is known to the engine only. A tombstone keeps the whole last row.
 */
export interface StoredRecord {
  readonly id: string;
  readonly version: ServerVersion;
  readonly deleted: boolean;
  readonly row: Uint8Array;
  readonly extra: Uint8Array;
}

/** Key-ordered page of records; `next` continues after the last id, undefined at the end of the range. */
export interface RecordPage {
  readonly records: readonly StoredRecord[];
  readonly next: string | undefined;
}

/**
 * Named small spaces of the engine, each an ordered map from text keys to bytes. `kept-input` is of this
 * store alone: no dump holds it, and a load leaves it as it is.
 */
export type ServerSpace =
  | 'replicas'
  | 'chains'
  | 'parked'
  | 'shadows'
  | 'side-documents'
  | 'heads'
  | 'quarantine'
  | 'sync-logs'
  | 'lives'
  | 'known-input'
  | 'kept-input';

/** Segment of feed or ledger: all entries of one window and one table; the engine encodes the bytes. */
export interface Segment {
  readonly table: number;
  readonly incarnation: number;
  /** First and last version (n) inside. */
  readonly first: number;
  readonly last: number;
  readonly bytes: Uint8Array;
  /** Of a feed segment: what tells whether a reader needs its bytes; kept beside them, and read by `scanOutlines` alone. */
  readonly outline?: Uint8Array;
}

/** A feed segment that is known by its outline. */
export interface SegmentOutline {
  readonly table: number;
  readonly last: number;
  /** Length of the segment. */
  readonly bytes: number;
  /** Empty where none was written. */
  readonly outline: Uint8Array;
}

/** One window of the fold: applied atomically, together with the state that names its position. */
export interface ServerBatch {
  /** State of the fold: position, digest, incarnation, counters. At most 64 KB. */
  readonly state: Uint8Array;
  /**
   * State that the batch was made from, null for none: if the store holds another one, nothing is written
   * and the commit rejects with `input-mismatch`. Unchecked when left out.
   */
  readonly after?: Uint8Array | null;
  readonly records: readonly { readonly table: number; readonly record: StoredRecord }[];
  /** Tombstones that fall behind the horizon. */
  readonly prune: readonly { readonly table: number; readonly id: string }[];
  readonly feed: readonly Segment[];
  readonly ledger: readonly Segment[];
  readonly entries: readonly {
    readonly space: ServerSpace;
    readonly key: string;
    readonly value: Uint8Array | null;
  }[];
  /** Cuts the feed at its head: segments whose last version is at or below `n` of the incarnation. */
  readonly cutFeed?: { readonly incarnation: number; readonly n: number };
}

/** Number of values read from the store since it was opened: the cost of an answer, counted. */
export interface ReadCounters {
  readonly records: number;
  readonly segments: number;
  readonly entries: number;
  readonly packs: number;
}

/** What was prepared of a table up to an id, in bytes that the store does not look into. */
export interface PreparedPack {
  /** Id of the last row in UTF-8, or what else packs are ordered by. */
  readonly last: Uint8Array;
  readonly bytes: Uint8Array;
}

/**
 * Packs that the engine prepares from records, each on a shelf: a cache of this store alone. No dump holds
 * them, and a load removes them. Packs that were written before a note are there when the note is. The shelf of
 * a table's rows is that of its number; shelves from 2^31 on are of no table.
 */
export interface PreparedPacks {
  /** What the engine noted of a shelf; undefined when nothing is noted. */
  readonly readNote: (shelf: number) => Promise<Uint8Array | undefined>;
  /** Writes packs and the note in one batch. */
  readonly put: (shelf: number, packs: readonly PreparedPack[], note: Uint8Array) => Promise<void>;
  /** First pack that ends behind `after`; undefined where none does. */
  readonly next: (shelf: number, after: Uint8Array) => Promise<PreparedPack | undefined>;
  /** Packs that end behind `after` and before `before`, in order: at least one if there is any, up to `maxBytes` and one more. */
  readonly scan: (
    shelf: number,
    range: { readonly after: Uint8Array; readonly before: Uint8Array; readonly maxBytes: number },
  ) => Promise<readonly PreparedPack[]>;
  /** Removes a shelf's note, then its packs. */
  readonly clear: (shelf: number) => Promise<void>;
}

/**
 * Store of a tenant's server: records, feed, ledger, spaces, state. A deterministic fold of the input.
 *
 * Ids are ordered by their UTF-8 bytes. One write in flight. Errors: `storage-unavailable`,
 * `storage-damaged`, and of a commit `input-mismatch`.
 */
export interface ServerStore {
  readonly damage: readonly StoreDamage[];
  readonly readState: () => Promise<Uint8Array | undefined>;
  /** Records in the order of `ids`; give them sorted. Deleted ones are returned with their flag. */
  readonly getRecords: (
    table: number,
    ids: readonly string[],
  ) => Promise<readonly (StoredRecord | undefined)[]>;
  /** Records in id order with `after` < id <= `upTo`, at least one if any, up to `maxBytes` of rows. */
  readonly scanRecords: (
    table: number,
    options: {
      readonly after?: string;
      readonly upTo?: string;
      readonly maxBytes: number;
      readonly maxRecords: number;
    },
  ) => Promise<RecordPage>;
  readonly getEntries: (
    space: ServerSpace,
    keys: readonly string[],
  ) => Promise<readonly (Uint8Array | undefined)[]>;
  /** Entries with `gt` < key < `lt` in key order (reversed if asked), at most `limit`. */
  readonly scanEntries: (
    space: ServerSpace,
    options: {
      readonly gt: string;
      readonly lt: string;
      readonly limit: number;
      readonly reverse?: boolean;
    },
  ) => Promise<readonly { readonly key: string; readonly value: Uint8Array }[]>;
  /** Segments that hold a version in (`after`, `upTo`] of the incarnation, by last version, then table; at least one if any, up to `maxBytes`. */
  readonly scanSegments: (
    kind: 'feed' | 'ledger',
    options: {
      readonly incarnation: number;
      readonly after: number;
      readonly upTo: number;
      readonly maxBytes: number;
      /** Continues strictly after the segment with this last version and table. */
      readonly from?: { readonly last: number; readonly table: number };
    },
  ) => Promise<readonly Segment[]>;
  /**
   * Outlines of the feed segments whose last version is above `after` and that may hold one up to `upTo`, in
   * the order of `scanSegments`: at least one if any, up to `maxBytes`. No segment is read for it.
   */
  readonly scanOutlines: (options: {
    readonly incarnation: number;
    readonly after: number;
    readonly upTo: number;
    readonly maxBytes: number;
    readonly from?: { readonly last: number; readonly table: number };
  }) => Promise<readonly SegmentOutline[]>;
  /** Feed segments by their places; undefined where there is none. */
  readonly getFeedSegments: (
    incarnation: number,
    places: readonly { readonly last: number; readonly table: number }[],
  ) => Promise<readonly (Segment | undefined)[]>;
  /** First version after which the feed is whole; and its bytes, for the horizon. */
  readonly feedExtent: () => Promise<{ readonly segments: number; readonly bytes: number }>;
  readonly commit: (batch: ServerBatch, durability: Durability) => Promise<void>;
  /** Writes outside the fold: sync logs and other notes that no merge reads. */
  readonly putEntries: (
    entries: readonly {
      readonly space: ServerSpace;
      readonly key: string;
      readonly value: Uint8Array | null;
    }[],
  ) => Promise<void>;
  readonly prepared: PreparedPacks;
  readonly sync: () => Promise<void>;
  /**
   * Everything of the store as of this call, as framed chunks of at most 1 MB: the body of a checkpoint.
   * Later commits do not show in it.
   */
  readonly dump: () => AsyncIterable<Uint8Array>;
  /** Replaces the content of the store by a dump. Not atomic: the store is unusable until it resolves. */
  readonly load: (chunks: AsyncIterable<Uint8Array>) => Promise<void>;
  readonly reads: () => ReadCounters;
  readonly close: () => Promise<void>;
}

/** Place of a message in the input: sequence numbers count from 1 within a generation. */
export interface InputPosition {
  readonly generation: number;
  readonly seq: number;
}

/** Message of the input with the time (ms) at which it was stored. */
export interface InputMessage {
  readonly position: InputPosition;
  readonly atMs: number;
  readonly bytes: Uint8Array;
  /**
   * Hash by which the message is known again, at least 16 bytes; the hash of its bytes when left out. A log
   * that can lose its end and use its numbers anew takes more into it: equal bytes may be stored there again.
   */
  readonly hash?: Uint8Array;
}

/** First and last message of the input; undefined when it is empty. */
export interface InputExtent {
  readonly generation: number;
  readonly first: number;
  /** Sequence number of the last message: 0 when the generation is empty. */
  readonly last: number;
}

/** What became of one message of an append. */
export type AppendOutcome =
  | { readonly tag: 'stored'; readonly position: InputPosition }
  /** It is no part of the input. */
  | { readonly tag: 'refused'; readonly error: Error }
  /** It may be part of the input, or become it. */
  | { readonly tag: 'unknown'; readonly error: Error };

/**
 * InputLog is the one ordered input of a tenant.
 *
 * `append` resolves with what became of each message: those that are stored are durable, in the order given.
 * After the first that is not stored no more are offered: they are refused with its failure; what was on its
 * way already may be stored behind it. When it rejects, it is so of all of them that they may be stored or
 * not: whoever offers them again does so because duplicates have no effect, or asks.
 * Message order is the order of merging. Message times are the input's own; over a network they may go
 * backwards, so readers take the greatest so far.
 */
export interface InputLog {
  readonly damage: readonly StoreDamage[];
  readonly append: (messages: readonly Uint8Array[]) => Promise<readonly AppendOutcome[]>;
  /** Messages after `position` in order, crossing generations; at least one if any, up to the bounds. */
  readonly read: (
    after: InputPosition,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ) => Promise<readonly InputMessage[]>;
  readonly extent: () => Promise<InputExtent>;
  /**
   * Number of the last message of a generation that has ended, also where the message itself is gone; undefined
   * for the generation that takes messages, and where nothing tells any more.
   */
  readonly endOf: (generation: number) => Promise<number | undefined>;
  /** Hash of a stored message as `read` gives it, to compare with what was folded; undefined when it is gone. */
  readonly hashAt: (position: InputPosition) => Promise<Uint8Array | undefined>;
  /**
   * Ends the current generation and starts the next one with its first message. Rejects with `behind` when
   * the input does not end exactly at `expected`: exactly one caller wins, and nothing comes between.
   */
  readonly startGeneration: (
    expected: Pick<InputExtent, 'generation' | 'last'>,
    first: Uint8Array,
  ) => Promise<InputPosition>;
  /** Drops messages at or before the position. */
  readonly trim: (position: InputPosition) => Promise<void>;
  /**
   * Calls back when others may have appended; absent where nobody else can. It may call back without
   * reason. Returns the way to stop.
   */
  readonly onGrown?: (callback: () => void) => () => void;
  readonly close: () => Promise<void>;
}

/**
 * Folder of checkpoints outside the store's folder. A checkpoint becomes visible when it is complete and
 * durable, never before.
 */
export interface CheckpointFolder {
  readonly write: (
    name: string,
    manifest: Uint8Array,
    chunks: AsyncIterable<Uint8Array>,
  ) => Promise<void>;
  /** Names, oldest first. */
  readonly list: () => Promise<readonly string[]>;
  readonly readManifest: (name: string) => Promise<Uint8Array>;
  readonly readChunks: (name: string) => AsyncIterable<Uint8Array>;
  readonly remove: (name: string) => Promise<void>;
}
