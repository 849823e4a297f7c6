import { decide, type Decision } from '@tidemark/merge';
import {
  checkValue,
  decodeTransaction,
  invariant,
  printOpId,
  type ResolutionRow,
  type ResolutionVerdict,
  type SyncErrorRow,
  type Transaction,
} from '@tidemark/model';
import { AuthorView, mergeContext } from './author-view.js';
import type { LedgerOutcome } from './ledger-segment.js';
import { Wanted } from './overlay.js';
import {
  createKeys,
  loadMembers,
  loadRoot,
  park,
  release,
  syncErrorOf,
  writeSyncError,
} from './parking.js';
import type { ParkedTransaction } from './parked-transaction.js';
import type { ReplicaState } from './replica-state.js';
import { askHook } from './validate.js';
import type { Window } from './window.js';

/** Who resolves: `replica` null is the administration. `id` is that of the row of `resolutions`. */
export interface Resolver {
  readonly by: string;
  readonly id: string;
  readonly replica: ReplicaState | null;
}

interface Member {
  readonly parked: ParkedTransaction;
  /** Undefined: poison. */
  readonly transaction: Transaction | undefined;
  readonly creates: readonly string[];
}

const openMember = (parked: ParkedTransaction): Member => {
  const decoded = parked.poison ? undefined : decodeTransaction(parked.payload);
  const transaction = decoded?._tag === 'Right' ? decoded.right : undefined;
  return { parked, transaction, creates: createKeys(parked.replica, transaction) };
};

const mayResolve = (resolver: Resolver, row: SyncErrorRow): boolean => {
  const { replica } = resolver;
  if (replica === null) return true;
  return (
    row.user === replica.user &&
    (row.replica === replica.replica || row.replica === replica.origin?.replica)
  );
};

/** Tells whether every record is still at the version that the person saw. */
const isFresh = async (window: Window, resolution: ResolutionRow): Promise<boolean> => {
  const wanted = new Wanted();
  for (const { table, record } of resolution.shown) wanted.record(table, record);
  await window.overlay.load(wanted);
  return resolution.shown.every(({ table, record, incarnation, n }) => {
    const current = window.overlay.records.get(table, record);
    if (incarnation === 0 && n === 0) return current === undefined || current.deleted;
    const version = current?.row.version;
    return version?.incarnation === incarnation && version.n === n;
  });
};

/** Tells whether the choices of a merge fit: all conflicting records shown, values of the right type. */
const fits = (window: Window, row: SyncErrorRow, { shown, choices }: ResolutionRow): boolean => {
  for (const { table, record } of row.conflicts)
    if (!shown.some((one) => one.table === table && one.record === record)) return false;
  for (const { table: tableId, field: id, pick, value } of choices) {
    if (pick !== 'value') continue;
    const table = window.context.schema.tablesById.get(tableId);
    const field = table?.fieldsById.get(id);
    if (table === undefined || field === undefined || value === undefined) return false;
    if (checkValue(table, field, value) !== undefined) return false;
  }
  return true;
};

const decider = (resolver: Resolver): string => `resolution:${resolver.by}`;

const noteAll = (
  window: Window,
  members: readonly Member[],
  outcome: LedgerOutcome,
  resolver: Resolver,
): void => {
  for (const { parked, transaction } of members)
    parked.indexes.forEach((index, i) => {
      const op = transaction?.ops[i];
      window.note(op?.table ?? 0, {
        op: printOpId({ replica: parked.replica, epoch: parked.epoch, index }),
        user: parked.user,
        record: op?.record ?? '',
        outcome,
        fields: [],
        decider: decider(resolver),
      });
    });
};

const viewOf = async (window: Window, parked: ParkedTransaction): Promise<AuthorView> => {
  const { overlay } = window;
  await overlay.replicas.load(overlay.store, [parked.replica]);
  const state = overlay.replicas.get(parked.replica);
  invariant(state !== undefined, 'a parked transaction has an author');
  // The replica may not have been foreseen by the window: look everything up.
  return new AuthorView(window, state, { ...state, chains: 1, parked: 1, sides: 1 });
};

const decideMember = async (
  window: Window,
  { parked }: Member,
  transaction: Transaction,
  resolution: Parameters<typeof mergeContext>[3],
): Promise<Decision> => {
  const view = await viewOf(window, parked);
  const wanted = new Wanted();
  view.collect(transaction, (i) => parked.indexes[i] ?? 0, wanted);
  await window.overlay.load(wanted);
  const author = {
    ...view.author(parked.epoch, parked.indexes[0] ?? 0, parked.indexes),
    kind: parked.author,
  };
  const asks = parked.author === 'device' && resolution?.resolution?.action !== 'take-server';
  const refusal = asks ? await askHook(window, transaction, author) : null;
  const context = mergeContext(window, author, parked, { ...resolution, refusal });
  return decide(view.reader(), transaction, context);
};

const applyMember = async (
  window: Window,
  { parked, transaction }: Member,
  decision: Decision,
  resolver: Resolver,
): Promise<void> => {
  const view = await viewOf(window, parked);
  window.apply(decision, parked.replica, view.state.origin !== null);
  const { replica, epoch, user } = parked;
  for (const { index, table, record, outcome, fields } of decision.operations) {
    const op = printOpId({ replica, epoch, index });
    window.note(table, { op, user, record, outcome, fields, decider: decider(resolver) });
  }
  if (transaction === undefined) return;
  for (const one of decision.parks)
    await park(window, parked, one, parked.indexes, transaction, parked.payload);
};

/** Decides the root again, then its dependents in log order, all at the version under way. */
const decideAgain = async (
  window: Window,
  resolver: Resolver,
  resolution: ResolutionRow,
  row: SyncErrorRow,
  members: readonly Member[],
): Promise<ResolutionVerdict> => {
  const [root, ...dependents] = members;
  const action = resolution.action as 'retry' | 'merge' | 'split';
  const lastResolution = { id: resolver.id, verdict: 'still-parked' } as const;
  if (root?.transaction === undefined) {
    writeSyncError(window, { ...row, lastResolution }, resolver.by);
    return 'still-parked';
  }
  const decision = await decideMember(window, root, root.transaction, {
    resolution: { action, by: resolver.by, choices: resolution.choices },
  });
  const waiting = decision.parks.reduce((sum, { ops }) => sum + ops.length, 0);
  const parts = new Set(decision.parks.map((one) => one.root)).size;
  if (parts === 1 && waiting === root.parked.indexes.length) {
    const [{ kind, message, conflicts }] = decision.parks as [Decision['parks'][number]];
    writeSyncError(window, { ...row, kind, message, conflicts, lastResolution }, resolver.by);
    return 'still-parked';
  }
  await release(window, row.root, members);
  await applyMember(window, root, decision, resolver);
  const done = { id: resolver.id, verdict: 'done' } as const;
  if (decision.parks.some((one) => one.root === row.root)) {
    const rest = syncErrorOf(window, row.root) ?? row;
    const kept = { ...rest, parkedOn: row.parkedOn, lastResolution: done };
    writeSyncError(window, kept, resolver.by);
  } else {
    const superseded = decision.operations.every(({ outcome }) => outcome === 'superseded');
    const disposition = parts > 0 ? 'split' : superseded ? 'superseded' : 'applied';
    const resolved = { state: 'resolved', disposition, resolvedBy: resolver.by } as const;
    writeSyncError(window, { ...row, ...resolved, lastResolution: done }, resolver.by);
  }
  for (const member of dependents) {
    if (member.transaction === undefined) continue;
    const again = await decideMember(window, member, member.transaction, {});
    await applyMember(window, member, again, resolver);
  }
  return 'done';
};

/** Takes the server's side for the root and everything that waits under it. */
const takeServer = async (
  window: Window,
  resolver: Resolver,
  row: SyncErrorRow,
  members: readonly Member[],
): Promise<ResolutionVerdict> => {
  await release(window, row.root, members);
  for (const member of members) {
    if (member.transaction === undefined) {
      noteAll(window, [member], 'superseded', resolver);
      continue;
    }
    const decision = await decideMember(window, member, member.transaction, {
      resolution: { action: 'take-server', by: resolver.by, choices: [] },
    });
    await applyMember(window, member, decision, resolver);
  }
  const resolved = {
    state: 'resolved',
    disposition: 'superseded',
    resolvedBy: resolver.by,
  } as const;
  const lastResolution = { id: resolver.id, verdict: 'done' } as const;
  writeSyncError(window, { ...row, ...resolved, lastResolution }, resolver.by);
  return 'done';
};

const carryOut = async (
  window: Window,
  resolver: Resolver,
  resolution: ResolutionRow,
  row: SyncErrorRow,
): Promise<ResolutionVerdict> => {
  const members = (await loadMembers(window, row.root)).map(openMember);
  const lastResolution = { id: resolver.id, verdict: 'done' } as const;
  switch (resolution.action) {
    case 'ignore': {
      noteAll(window, members, 'ignored', resolver);
      const ignored = {
        state: 'ignored',
        disposition: 'ignored',
        resolvedBy: resolver.by,
      } as const;
      writeSyncError(window, { ...row, ...ignored, lastResolution }, resolver.by);
      return 'done';
    }
    case 'un-ignore': {
      noteAll(window, members, 'open', resolver);
      const open = { state: 'open', disposition: null, resolvedBy: null } as const;
      writeSyncError(window, { ...row, ...open, lastResolution }, resolver.by);
      return 'done';
    }
    case 'take-server':
      return takeServer(window, resolver, row, members);
    default:
      return decideAgain(window, resolver, resolution, row, members);
  }
};

/**
 * Carries out a resolution at the version under way. The first one in order holds: a later one is
 * `duplicate` once the error is not open; `stale` when a shown version is not the current one.
 */
export const resolve = async (
  window: Window,
  resolver: Resolver,
  resolution: ResolutionRow,
): Promise<ResolutionVerdict> => {
  await loadRoot(window, resolution.root);
  const row = syncErrorOf(window, resolution.root);
  if (row === undefined || !mayResolve(resolver, row)) return 'invalid';
  const refuse = (verdict: ResolutionVerdict): ResolutionVerdict => {
    writeSyncError(window, { ...row, lastResolution: { id: resolver.id, verdict } }, resolver.by);
    return verdict;
  };
  const expected = resolution.action === 'un-ignore' ? 'ignored' : 'open';
  if (row.state !== expected) return refuse('duplicate');
  if (resolution.action === 'merge' && !fits(window, row, resolution)) return refuse('invalid');
  if (!(await isFresh(window, resolution))) return refuse('stale');
  return carryOut(window, resolver, resolution, row);
};
