import { decide, type Decision } from '@tidemark/merge';
import {
  decodeTransaction,
  invariant,
  printOpId,
  resolutionFromFields,
  resolutionsTable,
  userTableIdMax,
  type Transaction,
} from '@tidemark/model';
import { AuthorView, mergeContext } from './author-view.js';
import { Wanted } from './overlay.js';
import { createKeys, park } from './parking.js';
import type { ParkedTransaction } from './parked-transaction.js';
import { askHook } from './validate.js';
import type { Window } from './window.js';

/** Transaction that waits under a root, decoded. */
export interface Member {
  readonly parked: ParkedTransaction;
  /** Undefined: poison. */
  readonly transaction: Transaction | undefined;
  readonly creates: readonly string[];
}

/** Decodes a transaction that waits. */
export const openMember = (parked: ParkedTransaction): Member => {
  const decoded = parked.poison ? undefined : decodeTransaction(parked.payload);
  const transaction = decoded?._tag === 'Right' ? decoded.right : undefined;
  return { parked, transaction, creates: createKeys(parked.replica, transaction) };
};

const refuseSystemTables = (transaction: Transaction): string | null => {
  for (const { table, kind } of transaction.ops)
    if (table > userTableIdMax && !(table === resolutionsTable && kind === 'create'))
      return 'system tables are written by the server';
  return null;
};

/**
 * Message that refuses a transaction of a device, else null: asked each time that one is decided, or a
 * retry would carry out what was refused. A promise only where there is a hook; it rejects with `hook-failed`.
 */
export const refusalOf = (
  window: Window,
  transaction: Transaction,
  author: { readonly replica: string; readonly user: string },
  isSplit = false,
): Promise<string | null> | string | null => {
  const refused = refuseSystemTables(transaction);
  if (refused !== null || window.context.validate === undefined) return refused;
  const apart = isSplit || transaction.atomicity === 'per-record';
  return askHook(window, transaction, author, apart);
};

/** View of the author of a parked transaction. */
export const viewOf = async (window: Window, replica: string): Promise<AuthorView> => {
  const { overlay } = window;
  await overlay.replicas.load(overlay.store, [replica]);
  const state = overlay.replicas.get(replica);
  invariant(state !== undefined, 'a parked transaction has an author');
  // The replica may not have been foreseen by the window: look everything up.
  return new AuthorView(window, state, { ...state, chains: 1, parked: 1, sides: 1 });
};

/** Decides a parked transaction anew; with a resolution it does not ask on what it depends. */
export const decideMember = async (
  window: Window,
  parked: ParkedTransaction,
  transaction: Transaction,
  resolution: Parameters<typeof mergeContext>[3],
): Promise<Decision> => {
  const view = await viewOf(window, parked.replica);
  const wanted = new Wanted();
  view.collect(transaction, (i) => parked.indexes[i] ?? 0, wanted);
  await window.overlay.load(wanted);
  const author = {
    ...view.author(parked.epoch, parked.indexes[0] ?? 0, parked.indexes),
    kind: parked.author,
  };
  const asks = parked.author === 'device' && resolution?.resolution?.action !== 'take-server';
  const isSplit = resolution?.resolution?.action === 'split';
  const refusal = asks ? await refusalOf(window, transaction, author, isSplit) : null;
  const context = mergeContext(window, author, parked, { ...resolution, refusal });
  return decide(view.reader(), transaction, context);
};

/** Queues the resolutions that a decision created: they are carried out at its version, one after the other. */
export const queueResolutions = (window: Window, view: AuthorView, decision: Decision): void => {
  for (const { table, id, before } of decision.writes)
    if (table === resolutionsTable && before === undefined)
      window.resolutions.push({ id, replica: view.state });
};

/** Takes over what the decision on a released transaction changes; what parks again waits again. */
export const applyMember = async (
  window: Window,
  { parked, transaction }: Member,
  decision: Decision,
  decider: string,
): Promise<void> => {
  const view = await viewOf(window, parked.replica);
  window.apply(decision, parked.replica, view.state.origin !== null);
  const { replica, epoch, user } = parked;
  for (const { index, table, record, outcome, fields } of decision.operations) {
    const op = printOpId({ replica, epoch, index });
    window.note(table, { op, user, record, outcome, fields, decider });
  }
  if (transaction === undefined) return;
  for (const one of decision.parks)
    await park(window, parked, one, parked.indexes, transaction, parked.payload);
  queueResolutions(window, view, decision);
};

/** Decides transactions that a root has released, in log order. */
export const decideReleased = async (
  window: Window,
  members: readonly Member[],
  decider: string,
): Promise<void> => {
  for (const member of members) {
    if (member.transaction === undefined) continue;
    const decision = await decideMember(window, member.parked, member.transaction, {});
    await applyMember(window, member, decision, decider);
  }
};

/** Row of `resolutions` as a device created it, or undefined when it is malformed. */
export const resolutionOf = (window: Window, id: string) => {
  const record = window.overlay.records.get(resolutionsTable, id);
  invariant(record !== undefined, 'a queued resolution was written');
  const decoded = resolutionFromFields(record.row.fields);
  return { record, resolution: decoded._tag === 'Left' ? undefined : decoded.right };
};
