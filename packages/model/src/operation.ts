import type { BaseVersion, FieldId, RecordId, TableId } from './ids.js';
import type { Hlc } from './hlc.js';
import type { Value } from './value.js';

/** Kind of an operation. Increments and CRDT edits are updates that carry `inc` or `crdt`. */
export type OperationKind = 'create' | 'update' | 'delete';

/** One field set by an operation, with the value that its author saw before. */
export interface FieldChange {
  readonly field: FieldId;
  readonly before: Value;
  readonly after: Value;
}

/** One counter changed by an operation. */
export interface FieldIncrement {
  readonly field: FieldId;
  readonly by: number;
}

/** CRDT changes of one field: length-prefixed change chunks; the first edit carries the genesis too. */
export interface FieldCrdtEdit {
  readonly field: FieldId;
  readonly changes: Uint8Array;
}

/** One field of the author's view, carried for device-wins-full. */
export interface FieldValue {
  readonly field: FieldId;
  readonly value: Value;
}

/**
 * Recorded intent to change one record.
 *
 * `base` is null when the author had seen no server version. `prev` is the distance in indexes to this
 * replica's newest operation on the record that `base` does not include, else 0; `since` is the distance
 * to the oldest one, so `prev` or more. `seen` is the greatest `editedAt` (ms) of the fields it sets that
 * its author had seen, else 0. A delete carries no parts.
 */
export interface Operation {
  readonly table: TableId;
  readonly record: RecordId;
  readonly kind: OperationKind;
  readonly base: BaseVersion | null;
  readonly prev: number;
  readonly since: number;
  readonly seen: number;
  readonly set: readonly FieldChange[];
  readonly inc: readonly FieldIncrement[];
  readonly crdt: readonly FieldCrdtEdit[];
  readonly row: readonly FieldValue[] | null;
}

/** Whole: all operations or none. Per-record: operations of different records are decided apart. */
export type Atomicity = 'whole' | 'per-record';

/** Operations decided and seen together. Single edits are transactions of one. */
export interface Transaction {
  /** Version of the customization under which it was written. */
  readonly schemaVersion: number;
  readonly hlc: Hlc;
  readonly atomicity: Atomicity;
  readonly ops: readonly Operation[];
}

/** Maximum operations of a transaction. */
export const transactionOpsMax = 1_000;
/** Maximum bytes of a stored transaction: 256 KB, so that an envelope fits one message. */
export const transactionBytesMax = 256 * 1024;
