import {
  composeTransactions,
  decide,
  type ComposedTransaction,
  type Decision,
  type PlacedTransaction,
} from '@tidemark/merge';
import {
  decodeTransaction,
  printOpId,
  resolutionFromFields,
  resolutionsTable,
  transactionOpsMax,
  userTableIdMax,
  type Transaction,
} from '@tidemark/model';
import { mergeContext, type AuthorView } from './author-view.js';
import type { OpenedTransaction } from './open-envelope.js';
import { Wanted } from './overlay.js';
import {
  createKeys,
  loadMembers,
  loadRoot,
  park,
  parkPoison,
  release,
  syncErrorOf,
  writeSyncError,
  type ParkedOrigin,
} from './parking.js';
import { rangesOf, type ParkedTransaction } from './parked-transaction.js';
import { resolve } from './resolve.js';
import { askHook } from './validate.js';
import type { Window } from './window.js';

/** Times of an envelope that its transactions share. */
export interface EnvelopeTimes {
  readonly receivedAt: number;
  readonly offsetMs: number;
}

const refuseSystemTables = (transaction: Transaction): string | null => {
  for (const { table, kind } of transaction.ops)
    if (table > userTableIdMax && !(table === resolutionsTable && kind === 'create'))
      return 'system tables are written by the server';
  return null;
};

/** Ledger entries of a decision whose operations stand for themselves. */
export const noteDecision = (
  window: Window,
  decision: Decision,
  author: { readonly replica: string; readonly epoch: number; readonly user: string },
  decider: string,
): void => {
  const { replica, epoch, user } = author;
  for (const { index, table, record, outcome, fields } of decision.operations) {
    const op = printOpId({ replica, epoch, index });
    window.note(table, { op, user, record, outcome, fields, decider });
  }
};

/** Transactions of one root, cut into runs of consecutive indexes: what can be composed. */
const placedRuns = (parked: ParkedTransaction): PlacedTransaction[] | undefined => {
  const decoded = parked.poison ? undefined : decodeTransaction(parked.payload);
  if (decoded === undefined || decoded._tag === 'Left') return undefined;
  const transaction = decoded.right;
  let at = 0;
  return rangesOf(parked.epoch, parked.indexes).map(({ from, to }) => {
    const ops = transaction.ops.slice(at, at + to - from + 1);
    at += ops.length;
    return { transaction: { ...transaction, ops }, firstIndex: from };
  });
};

/** Root that an operation of the transaction may correct: parked as invalid or rejected. */
const correctableRoot = async (
  window: Window,
  view: AuthorView,
  opened: OpenedTransaction,
  transaction: Transaction,
): Promise<string | undefined> => {
  for (let i = 0; i < transaction.ops.length; i += 1) {
    const prev = transaction.ops[i]?.prev ?? 0;
    const root = prev === 0 ? undefined : view.parkedUnder(opened.first + i - prev);
    if (root === undefined) continue;
    await loadRoot(window, root);
    const row = syncErrorOf(window, root);
    const refused = row?.kind === 'invalid' || row?.kind === 'rejected';
    if (refused && row.state === 'open') return root;
  }
  return undefined;
};

const composeWith = (
  members: readonly ParkedTransaction[],
  opened: OpenedTransaction,
  transaction: Transaction,
  epoch: number,
): ComposedTransaction | undefined => {
  const placed: PlacedTransaction[] = [];
  let count = transaction.ops.length;
  for (const member of members) {
    const runs = member.epoch === epoch ? placedRuns(member) : undefined;
    count += member.indexes.length;
    if (runs === undefined || count > transactionOpsMax) return undefined;
    placed.push(...runs);
  }
  placed.push({ transaction, firstIndex: opened.first });
  return composeTransactions(placed);
};

/** Decides everything under a refused root and its correction as one; false: it does not pass. */
const correct = async (
  window: Window,
  view: AuthorView,
  root: string,
  opened: OpenedTransaction,
  transaction: Transaction,
  origin: ParkedOrigin,
): Promise<boolean> => {
  const members = await loadMembers(window, root);
  const composed = composeWith(members, opened, transaction, origin.epoch);
  if (composed === undefined) return false;
  const wanted = new Wanted();
  view.collect(composed.transaction, (i) => composed.indexes[i] ?? 0, wanted);
  await window.overlay.load(wanted);
  const author = view.author(origin.epoch, composed.indexes[0] ?? 0, composed.indexes);
  const refusal = await askHook(window, composed.transaction, author);
  const resolution = { action: 'retry', by: origin.user, choices: [] } as const;
  const context = mergeContext(window, author, origin, { refusal, resolution });
  const decision = decide(view.reader(), composed.transaction, context);
  if (decision.parks.length > 0) return false;
  const released = members.map((parked) => {
    const decoded = decodeTransaction(parked.payload);
    const original = decoded._tag === 'Right' ? decoded.right : undefined;
    return { parked, creates: createKeys(parked.replica, original) };
  });
  await release(window, root, released);
  window.apply(decision, origin.replica, view.state.origin !== null);
  noteComposed(window, composed, decision, opened.first, origin);
  const row = syncErrorOf(window, root);
  if (row !== undefined) {
    const resolved = {
      state: 'resolved',
      disposition: 'applied',
      resolvedBy: origin.user,
    } as const;
    writeSyncError(window, { ...row, ...resolved }, origin.user);
  }
  return true;
};

const noteComposed = (
  window: Window,
  composed: ComposedTransaction,
  decision: Decision,
  first: number,
  origin: ParkedOrigin,
): void => {
  const places = new Map(composed.indexes.map((index, i) => [index, i]));
  for (const { index, table, record, outcome, fields } of decision.operations)
    for (const member of composed.members[places.get(index) ?? 0] ?? [index]) {
      const { replica, epoch, user } = origin;
      const op = printOpId({ replica, epoch, index: member });
      const decider = member < first ? 'correction' : 'merge';
      window.note(table, { op, user, record, outcome, fields, decider });
    }
};

/** Carries out the resolutions that a transaction created, at its own version. */
const runResolutions = async (
  window: Window,
  view: AuthorView,
  decision: Decision,
): Promise<void> => {
  for (const { table, id, before } of decision.writes) {
    if (table !== resolutionsTable || before !== undefined) continue;
    const record = window.overlay.records.get(table, id);
    if (record === undefined) continue;
    const decoded = resolutionFromFields(record.row.fields);
    const resolver = { by: view.state.user, id, replica: view.state };
    const verdict =
      decoded._tag === 'Left' ? 'invalid' : await resolve(window, resolver, decoded.right);
    const fields = { ...record.row.fields, 5: verdict };
    window.write(table, id, { ...record, row: { ...record.row, fields } });
  }
};

const decideAlone = async (
  window: Window,
  view: AuthorView,
  opened: OpenedTransaction,
  transaction: Transaction,
  origin: ParkedOrigin,
  /** Root of which the transaction failed to be the correction: it waits there in any case. */
  failedRoot: string | undefined,
): Promise<void> => {
  const author = view.author(origin.epoch, opened.first);
  const refusal =
    refuseSystemTables(transaction) ??
    (failedRoot === undefined && window.context.validate !== undefined
      ? await askHook(window, transaction, author)
      : null);
  const context = mergeContext(window, author, origin, { refusal });
  const decision = decide(view.reader(), transaction, context);
  window.apply(decision, origin.replica, view.state.origin !== null);
  noteDecision(window, decision, origin, 'merge');
  if (decision.parks.length > 0) {
    const all = transaction.ops.map((_, i) => opened.first + i);
    for (const one of decision.parks) {
      const dependent = failedRoot !== undefined && !one.dependent;
      const asked = dependent ? { ...one, root: failedRoot, dependent } : one;
      await park(window, origin, asked, all, transaction, opened.payload);
    }
  }
  if (decision.writes.some(({ table }) => table === resolutionsTable))
    await runResolutions(window, view, decision);
};

/** Decides one transaction of an envelope at the next version. */
export const decideDeviceTransaction = async (
  window: Window,
  view: AuthorView,
  opened: OpenedTransaction,
  epoch: number,
  times: EnvelopeTimes,
): Promise<void> => {
  window.begin();
  window.operations += opened.opCount;
  const { transaction } = opened;
  const origin: ParkedOrigin = {
    author: 'device',
    replica: view.state.replica,
    epoch,
    user: view.state.user,
    schemaVersion: transaction?.schemaVersion ?? 0,
    receivedAt: times.receivedAt,
    offsetMs: times.offsetMs,
    foreignModifiedOn: null,
  };
  if (transaction === undefined) {
    const indexes = Array.from({ length: opened.opCount }, (_, i) => opened.first + i);
    const op = printOpId({ ...origin, index: opened.first });
    const { user } = origin;
    const rejected = { outcome: 'rejected', fields: [], decider: 'merge' } as const;
    window.note(0, { op, user, record: '', ...rejected });
    await parkPoison(window, origin, indexes, opened.problem, opened.stored);
  } else {
    const root = await correctableRoot(window, view, opened, transaction);
    const corrected =
      root !== undefined && (await correct(window, view, root, opened, transaction, origin));
    if (!corrected) await decideAlone(window, view, opened, transaction, origin, root);
  }
  window.finish();
};
