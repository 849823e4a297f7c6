import type { FieldId, RecordId, TableId } from './ids.js';
import type { Value } from './value.js';

/** Why a transaction was parked. */
export type SyncErrorKind =
  'conflict' | 'gone' | 'rejected' | 'denied' | 'invalid' | 'missing-reference' | 'poison';

/** Open: waits for a person. Ignored: set aside, may be brought back. Resolved: decided for good. */
export type SyncErrorState = 'open' | 'ignored' | 'resolved';

/** One field (or, with `field` 0, the existence of a record) that no rule could decide. */
export interface SyncErrorConflict {
  /** Index of the operation. */
  readonly op: number;
  readonly table: TableId;
  readonly record: RecordId;
  readonly field: FieldId | 0;
  readonly base: Value;
  readonly ours: Value;
  /** Why it was not decided: the rule's name, `equal-times`, or the check that refused it. */
  readonly rule: string;
}

/** Operations of one transaction that a sync error keeps: indexes `from` to `to` of a replica's log. */
export interface ParkedRange {
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  /** Whose log; absent: the root's. A copy that goes on under an id of its own builds on what waits there. */
  readonly replica?: string;
}

/** Verdict on the newest resolution of a sync error. */
export type ResolutionVerdict = 'done' | 'stale' | 'duplicate' | 'invalid' | 'still-parked';

/**
 * A failure kept for a person, as the row of system table `sync_errors`. Its record id is the OpId text
 * of the root: the first operation of the parked transaction.
 *
 * What the server holds now is read live from the record, never stored here.
 */
export interface SyncErrorRow {
  readonly root: string;
  readonly replica: string;
  readonly user: string;
  readonly kind: SyncErrorKind;
  readonly state: SyncErrorState;
  readonly message: string;
  readonly table: TableId;
  readonly record: RecordId;
  readonly conflicts: readonly SyncErrorConflict[];
  /** The root transaction first, then its dependents in log order. */
  readonly ranges: readonly ParkedRange[];
  readonly parkedOn: number;
  readonly disposition: 'applied' | 'superseded' | 'ignored' | 'split' | null;
  readonly resolvedBy: string | null;
  readonly lastResolution: { readonly id: string; readonly verdict: ResolutionVerdict } | null;
}

/** What a person may do with a sync error. */
export type ResolutionAction = 'retry' | 'ignore' | 'un-ignore' | 'take-server' | 'merge' | 'split';

/** Every resolution action. */
export const resolutionActions: readonly ResolutionAction[] = [
  'retry',
  'ignore',
  'un-ignore',
  'take-server',
  'merge',
  'split',
];

/** Choice for one conflicting field in a `merge` resolution; field 0 chooses whether the record lives. */
export interface ResolutionChoice {
  readonly table: TableId;
  readonly record: RecordId;
  readonly field: FieldId | 0;
  readonly pick: 'mine' | 'theirs' | 'value';
  readonly value?: Value;
}

/** Version of a record that the person saw; n 0 of incarnation 0 means that no record existed. */
export interface ShownVersion {
  readonly table: TableId;
  readonly record: RecordId;
  readonly incarnation: number;
  readonly n: number;
}

/** A person's decision, as a create on system table `resolutions`. */
export interface ResolutionRow {
  readonly root: string;
  readonly action: ResolutionAction;
  readonly shown: readonly ShownVersion[];
  readonly choices: readonly ResolutionChoice[];
}
