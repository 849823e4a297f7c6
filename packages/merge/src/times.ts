import type { Operation, Transaction } from '@tidemark/model';
import type { MergeContext } from './decision.js';

/** How far ahead of the server's receipt a device's clock may count, in ms: 5 minutes. */
export const clockLeadMsMax = 5 * 60_000;

/**
 * Corrected time of an operation in ms, for latest-wins.
 *
 * A device's wall time plus the offset of its envelope, a backend's modifiedOn; neither may be more than
 * `clockLeadMsMax` after the receipt. Who had seen a newer time is later than it. Server writes are now.
 */
export const editTime = (
  context: MergeContext,
  transaction: Transaction,
  operation: Operation,
): number => {
  const latest = context.receivedAt + clockLeadMsMax;
  if (context.author.kind === 'server') return context.now;
  if (context.author.kind === 'backend')
    return Math.min(context.foreignModifiedOn ?? context.receivedAt, latest);
  const own = Math.min(transaction.hlc.wallMs + context.offsetMs, latest);
  const corrected = Math.max(0, Math.trunc(own));
  return operation.seen > 0 ? Math.max(corrected, Math.min(operation.seen, latest) + 1) : corrected;
};

/** Time at which the server counts a field as last edited: its own, else the record's modifiedOn. */
export const editedAtOf = (
  editedAt: Readonly<Record<number, number>>,
  field: number,
  modifiedOn: number,
): number => editedAt[field] ?? modifiedOn;
