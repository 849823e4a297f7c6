import type {
  FieldId,
  Outcome,
  ParkedRange,
  RecordId,
  ResolutionChoice,
  Row,
  Schema,
  ServerVersion,
  SyncErrorConflict,
  SyncErrorKind,
  TableId,
  Value,
} from '@tidemark/model';

/**
 * Record as merge sees it: the row, and what merge itself must know about its past.
 *
 * `lastOp` is the OpId text of the operation that last changed it. Invariant: every change after version
 * `chainFrom` (n, same incarnation as the row) was made by the replica of `lastOp`.
 */
export interface MergeRecord {
  readonly row: Row;
  readonly deleted: boolean;
  readonly lastOp: string;
  readonly chainFrom: number;
}

/** How the newest edit of a chain on a field fared: later edits of the chain are judged like it. */
export type ChainEnd = 'superseded' | 'same';

/** Memory of a chain about one field. */
export interface ChainField {
  /** Value before the first edit that did not reach the server. */
  readonly before: Value;
  readonly end: ChainEnd;
  /** Index of the newest edit. */
  readonly index: number;
}

/**
 * Sparse memory of a replica's chain of operations on one record whose predecessor was decided and not
 * simply applied; one that waits lets those behind it wait, too. Each part bears on operations whose chain reaches back, by `since`, to the one at `index`.
 */
export interface ChainState {
  /** Set when the create itself, or the whole record, was superseded or same. */
  readonly record: { readonly end: ChainEnd; readonly index: number } | null;
  /**
   * Life of the record that the chain met last, where the author's base does not tell it: the chain goes on in
   * that life. One that the author's own create began is kept only beside other memories: without any, it is that.
   */
  readonly life?: { readonly born: string; readonly index: number };
  readonly fields: Readonly<Record<FieldId, ChainField>>;
}

/** Everything that decide may read: prefetched by the caller, so that deciding is synchronous and pure. */
export interface MergeReader {
  readonly record: (table: TableId, id: RecordId) => MergeRecord | undefined;
  readonly chain: (table: TableId, id: RecordId) => ChainState | undefined;
  /** Author's own document of a CRDT field whose genesis differs from the server's. */
  readonly side: (table: TableId, id: RecordId, field: FieldId) => Uint8Array | undefined;
  /** Root under which an operation of the author, by its index, is parked. */
  readonly parkedUnder: (index: number) => string | undefined;
  /** Root under which the author's create of a record is parked. */
  readonly parkedCreate: (table: TableId, id: RecordId) => string | undefined;
}

type Applied =
  | { readonly tag: 'applied'; readonly document: Uint8Array; readonly value: string }
  | { readonly tag: 'missing-dependencies' }
  | { readonly tag: 'other-genesis' }
  | { readonly tag: 'undecodable'; readonly reason: string };

/** What decide needs of a CRDT; FieldCrdt of the ports fits. */
export interface MergeCrdt {
  readonly genesis: (
    key: {
      readonly tenant: string;
      readonly table: number;
      readonly record: string;
      readonly field: number;
    },
    value: string,
  ) => Uint8Array;
  readonly read: (document: Uint8Array) => string;
  readonly heads: (document: Uint8Array) => readonly string[];
  readonly compact: (document: Uint8Array) => Uint8Array;
  readonly editText: (
    document: Uint8Array,
    after: string,
    actor: Uint8Array,
    timeMs: number,
  ) => { readonly document: Uint8Array; readonly changes: Uint8Array; readonly value: string };
  readonly apply: (document: Uint8Array | null, changes: readonly Uint8Array[]) => Applied;
  readonly append: (document: Uint8Array, changes: readonly Uint8Array[]) => Applied;
  readonly settle: (document: Uint8Array) => Uint8Array;
  readonly textDifference: (
    side: Uint8Array | null,
    changes: readonly Uint8Array[],
  ) =>
    | {
        readonly tag: 'difference';
        readonly before: string;
        readonly after: string;
        readonly side: Uint8Array;
      }
    | { readonly tag: 'missing-dependencies' }
    | { readonly tag: 'other-genesis' }
    | { readonly tag: 'undecodable'; readonly reason: string };
  readonly reexpress: (
    document: Uint8Array,
    before: string,
    after: string,
    actor: Uint8Array,
    timeMs: number,
  ) => { readonly document: Uint8Array; readonly changes: Uint8Array; readonly value: string };
}

/** Who wrote a transaction. Authority authors (server writes) never conflict: they are the server. */
export interface Author {
  readonly kind: 'device' | 'server' | 'backend';
  readonly replica: string;
  readonly epoch: number;
  readonly user: string;
  /** Index of the transaction's first operation. */
  readonly firstIndex: number;
  /** Index of each operation where they are not consecutive: of a composed transaction. */
  readonly indexes?: readonly number[];
  /** OpId text of each operation where they are not all of this replica and epoch. */
  readonly ids?: readonly string[];
  /** Parts of the log that this one continued as a clone, oldest first; or null. */
  readonly origin: readonly LogPart[] | null;
}

/** Operations of a log above `from`, up to `to`: written by one replica in one epoch. */
export interface LogPart {
  readonly replica: string;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
}

/** Everything else that decides: it comes from the input only. */
export interface MergeContext {
  readonly tenant: string;
  readonly schema: Schema;
  readonly author: Author;
  /** Version that this transaction gets. */
  readonly version: ServerVersion;
  /** Server time in ms: the greatest input time so far; becomes modifiedOn. */
  readonly now: number;
  /** When the input stored the envelope, ms: clamps the author's clock. */
  readonly receivedAt: number;
  readonly offsetMs: number;
  /** modifiedOn (ms) of a foreign row: its time under latest-wins. */
  readonly foreignModifiedOn: number | null;
  readonly crdt: MergeCrdt;
  /** 16 bytes for CRDT changes that the merger itself makes; a function of the input. */
  readonly mergerActor: Uint8Array;
  /** Message of the validate hook that refused the transaction, else null. */
  readonly refusal: string | null;
  /** A person's choices, when a parked transaction is decided again; null at first. */
  readonly resolution: {
    readonly action: 'retry' | 'merge' | 'take-server' | 'split';
    readonly by: string;
    readonly choices: readonly ResolutionChoice[];
  } | null;
}

/** Decision on one field of one operation: an entry of the ledger. Field 0 is the record's existence. */
export interface FieldDecision {
  readonly field: FieldId | 0;
  readonly base: Value;
  readonly theirs: Value;
  readonly ours: Value;
  readonly result: Value;
  /**
   * What decided: `unchanged` (the server still had the value before), `no-change` (the operation changes
   * nothing), `same`, `chain`, a rule's name, `equal-times`, `counter`, `crdt`, `text`, `create`, `delete`,
   * `gone`, `server`, `resolution`.
   */
  readonly rule: string;
  readonly outcome: Outcome;
}

/**
 * Decision on one operation. Its outcome is the strongest effect that any field had: parked or rejected,
 * else combined, applied, superseded, same.
 */
export interface OperationDecision {
  readonly index: number;
  readonly table: TableId;
  readonly record: RecordId;
  readonly outcome: Outcome;
  readonly fields: readonly FieldDecision[];
}

/** A record that the transaction changed. `before` undefined: it did not exist. */
export interface RecordWrite {
  readonly table: TableId;
  readonly id: RecordId;
  readonly before: MergeRecord | undefined;
  readonly after: MergeRecord;
}

/** A transaction (or, per-record or split, a part of one) that waits for a person. */
export interface Park {
  /** OpId text of the first operation of the part, or the root it depends on. */
  readonly root: string;
  /** True when it only follows another parked transaction. */
  readonly dependent: boolean;
  readonly kind: SyncErrorKind;
  readonly message: string;
  readonly table: TableId;
  readonly record: RecordId;
  readonly conflicts: readonly SyncErrorConflict[];
  readonly range: ParkedRange;
  /** Indexes of the operations of this part: all of `range` unless the transaction was split. */
  readonly ops: readonly number[];
}

/** Result of deciding a transaction. Everything in it takes effect together. */
export interface Decision {
  readonly operations: readonly OperationDecision[];
  readonly writes: readonly RecordWrite[];
  /** Roots before the parts that wait under them. */
  readonly parks: readonly Park[];
  readonly chains: readonly {
    readonly table: TableId;
    readonly id: RecordId;
    readonly chain: ChainState | null;
  }[];
  readonly sides: readonly {
    readonly table: TableId;
    readonly id: RecordId;
    readonly field: FieldId;
    readonly document: Uint8Array | null;
  }[];
}
