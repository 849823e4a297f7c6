import type {
  Atomicity,
  Customization,
  FieldId,
  RecordId,
  Schema,
  ServerVersion,
  TableId,
  Value,
} from '@tidemark/model';
import type {
  Clock,
  Crypto,
  Durability,
  Entropy,
  FieldCrdt,
  LogEnd,
  LogEntry,
  Marker,
  AbortSignalLike,
  ReplicaStore,
  StoreDamage,
} from '@tidemark/ports';
import type { FilterExpression } from '@tidemark/filter';
import type { TablePage } from '@tidemark/protocol';
import type { Closing, OriginMeta, ReplicaMeta, StagingKind } from './replica-meta.js';

/** Everything that the local half needs from outside. */
export interface LocalReplicaOptions {
  readonly tenant: string;
  readonly user: string;
  /** Id for a new replica; a random one when left out. Ignored when the store holds a replica. */
  readonly replica?: string;
  /** Schema of the application; at first open required, later the newer of this and the stored one holds. */
  readonly customization?: Customization;
  readonly store: ReplicaStore;
  readonly marker: Marker;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly crypto: Crypto;
  /** Loads the CRDT; called at the first text edit or text operation. */
  readonly crdt: () => Promise<FieldCrdt>;
  /** Durability of edits unless a call says otherwise; `os` when left out. */
  readonly durability?: Durability;
}

/** Record as the application reads it: `id` and the fields by name, absent values null. */
export type RecordView = { readonly id: string } & Readonly<Record<string, Value>>;

/** Whether a record carries own edits: decided by nobody yet, or waiting for a person. */
export type RecordState = 'current' | 'pending' | 'parked';

/** Options of one edit. */
export interface EditOptions {
  readonly durability?: Durability;
}

/** Edit of a text field: the whole new text, or a replacement of `remove` UTF-16 units at `at`. */
export type TextEdit =
  string | { readonly at: number; readonly remove: number; readonly insert: string };

/** Edits within a transaction. They see each other; nothing is stored before the callback ends. */
export interface TransactionEdits {
  readonly create: (
    table: string,
    fields: Readonly<Record<string, unknown>>,
    id?: RecordId,
  ) => Promise<RecordId>;
  readonly update: (
    table: string,
    id: RecordId,
    fields: Readonly<Record<string, unknown>>,
  ) => Promise<void>;
  readonly delete: (table: string, id: RecordId) => Promise<void>;
  readonly increment: (table: string, id: RecordId, field: string, by: number) => Promise<void>;
  readonly editText: (table: string, id: RecordId, field: string, edit: TextEdit) => Promise<void>;
  readonly get: (table: string, id: RecordId) => Promise<RecordView | undefined>;
}

/** Sort order of a query: a field or meta field; null sorts first in `asc`. */
export interface QueryOrder {
  readonly field: string;
  readonly direction?: 'asc' | 'desc';
}

/** Query over one table. Ties are in id order, in the direction of the last order. */
export interface Query {
  readonly filter?: string | FilterExpression;
  readonly order?: readonly QueryOrder[];
  readonly limit?: number;
  readonly offset?: number;
}

/** One field of a pending operation. Increments and text edits show the value before and after too. */
export interface PendingChange {
  readonly field: string;
  readonly before: Value;
  readonly after: Value;
}

/** Operation of the log that the server has not decided for good. */
export interface PendingOperation {
  /** OpId text; epoch 0 while the epoch waits for its grant. */
  readonly op: string;
  readonly index: number;
  readonly table: string;
  readonly record: RecordId;
  readonly kind: 'create' | 'update' | 'delete';
  readonly state: 'pending' | 'parked';
  readonly editedAt: number;
  readonly changes: readonly PendingChange[];
}

/** What changed, told after the write. `ids` null: anything in the table may have changed. */
export interface LocalChange {
  readonly kind: 'edit' | 'flip' | 'fill' | 'meta' | 'damage';
  readonly tables: ReadonlyMap<TableId, readonly RecordId[] | null>;
}

/** Operations of the log that the files do not hold any more, both ends inclusive. */
export interface LostRange {
  readonly from: number;
  readonly to: number;
}

/** Damage that was met at open, and what the replica does about it. */
export interface LocalDamage {
  readonly found: readonly StoreDamage[];
  /** True when a provisional epoch was opened: published operations are missing or differ. */
  readonly newEpoch: boolean;
  /** Highest index that the marker says was published, when the log does not hold it. */
  readonly lostFrom: number | null;
  /**
   * Operations lost from the middle of the log that no receipt covers. Those never published are lost for
   * good; of others the server may hold a copy.
   */
  readonly lost: readonly LostRange[];
}

/** Record that the image holds. */
export interface HeldRow {
  readonly id: RecordId;
  readonly version: ServerVersion;
}

/** Counts of what pages did, per table. */
export interface StagedCounts {
  readonly upserts: number;
  readonly touches: number;
  readonly evicts: number;
}

/** Download in the making. At most one at a time; its state is `meta().staging`. */
export interface Staging {
  /** Opens a new layer, folding older layers first when four are open. */
  readonly begin: (kind: StagingKind, cursor: string | null) => Promise<void>;
  /** Stages pages, with the cursor and progress from which to go on, in one write. */
  readonly put: (
    pages: readonly TablePage[],
    next: { readonly cursor: string | null; readonly progress?: string },
  ) => Promise<ReadonlyMap<TableId, StagedCounts>>;
  /**
   * Puts views on the new image in bounded steps, then makes it visible in one small write. After a
   * crash the next open finishes it.
   */
  readonly flip: (closing: Closing) => Promise<void>;
  /** Finishes a flip that a failure of the storage cut; does nothing when none was begun. */
  readonly finish: () => Promise<void>;
  /** Drops the staged pages. */
  readonly abandon: () => Promise<void>;
}

/** Change of the state that a run makes; members left out stay. */
export type MetaChange = Partial<
  Pick<
    ReplicaMeta,
    | 'publishedTo'
    | 'mergedTo'
    | 'archivedTo'
    | 'ended'
    | 'incarnation'
    | 'version'
    | 'cursor'
    | 'tables'
    | 'scopeText'
    | 'scopeHash'
    | 'receiptKeys'
  >
>;

/** New identity of the log's tail: operations above `above` belong to it. Transaction bytes stay. */
export interface Rewrap {
  readonly epoch: number;
  readonly provisional: string;
  /** False: the epoch was asked for, but is not granted yet. */
  readonly granted: boolean;
  /** Last index that stays as it is. */
  readonly above: number;
  /** Set when a clone takes a new id. */
  readonly replica?: string;
  readonly origin?: OriginMeta;
}

/**
 * Local half of a replica: log, image, view, edits, queries, staging. It needs no network.
 *
 * Writes take turns; at most one is in flight. Rejections are TidemarkErrors with a code.
 */
export interface LocalReplica {
  readonly meta: () => ReplicaMeta;
  readonly schema: () => Schema;
  readonly damage: LocalDamage;
  /** Notes that a run has repaired what `damage` names: later openings do not tell of it. */
  readonly forgetDamage: () => Promise<void>;
  /** Changes the state durably (`os`). */
  readonly updateMeta: (change: MetaChange) => Promise<void>;
  /** Takes a newer customization; builds new indexes in bounded steps. Drops a staging under way. */
  readonly adoptCustomization: (customization: Customization) => Promise<void>;

  // Log
  readonly logEnd: () => LogEnd;
  readonly logStart: () => number;
  /** Last operation that the log has forgotten, with the head after it. */
  readonly logBase: () => LogEnd;
  readonly readLog: (from: number, maxBytes: number) => Promise<readonly LogEntry[]>;
  /** Fsyncs the log, then notes `to` inside and in the marker beside: to be called before sending. */
  readonly markPublished: (to: number) => Promise<void>;
  readonly rewrap: (change: Rewrap) => Promise<void>;
  /** Drops transactions up to `to`, but none that is pending or open. */
  readonly trimLog: (to: number) => Promise<void>;

  // Image
  readonly staging: Staging;
  /** Records of the image (with staged layers while staging) with `after` < id <= `upTo`. */
  readonly heldRows: (
    table: TableId,
    after: RecordId | null,
    upTo: RecordId | null,
    limit: number,
  ) => Promise<readonly HeldRow[]>;
  /** Folds layers and clears dropped ones: at most `steps` bounded steps; true when nothing is left. */
  readonly fold: (steps: number) => Promise<boolean>;

  // Notes: small named values of runs, such as sync logs
  readonly readNote: (key: string) => Promise<Uint8Array | undefined>;
  readonly writeNotes: (
    notes: readonly { readonly key: string; readonly value: Uint8Array | null }[],
  ) => Promise<void>;
  readonly scanNotes: ReplicaStore['scanNotes'];

  // Edits
  readonly create: (
    table: string,
    fields: Readonly<Record<string, unknown>>,
    options?: EditOptions & { readonly id?: RecordId },
  ) => Promise<RecordId>;
  readonly update: (
    table: string,
    id: RecordId,
    fields: Readonly<Record<string, unknown>>,
    options?: EditOptions,
  ) => Promise<void>;
  readonly delete: (table: string, id: RecordId, options?: EditOptions) => Promise<void>;
  readonly increment: (
    table: string,
    id: RecordId,
    field: string,
    by: number,
    options?: EditOptions,
  ) => Promise<void>;
  readonly editText: (
    table: string,
    id: RecordId,
    field: string,
    edit: TextEdit,
    options?: EditOptions,
  ) => Promise<void>;
  /**
   * Runs the callback and stores its edits as one transaction; resolves with the callback's result. The
   * callback holds the write turn: edit through its argument only.
   */
  readonly transaction: <A>(
    callback: (edits: TransactionEdits) => Promise<A> | A,
    options?: EditOptions & { readonly atomicity?: Atomicity },
  ) => Promise<A>;

  // Reads
  readonly get: (table: string, id: RecordId) => Promise<RecordView | undefined>;
  readonly recordState: (table: string, id: RecordId) => Promise<RecordState>;
  /** Server version of the record in the image: `undefined` when the image does not hold it. */
  readonly recordVersion: (table: string, id: RecordId) => Promise<ServerVersion | undefined>;
  /** Record of the image without own edits: what the server holds. */
  readonly serverRecord: (table: string, id: RecordId) => Promise<RecordView | undefined>;
  readonly query: (table: string, query?: Query) => Promise<readonly RecordView[]>;
  readonly count: (table: string, filter?: Query['filter']) => Promise<number>;
  /** Visible records in id order, page by page; each page is one state of the table. */
  readonly scan: (
    table: string,
    options?: { readonly after?: RecordId; readonly limit?: number },
  ) => Promise<readonly RecordView[]>;
  /** Like `scan`, with the canonical JSON of the fields (`fieldBytesOfRow`): for work over whole tables. */
  readonly scanContents: (
    table: string,
    options?: { readonly after?: RecordId; readonly limit?: number },
  ) => Promise<readonly { readonly id: RecordId; readonly fields: Uint8Array }[]>;
  /** Emits the result now and after each change of it. A slow consumer gets the newest result only. */
  readonly watch: (
    table: string,
    query?: Query,
    signal?: AbortSignalLike,
  ) => AsyncIterable<readonly RecordView[]>;
  /**
   * Like `watch`, with a callback; returns the way to stop. A callback that fails, at once or by its promise,
   * ends the watch and is told to `onError`.
   */
  readonly watchWith: (
    table: string,
    query: Query,
    onResult: (result: readonly RecordView[]) => void | Promise<void>,
    onError?: (error: unknown) => void,
  ) => () => void;
  /** Operations that are pending or parked, in log order, after index `after`. */
  readonly pending: (options?: {
    readonly after?: number;
    readonly limit?: number;
  }) => Promise<readonly PendingOperation[]>;
  /** Operations of the log above `mergedTo`, and open ones at or below it. */
  readonly pendingCount: () => { readonly pending: number; readonly parked: number };
  /** True when the operation waits for a person: its sync error is open in the current image. */
  readonly isOpen: (index: number) => boolean;
  readonly fieldName: (table: TableId, field: FieldId) => string;

  readonly onChange: (listener: (change: LocalChange) => void) => () => void;
  /**
   * Removes the image and everything downloaded. With `log` also the log and pending operations;
   * without it they stay and the view of pending records is rebuilt on an empty image. `allow` is asked with
   * `log`, after every edit called before: what it throws refuses, and nothing is removed.
   */
  readonly clear: (options: {
    readonly log: boolean;
    readonly allow?: () => void;
  }) => Promise<void>;
  /** Waits for the write in flight, then refuses everything with `replica-closed`. */
  readonly close: () => Promise<void>;
}
