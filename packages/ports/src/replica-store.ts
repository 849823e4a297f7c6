import type { RowBlock } from '@tidemark/model';

/**
 * Durability of a write. `os`: handed to the operating system, survives a crash of the process;
 * `disk`: fsynced, survives a power cut. Writers at `disk` that wait together share one fsync.
 */
export type Durability = 'os' | 'disk';

/** Damage found when a store was opened: what is missing, never skipped silently. */
export interface StoreDamage {
  readonly kind: 'log-hole' | 'log-tail' | 'image' | 'server';
  /** Human-readable range or place; ids and counts only. */
  readonly where: string;
  /** Batches or operations that are missing or altered. */
  readonly count: number;
}

/** Transaction in a log. `index` is that of its first operation; `head` the chain head after it. */
export interface LogEntry {
  readonly index: number;
  readonly opCount: number;
  readonly head: Uint8Array;
  /** Stored bytes of the transaction. */
  readonly bytes: Uint8Array;
}

/** End of a log: index of the last operation (0: empty) and the chain head there. */
export interface LogEnd {
  readonly lastIndex: number;
  readonly head: Uint8Array;
}

/** Append-only log of a replica's transactions. Appends go through `ReplicaStore.write`. */
export interface OpLog {
  readonly end: () => LogEnd;
  /** Index of the first operation still kept: greater than 1 after trimming. */
  readonly firstIndex: () => number;
  /** Last operation that was trimmed away, with the head after it; 0 and the empty head when none was. */
  readonly base: () => LogEnd;
  /**
   * Reads transactions from the one that holds operation `from` onwards, in order, at least one if any,
   * up to `maxBytes`.
   */
  readonly read: (from: number, maxBytes: number) => Promise<readonly LogEntry[]>;
}

/** Layered keyspaces of a replica: `image` rows by record id, pending `view` rows by record id. */
export type LayerSpace = 'image' | 'view';

/**
 * Put into a layer. `value` null is a marker that hides lower layers (evict, delete, no pending view).
 * Index puts have `index` and an ordered `key`; their value is empty.
 */
export type LayerPut =
  | {
      readonly space: LayerSpace;
      readonly layer: number;
      readonly table: number;
      readonly id: string;
      readonly value: Uint8Array | null;
    }
  | {
      readonly space: 'index';
      readonly layer: number;
      readonly table: number;
      readonly index: number;
      readonly key: Uint8Array;
      readonly id: string;
      readonly present: boolean;
    };

/**
 * Rows of the image that are stored together, for a fill: of one layer and one table, above all rows of
 * earlier blocks of that layer and table. A put of the same layer hides a row of a block, whichever was
 * written first.
 */
export interface LayerBlock {
  readonly layer: number;
  readonly table: number;
  readonly block: RowBlock;
}

/**
 * Entries of one index that are stored together, for indexes that are built in bulk: in any order, none twice. A put
 * of the same layer hides an entry of a run, whichever was written first.
 */
export interface IndexRun {
  readonly layer: number;
  readonly table: number;
  readonly index: number;
  /** Number that no other run of the replica has. */
  readonly run: number;
  /** For each entry its ordered key bytes, then its id in UTF-8. */
  readonly bytes: Uint8Array;
  /** For each entry where its key and where its id end in `bytes`. */
  readonly ends: Uint32Array;
}

/** One atomic write of a replica. Everything is applied or nothing. */
export interface ReplicaBatch {
  /** State of the engine: replaced as a whole. At most 1 MB. */
  readonly state?: Uint8Array;
  readonly append?: readonly LogEntry[];
  /** Removes transactions whose last operation is at or below this index. */
  readonly trimLogTo?: number;
  /** Removes transactions from the one that starts at this index: used when the log is re-wrapped. */
  readonly cutLogFrom?: number;
  readonly puts?: readonly LayerPut[];
  readonly blocks?: readonly LayerBlock[];
  readonly runs?: readonly IndexRun[];
  /** Small named values: sync logs, run state. Null removes. */
  readonly notes?: readonly { readonly key: string; readonly value: Uint8Array | null }[];
}

/** Row found in layers. */
export interface LayerRow {
  readonly id: string;
  readonly value: Uint8Array;
}

/** Page of rows in id order; `next` continues after the last id, undefined at the end. */
export interface LayerPage {
  readonly rows: readonly LayerRow[];
  readonly next: string | undefined;
}

/** Range of an index scan, as ordered key bytes: `gte` inclusive, `lt` exclusive. */
export interface IndexRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
}

/** Entry of an index: ordered key bytes and the record id. */
export interface IndexEntry {
  readonly key: Uint8Array;
  readonly id: string;
}

/**
 * Store of a replica: op log, image in layers, pending view, indexes, state.
 *
 * Reads name the layers that are visible, newest first; the newest layer with an entry for a key wins,
 * a null marker hides the lower ones. Ordered by the UTF-8 bytes of ids. Errors: `storage-unavailable`,
 * `storage-damaged`. The engine keeps at most one write in flight.
 */
export interface ReplicaStore {
  /** Damage found at open, with counts. */
  readonly damage: readonly StoreDamage[];
  readonly log: OpLog;
  readonly readState: () => Promise<Uint8Array | undefined>;
  /** Applies a batch atomically; resolves at the durability asked for. */
  readonly write: (batch: ReplicaBatch, durability: Durability) => Promise<void>;
  /** Fsyncs everything written so far. */
  readonly sync: () => Promise<void>;
  readonly getRows: (
    space: LayerSpace,
    table: number,
    ids: readonly string[],
    layers: readonly number[],
  ) => Promise<readonly (Uint8Array | undefined)[]>;
  /** Rows in id order after `after` (before it when `reverse`), at most `limit`. */
  readonly scanRows: (
    space: LayerSpace,
    table: number,
    options: {
      readonly layers: readonly number[];
      readonly limit: number;
      readonly after?: string;
      readonly upTo?: string;
      readonly reverse?: boolean;
    },
  ) => Promise<LayerPage>;
  /** Like `scanRows`, but keeps null markers, for staging and folding decisions. One layer. */
  readonly scanLayer: (
    space: LayerSpace,
    table: number,
    layer: number,
    after: string | undefined,
    limit: number,
  ) => Promise<readonly { readonly id: string; readonly value: Uint8Array | null }[]>;
  /**
   * Blocks of rows of a layer that end behind the id `after`, in order: at least one if there is any, up to
   * `maxBytes`. Rows of their own are not among them.
   */
  readonly readBlocks: (
    table: number,
    layer: number,
    after: string | undefined,
    maxBytes: number,
  ) => Promise<readonly Uint8Array[]>;
  /** Index entries within a range in key order, ties by id, at most `limit`, after `after` if given. */
  readonly scanIndex: (
    table: number,
    index: number,
    range: IndexRange,
    options: {
      readonly layers: readonly number[];
      readonly limit: number;
      readonly after?: IndexEntry;
      readonly reverse?: boolean;
    },
  ) => Promise<readonly IndexEntry[]>;
  /**
   * Moves at most `limit` entries of layer `from` into the older layer `into`; true when none is left. With
   * `isOldest` nothing lies beneath `into`: markers of views and index entries end there.
   */
  readonly foldLayer: (
    from: number,
    into: number,
    limit: number,
    isOldest?: boolean,
  ) => Promise<boolean>;
  /** Removes at most `limit` entries of a layer (of one table if given); true when none is left. */
  readonly clearLayer: (layer: number, limit: number, table?: number) => Promise<boolean>;
  readonly readNote: (key: string) => Promise<Uint8Array | undefined>;
  readonly scanNotes: (
    prefix: string,
    limit: number,
    reverse?: boolean,
  ) => Promise<readonly { readonly key: string; readonly value: Uint8Array }[]>;
  /** Removes everything: log, image, view, indexes, notes, state. */
  readonly clear: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/**
 * Marker beside the database: a small record, replaced atomically and fsynced, that outlives the loss of
 * the database. It tells a first run from a lost store and guards `publishedTo`.
 */
export interface Marker {
  readonly read: () => Promise<Uint8Array | undefined>;
  readonly write: (bytes: Uint8Array) => Promise<void>;
}
