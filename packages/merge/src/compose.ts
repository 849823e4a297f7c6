import {
  concatBytes,
  type FieldChange,
  type FieldCrdtEdit,
  type FieldIncrement,
  type Operation,
  type Transaction,
} from '@tidemark/model';
import { recordKey } from './draft.js';

/** Transaction of one replica with the index of its first operation. */
export interface PlacedTransaction {
  readonly transaction: Transaction;
  readonly firstIndex: number;
}

/** Several transactions as one. `indexes` goes into the author, `members` names what each stands for. */
export interface ComposedTransaction {
  readonly transaction: Transaction;
  /** Index of each operation: that of its first member. */
  readonly indexes: readonly number[];
  /** Indexes of the operations that each operation stands for, in log order. */
  readonly members: readonly (readonly number[])[];
}

interface Entry {
  op: Operation;
  readonly members: number[];
}

const composeSets = (
  first: readonly FieldChange[],
  then: readonly FieldChange[],
): readonly FieldChange[] => {
  const byField = new Map(first.map((change) => [change.field, change]));
  for (const change of then) {
    const earlier = byField.get(change.field);
    byField.set(change.field, { ...change, before: (earlier ?? change).before });
  }
  return [...byField.values()];
};

const composeIncrements = (
  first: readonly FieldIncrement[],
  then: readonly FieldIncrement[],
): readonly FieldIncrement[] => {
  const byField = new Map(first.map(({ field, by }) => [field, by]));
  for (const { field, by } of then) byField.set(field, (byField.get(field) ?? 0) + by);
  return [...byField].map(([field, by]) => ({ field, by }));
};

const composeEdits = (
  first: readonly FieldCrdtEdit[],
  then: readonly FieldCrdtEdit[],
): readonly FieldCrdtEdit[] => {
  const byField = new Map(first.map(({ field, changes }) => [field, [changes]]));
  for (const { field, changes } of then) {
    const runs = byField.get(field);
    if (runs === undefined) byField.set(field, [changes]);
    else runs.push(changes);
  }
  // A list of length-prefixed chunks after another one is a list again.
  return [...byField].map(([field, runs]) => ({ field, changes: concatBytes(runs) }));
};

/** Two operations on one record as one; undefined where they have to stay two. */
const composePair = (first: Operation, then: Operation): Operation | undefined => {
  // A life that ended and one that follows it are decided one after the other.
  if (first.kind === 'delete' || then.kind === 'create') return undefined;
  if (then.kind === 'delete')
    return {
      ...then,
      base: first.base,
      prev: first.prev,
      since: first.since,
      seen: first.seen,
    };
  // Within an operation plain writes come before CRDT edits, so the other order cannot be one.
  const edited = new Set(first.crdt.map(({ field }) => field));
  if (then.set.some(({ field }) => edited.has(field))) return undefined;
  return {
    ...first,
    seen: Math.max(first.seen, then.seen),
    set: composeSets(first.set, then.set),
    inc: composeIncrements(first.inc, then.inc),
    crdt: composeEdits(first.crdt, then.crdt),
    row: then.row ?? first.row,
  };
};

const later = (a: Transaction, b: Transaction): Transaction =>
  b.hlc.wallMs > a.hlc.wallMs || (b.hlc.wallMs === a.hlc.wallMs && b.hlc.counter >= a.hlc.counter)
    ? b
    : a;

/**
 * Composes parked transactions of one author, in log order, into one that is decided at once: a later edit
 * corrects a value that was refused. Undefined for an empty list.
 *
 * Operations on one record become one: first before, last after, sums of increments, all CRDT edits, the
 * first base. A delete and the create after it stay two. The whole is `per-record` only if every part is.
 */
export const composeTransactions = (
  parts: readonly PlacedTransaction[],
): ComposedTransaction | undefined => {
  const first = parts[0];
  if (first === undefined) return undefined;
  const entries: Entry[] = [];
  const newest = new Map<string, Entry>();
  for (const { transaction, firstIndex } of parts) {
    transaction.ops.forEach((op, position) => {
      const key = recordKey(op.table, op.record);
      const earlier = newest.get(key);
      const composed = earlier === undefined ? undefined : composePair(earlier.op, op);
      if (earlier !== undefined && composed !== undefined) {
        earlier.op = composed;
        earlier.members.push(firstIndex + position);
        return;
      }
      const entry = { op, members: [firstIndex + position] };
      entries.push(entry);
      newest.set(key, entry);
    });
  }
  const transactions = parts.map(({ transaction }) => transaction);
  const apart = transactions.every(({ atomicity }) => atomicity === 'per-record');
  return {
    transaction: {
      schemaVersion: Math.max(...transactions.map(({ schemaVersion }) => schemaVersion)),
      hlc: transactions.reduce(later).hlc,
      atomicity: apart ? 'per-record' : 'whole',
      ops: entries.map(({ op }) => op),
    },
    indexes: entries.map(({ members }) => members[0] ?? 0),
    members: entries.map(({ members }) => members),
  };
};
