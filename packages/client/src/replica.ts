import type {
  Atomicity,
  FieldsOf,
  NewFieldsOf,
  RecordId,
  RecordOf,
  SyncLog,
  TableSpec,
  TypedSchema,
} from '@tidemark/model';
import type { AbortSignalLike } from '@tidemark/ports';
import type {
  EditOptions,
  PendingOperation,
  Query,
  RecordState,
  TextEdit,
} from './local/local-replica.js';
import type { ReplicaEvent } from './run/replica-event.js';
import type { ReplicaStatus } from './run/replica-status.js';
import type { SyncErrorList } from './run/sync-error-list.js';
import type { ConnectOptions, SyncOptions } from './run/sync-runner.js';

/** Any schema, whatever its tables. */
export type AnySchema = TypedSchema<Readonly<Record<string, TableSpec>>>;

type TablesOf<S> = S extends TypedSchema<infer Tables> ? Tables : never;

/** Names of the tables of a schema. */
export type TableNameOf<S> = keyof TablesOf<S> & string;

type SpecOf<S, Name extends string> = Name extends keyof TablesOf<S>
  ? TablesOf<S>[Name] extends TableSpec
    ? TablesOf<S>[Name]
    : never
  : never;

/** Names of the fields of a table. */
export type FieldNameOf<S, Name extends string> = keyof SpecOf<S, Name>['fields'] & string;

/** Edits within a transaction. They see each other; nothing is stored before the callback ends. */
export interface ReplicaTransaction<S extends AnySchema> {
  readonly create: <N extends TableNameOf<S>>(
    table: N,
    fields: NewFieldsOf<SpecOf<S, N>>,
    id?: RecordId,
  ) => Promise<RecordId>;
  readonly update: <N extends TableNameOf<S>>(
    table: N,
    id: RecordId,
    fields: Partial<FieldsOf<SpecOf<S, N>>>,
  ) => Promise<void>;
  readonly delete: (table: TableNameOf<S>, id: RecordId) => Promise<void>;
  readonly increment: <N extends TableNameOf<S>>(
    table: N,
    id: RecordId,
    field: FieldNameOf<S, N>,
    by: number,
  ) => Promise<void>;
  readonly editText: <N extends TableNameOf<S>>(
    table: N,
    id: RecordId,
    field: FieldNameOf<S, N>,
    edit: TextEdit,
  ) => Promise<void>;
  readonly get: <N extends TableNameOf<S>>(
    table: N,
    id: RecordId,
  ) => Promise<RecordOf<S, N> | undefined>;
}

/** What `clear` does with operations that are pending or parked. */
export type ClearPending = 'refuse' | 'upload-first' | 'discard';

/**
 * Replica of a tenant's records on one device: edits work offline and are kept; runs bring them to the
 * server and download what changed.
 *
 * Edits resolve when they are durable (`os` unless told otherwise). Everything rejects with a
 * TidemarkError; after `close` with `replica-closed`.
 */
export interface Replica<S extends AnySchema = AnySchema> {
  readonly create: <N extends TableNameOf<S>>(
    table: N,
    fields: NewFieldsOf<SpecOf<S, N>>,
    options?: EditOptions & { readonly id?: RecordId },
  ) => Promise<RecordId>;
  readonly update: <N extends TableNameOf<S>>(
    table: N,
    id: RecordId,
    fields: Partial<FieldsOf<SpecOf<S, N>>>,
    options?: EditOptions,
  ) => Promise<void>;
  readonly delete: (table: TableNameOf<S>, id: RecordId, options?: EditOptions) => Promise<void>;
  /** Adds to a number that counts; increments of several replicas add up. */
  readonly increment: <N extends TableNameOf<S>>(
    table: N,
    id: RecordId,
    field: FieldNameOf<S, N>,
    by: number,
    options?: EditOptions,
  ) => Promise<void>;
  /** Edits a shared text: the whole new text, or a replacement at a place. */
  readonly editText: <N extends TableNameOf<S>>(
    table: N,
    id: RecordId,
    field: FieldNameOf<S, N>,
    edit: TextEdit,
    options?: EditOptions,
  ) => Promise<void>;
  /** Stores the edits of the callback as one transaction: decided and seen all or none. */
  readonly transaction: <A>(
    callback: (edits: ReplicaTransaction<S>) => Promise<A> | A,
    options?: EditOptions & { readonly atomicity?: Atomicity },
  ) => Promise<A>;

  readonly get: <N extends TableNameOf<S>>(
    table: N,
    id: RecordId,
  ) => Promise<RecordOf<S, N> | undefined>;
  readonly query: <N extends TableNameOf<S>>(
    table: N,
    query?: Query,
  ) => Promise<readonly RecordOf<S, N>[]>;
  readonly count: (table: TableNameOf<S>, filter?: Query['filter']) => Promise<number>;
  /** Emits the result now and after each change of it. A slow consumer gets the newest result only. */
  readonly watch: <N extends TableNameOf<S>>(
    table: N,
    query?: Query,
    signal?: AbortSignalLike,
  ) => AsyncIterable<readonly RecordOf<S, N>[]>;
  /**
   * Like `watch`, with a callback; returns the way to stop. A callback that fails, at once or by its promise,
   * ends the watch and is told to `onError`.
   */
  readonly watchWith: <N extends TableNameOf<S>>(
    table: N,
    query: Query,
    onResult: (result: readonly RecordOf<S, N>[]) => void | Promise<void>,
    onError?: (error: unknown) => void,
  ) => () => void;
  readonly recordState: (table: TableNameOf<S>, id: RecordId) => Promise<RecordState>;
  /** Operations that are pending or parked, in log order, with values before and after. */
  readonly pending: (options?: {
    readonly after?: number;
    readonly limit?: number;
  }) => Promise<readonly PendingOperation[]>;

  /**
   * Runs once: uploads, downloads, and resolves with the log of the run, also when it failed. Only one run
   * is active at a time: a second call joins it if the run covers what the call asks for, else it waits and
   * runs after it. A signal cancels the run only if no other call waits for it; the caller is told
   * `cancelled` in any case.
   */
  readonly sync: (options?: SyncOptions) => Promise<SyncLog>;
  /** Keeps the replica live until `disconnect`: at once, after edits, on the server's ticks, periodically. */
  readonly connect: (options?: ConnectOptions) => void;
  readonly disconnect: () => Promise<void>;
  readonly errors: SyncErrorList;
  /** True at the moment it is read. */
  readonly status: ReplicaStatus;
  /** Calls back after every change of the status; returns the way to stop. */
  readonly onStatus: (listener: (status: ReplicaStatus) => void) => () => void;
  /** Emits the status now and after changes. */
  readonly watchStatus: (signal?: AbortSignalLike) => AsyncIterable<ReplicaStatus>;
  readonly onEvent: (listener: (event: ReplicaEvent) => void) => () => void;
  /** Logs of the newest runs, newest first, at most 200. */
  readonly logs: (limit?: number) => Promise<readonly SyncLog[]>;
  /**
   * Fingerprint of what a table shows, in id order: equal to the server's when the contents are equal and
   * the scope is the whole table.
   */
  readonly fingerprint: (table: TableNameOf<S>) => Promise<string>;
  /**
   * Removes everything from the device, and a new replica begins. `refuse` rejects with
   * `pending-operations` while any are pending or parked; `upload-first` runs before, and then refuses.
   */
  readonly clear: (options: { readonly pending: ClearPending }) => Promise<void>;
  /** Ends run and link, waits for writes in flight. */
  readonly close: () => Promise<void>;
}
