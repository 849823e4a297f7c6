/** CrdtKey names a CRDT field; it seeds the deterministic genesis. */
export interface CrdtKey {
  readonly tenant: string;
  readonly table: number;
  readonly record: string;
  readonly field: number;
}

/** CrdtEdit is a document after an edit, and the change chunks that made it. */
export interface CrdtEdit {
  readonly document: Uint8Array;
  /** Length-prefixed change chunks: 4 bytes big-endian length, then the chunk. */
  readonly changes: Uint8Array;
  readonly value: string;
}

/** What became of changes that were applied to a document. Nothing is queued inside a document. */
export type CrdtApplied =
  | { readonly tag: 'applied'; readonly document: Uint8Array; readonly value: string }
  | { readonly tag: 'missing-dependencies' }
  | { readonly tag: 'other-genesis' }
  | { readonly tag: 'undecodable'; readonly reason: string };

/**
 * FieldCrdt merges the CRDT fields of records. Documents travel as bytes; all calls are synchronous and
 * deterministic in their arguments. Only `text` exists now; list and map get methods of their own.
 */
export interface FieldCrdt {
  /** Document that every replica builds alike from a plain value that had none. */
  readonly genesis: (key: CrdtKey, value: string) => Uint8Array;
  /** Projected text of a document. Throws TidemarkError `malformed-message` on bytes that are none. */
  readonly read: (document: Uint8Array) => string;
  /** Sorted heads (hexadecimal) of a document: with the value they tell whether documents are equal. */
  readonly heads: (document: Uint8Array) => readonly string[];
  /** All change chunks of a document, its genesis first: what the first edit of a field carries. */
  readonly changesOf: (document: Uint8Array) => Uint8Array;
  /**
   * The same document in as few bytes as it takes: equal text, heads and changes. What was saved as a whole
   * comes back as it is, unread. Throws TidemarkError `malformed-message` on other bytes that are none.
   */
  readonly compact: (document: Uint8Array) => Uint8Array;
  /** Edits by the text difference to `after`. `actor`: 16 bytes, unique per session; `timeMs` is recorded. */
  readonly editText: (
    document: Uint8Array,
    after: string,
    actor: Uint8Array,
    timeMs: number,
  ) => CrdtEdit;
  /** Edits by replacing `remove` characters (UTF-16 units) at `at` by `insert`. */
  readonly spliceText: (
    document: Uint8Array,
    at: number,
    remove: number,
    insert: string,
    actor: Uint8Array,
    timeMs: number,
  ) => CrdtEdit;
  /**
   * Applies runs of change chunks, all in one call. `document` null means that the changes carry their
   * own genesis. Known changes are no-ops. Document chunks, oversized output and malformed bytes are
   * `undecodable`.
   */
  readonly apply: (document: Uint8Array | null, changes: readonly Uint8Array[]) => CrdtApplied;
  /**
   * As `apply`, but the document may gather changes without bound: `settle` makes the bytes that are kept. For
   * whoever applies many edits to one document before any of its versions is stored.
   */
  readonly append: (document: Uint8Array, changes: readonly Uint8Array[]) => CrdtApplied;
  /**
   * The same document in bytes that may be stored: a function of its bytes. A document that has gathered few
   * changes comes back as it is. Throws TidemarkError `malformed-message` on bytes that are none.
   */
  readonly settle: (document: Uint8Array) => Uint8Array;
  /**
   * Text that the author of `changes` had before them and after them, on the author's own document:
   * `side` (its earlier document, or null when the changes carry their genesis) gives the start.
   */
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
    | Exclude<CrdtApplied, { readonly tag: 'applied' }>;
  /**
   * Puts the difference from `before` to `after` onto a document with another history: three-way on
   * text, so that both sides' edits survive. Deterministic.
   */
  readonly reexpress: (
    document: Uint8Array,
    before: string,
    after: string,
    actor: Uint8Array,
    timeMs: number,
  ) => CrdtEdit;
}
