import type { Decision } from '@tidemark/merge';
import {
  checkValue,
  printOpId,
  type ResolutionRow,
  type ResolutionVerdict,
  type SyncErrorRow,
} from '@tidemark/model';
import { correctAgain } from './correct.js';
import {
  applyMember,
  decideMember,
  decideReleased,
  openMember,
  type Member,
} from './decide-member.js';
import type { LedgerOutcome } from './ledger-segment.js';
import { Wanted } from './overlay.js';
import { loadMembers, loadRoot, release, syncErrorOf, writeSyncError } from './parking.js';
import type { ReplicaState } from './replica-state.js';
import type { Window } from './window.js';

/** Who resolves: `replica` null is the administration. `id` is that of the row of `resolutions`. */
export interface Resolver {
  readonly by: string;
  readonly id: string;
  readonly replica: ReplicaState | null;
}

const mayResolve = (resolver: Resolver, row: SyncErrorRow): boolean => {
  const { replica } = resolver;
  if (replica === null) return true;
  return (
    row.user === replica.user &&
    (row.replica === replica.replica ||
      replica.lineage.some((part) => part.replica === row.replica))
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
  const decision = await decideMember(window, root.parked, root.transaction, {
    resolution: { action, by: resolver.by, choices: resolution.choices },
  });
  const waiting = decision.parks.reduce((sum, { ops }) => sum + ops.length, 0);
  const parts = new Set(decision.parks.map((one) => one.root)).size;
  const isUnderRoot = decision.parks.every((one) => one.root === row.root);
  const done = { id: resolver.id, verdict: 'done' } as const;
  if (isUnderRoot && waiting === root.parked.indexes.length) {
    const mayCorrect = action === 'retry' && (row.kind === 'invalid' || row.kind === 'rejected');
    if (mayCorrect && (await correctAgain(window, row.root, members, decider(resolver)))) {
      const applied = {
        state: 'resolved',
        disposition: 'applied',
        resolvedBy: resolver.by,
      } as const;
      writeSyncError(window, { ...row, ...applied, lastResolution: done }, resolver.by);
      return 'done';
    }
    const [{ kind, message, conflicts }] = decision.parks as [Decision['parks'][number]];
    writeSyncError(window, { ...row, kind, message, conflicts, lastResolution }, resolver.by);
    return 'still-parked';
  }
  await release(window, row.root, members);
  await applyMember(window, root, decision, decider(resolver));
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
  await decideReleased(window, dependents, decider(resolver));
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
    const decision = await decideMember(window, member.parked, member.transaction, {
      resolution: { action: 'take-server', by: resolver.by, choices: [] },
    });
    await applyMember(window, member, decision, decider(resolver));
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
