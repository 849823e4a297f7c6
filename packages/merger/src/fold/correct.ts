import {
  composeTransactions,
  decide,
  type ComposedTransaction,
  type Decision,
  type PlacedTransaction,
} from '@tidemark/merge';
import { printOpId, transactionOpsMax, type Transaction } from '@tidemark/model';
import { mergeContext, placeOfIndex, type AuthorView } from './author-view.js';
import {
  decideReleased,
  openMember,
  queueResolutions,
  refusalOf,
  viewOf,
  type Member,
} from './decide-member.js';
import { Wanted } from './overlay.js';
import { loadMembers, loadRoot, release, syncErrorOf, type ParkedOrigin } from './parking.js';
import { rangesOf } from './parked-transaction.js';
import type { Window } from './window.js';

/** Edit that may correct what was refused, and where it lies in its author's log. */
export interface Correction {
  readonly transaction: Transaction;
  readonly first: number;
  readonly origin: ParkedOrigin;
}

/** Tells whether an operation of the transaction builds on one that waits. */
export const buildsOnParked = (
  view: AuthorView,
  { transaction, first }: Pick<Correction, 'transaction' | 'first'>,
): boolean => {
  const { ops } = transaction;
  for (let i = 0; i < ops.length; i += 1) {
    const prev = ops[i]?.prev ?? 0;
    if (prev > 0 && view.parkedUnder(first + i - prev) !== undefined) return true;
  }
  return false;
};

/** Root that a transaction may correct: one of its records waits there as invalid or rejected. */
export const correctableRoot = async (
  window: Window,
  view: AuthorView,
  { transaction, first }: Pick<Correction, 'transaction' | 'first'>,
): Promise<string | undefined> => {
  for (let i = 0; i < transaction.ops.length; i += 1) {
    const prev = transaction.ops[i]?.prev ?? 0;
    const root = prev === 0 ? undefined : view.parkedUnder(first + i - prev);
    if (root === undefined) continue;
    await loadRoot(window, root);
    const row = syncErrorOf(window, root);
    const refused = row?.kind === 'invalid' || row?.kind === 'rejected';
    if (refused && row.state === 'open') return root;
  }
  return undefined;
};

/** Operations of a member cut into runs of consecutive indexes: what can be composed. */
const placedRuns = ({ parked, transaction }: Member): PlacedTransaction[] => {
  if (transaction === undefined) return [];
  let at = 0;
  return rangesOf(parked.epoch, parked.indexes).map(({ from, to }) => {
    const ops = transaction.ops.slice(at, at + to - from + 1);
    at += ops.length;
    return { transaction: { ...transaction, ops }, firstIndex: from };
  });
};

const isRoot = ({ parked }: Member, root: string): boolean =>
  printOpId({ ...parked, index: parked.indexes[0] ?? 0 }) === root;

/** Tells whether a member lies in the log of the author as it stands now, and can be read. */
const isOfLog = (view: AuthorView, { parked, transaction }: Member): boolean =>
  transaction !== undefined &&
  parked.indexes.every((index) => {
    const { replica, epoch } = placeOfIndex(view.state, index);
    return replica === parked.replica && epoch === parked.epoch;
  });

/**
 * Members that a correction is composed of: the root, and those of the same log that share a record with
 * what is composed already. Undefined when the root is not of this log.
 */
const composedMembers = (
  view: AuthorView,
  members: readonly Member[],
  root: string,
  edit: Correction | undefined,
): ReadonlySet<Member> | undefined => {
  const first = members.find((member) => isRoot(member, root));
  if (first === undefined || !isOfLog(view, first)) return undefined;
  const chosen = new Set([first]);
  const records = new Set<string>();
  const add = (transaction: Transaction | undefined): void => {
    for (const { table, record } of transaction?.ops ?? []) records.add(`${table}/${record}`);
  };
  add(first.transaction);
  add(edit?.transaction);
  const own = members.filter((member) => isOfLog(view, member));
  // Each round takes in at least one more member, so there are at most as many rounds as members.
  for (let size = 0; size !== chosen.size;) {
    size = chosen.size;
    for (const member of own) {
      const ops = member.transaction?.ops ?? [];
      if (chosen.has(member)) continue;
      if (!ops.some(({ table, record }) => records.has(`${table}/${record}`))) continue;
      chosen.add(member);
      add(member.transaction);
    }
  }
  return chosen;
};

const compose = (
  chosen: ReadonlySet<Member>,
  edit: Correction | undefined,
): readonly PlacedTransaction[] | undefined => {
  let count = edit?.transaction.ops.length ?? 0;
  for (const { parked } of chosen) count += parked.indexes.length;
  if (count > transactionOpsMax) return undefined;
  const placed = [...chosen].flatMap(placedRuns).sort((a, b) => a.firstIndex - b.firstIndex);
  if (edit !== undefined) placed.push({ transaction: edit.transaction, firstIndex: edit.first });
  return placed;
};

/** Loads what the operations read, and tells whether any of them waits under another root as well. */
const waitsElsewhere = async (
  window: Window,
  view: AuthorView,
  placed: readonly PlacedTransaction[],
  root: string,
): Promise<boolean> => {
  const wanted = new Wanted();
  for (const { transaction, firstIndex } of placed)
    view.collect(transaction, (i) => firstIndex + i, wanted);
  await window.overlay.load(wanted);
  return placed.some(({ transaction, firstIndex }) =>
    transaction.ops.some((op, i) => view.rootsOf(op, firstIndex + i).some((one) => one !== root)),
  );
};

const noteComposed = (
  window: Window,
  view: AuthorView,
  composed: ComposedTransaction,
  decision: Decision,
  deciderOf: (index: number) => string,
): void => {
  const places = new Map(composed.indexes.map((index, i) => [index, i]));
  const { user } = view.state;
  for (const { index, table, record, outcome, fields } of decision.operations)
    for (const member of composed.members[places.get(index) ?? 0] ?? [index]) {
      const op = printOpId({ ...placeOfIndex(view.state, member), index: member });
      window.note(table, { op, user, record, outcome, fields, decider: deciderOf(member) });
    }
};

/**
 * Decides a refused root, what builds on it, and the edit if there is one, as one transaction; then the
 * other dependents. False when it does not pass: nothing has changed then. The sync error is left to the
 * caller.
 */
const decideAsOne = async (
  window: Window,
  view: AuthorView,
  root: string,
  members: readonly Member[],
  edit: Correction | undefined,
  decider: string | undefined,
): Promise<boolean> => {
  const chosen = composedMembers(view, members, root, edit);
  if (chosen === undefined || (edit === undefined && chosen.size < 2)) return false;
  const placed = compose(chosen, edit);
  const composed = placed === undefined ? undefined : composeTransactions(placed);
  const origin = edit?.origin ?? [...chosen].pop()?.parked;
  if (placed === undefined || composed === undefined || origin === undefined) return false;
  if (await waitsElsewhere(window, view, placed, root)) return false;
  const author = view.authorOf(origin.epoch, composed.indexes);
  const refusal = await refusalOf(window, composed.transaction, author);
  const resolution = { action: 'retry', by: origin.user, choices: [] } as const;
  const context = mergeContext(window, author, origin, { refusal, resolution });
  const decision = decide(view.reader(), composed.transaction, context);
  if (decision.parks.length > 0) return false;
  await release(window, root, members);
  window.apply(decision, view.state.replica, view.state.origin !== null);
  const first = edit?.first ?? Number.MAX_SAFE_INTEGER;
  noteComposed(window, view, composed, decision, (index) =>
    index < first ? (decider ?? 'correction') : 'merge',
  );
  queueResolutions(window, view, decision);
  const others = members.filter((member) => !chosen.has(member));
  await decideReleased(window, others, decider ?? 'correction');
  return true;
};

/** Decides everything under a refused root and its correction as one; false: it does not pass. */
export const correct = async (
  window: Window,
  view: AuthorView,
  root: string,
  edit: Correction,
): Promise<boolean> => {
  const members = (await loadMembers(window, root)).map(openMember);
  return decideAsOne(window, view, root, members, edit, undefined);
};

/** Decides a refused root and the corrections that wait under it as one; false: it does not pass. */
export const correctAgain = async (
  window: Window,
  root: string,
  members: readonly Member[],
  decider: string,
): Promise<boolean> => {
  // The corrections may be those of a clone: its log holds the root as well.
  for (const replica of new Set(members.map(({ parked }) => parked.replica))) {
    const view = await viewOf(window, replica);
    if (await decideAsOne(window, view, root, members, undefined, decider)) return true;
  }
  return false;
};
