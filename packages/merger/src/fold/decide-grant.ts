import type { LogPart } from '@tidemark/merge';
import { isReplicaId, type ReplicaId } from '@tidemark/model';
import type { GrantRequest } from '@tidemark/protocol';
import { grantProblem } from './decide-identity.js';
import { headAt, headUnder } from './head-list.js';
import type { InputCaller } from './input-entry.js';
import {
  epochGrantsMax,
  lineagePartsMax,
  logParts,
  upToIndex,
  type EpochGrant,
  type ReplicaState,
} from './replica-state.js';
import type { Window } from './window.js';

const granted = (
  before: ReplicaState | undefined,
  caller: InputCaller,
  request: GrantRequest,
  now: number,
  lineage: readonly LogPart[],
): ReplicaState => {
  const epoch = Math.max(request.epoch, before?.epoch ?? 0) + 1;
  const { index: from, head } = request.continues;
  const grant: EpochGrant = { epoch, provisional: request.provisional, from, head };
  const grants = [...(before?.grants ?? []), grant].slice(-epochGrantsMax);
  const lost = before !== undefined && from < before.mergedTo;
  return {
    format: 1,
    replica: caller.replica,
    user: caller.user,
    epoch,
    provisional: request.provisional,
    mergedTo: from,
    head,
    version: before?.version ?? 0,
    receivedOn: now,
    origin:
      before?.origin ?? (request.origin === null ? null : { ...request.origin, lastIndex: from }),
    lineage: before?.lineage ?? lineage,
    grants,
    forked: before?.forked === true || lost,
    chains: before?.chains ?? 0,
    parked: before?.parked ?? 0,
    sides: before?.sides ?? 0,
  };
};

/** Head that the server knows at the position that the request continues. */
const knownHead = async (
  window: Window,
  before: ReplicaState | undefined,
  origin: { readonly replica: ReplicaId; readonly epoch: number } | null,
  user: string,
  index: number,
): Promise<string | undefined> => {
  const { overlay } = window;
  if (before !== undefined) return headAt(overlay.store, before, index);
  if (origin === null) return index === 0 ? '0'.repeat(64) : undefined;
  await overlay.replicas.load(overlay.store, [origin.replica]);
  const state = overlay.replicas.get(origin.replica);
  return state?.user === user ? headUnder(overlay.store, state, index, origin.epoch) : undefined;
};

/**
 * Grants an epoch by compare-and-set on the current one, in input order. A clone starts at a position of
 * its origin's log. A request for an epoch beyond the current one comes from an input that was lost.
 * Refused requests change nothing; the same request twice is granted once.
 */
export const decideGrant = async (
  window: Window,
  caller: InputCaller,
  request: GrantRequest,
): Promise<void> => {
  const { overlay } = window;
  const before = overlay.replicas.get(caller.replica);
  const { continues, origin, provisional } = request;
  const refuse = (): void => {
    window.counts.refusedGrants += 1;
  };
  if (caller.tenant !== window.context.tenant || !isReplicaId(caller.replica)) return refuse();
  if (before?.provisional === provisional) return undefined;
  if (provisional.length > 128 || (before !== undefined && before.user !== caller.user))
    return refuse();
  if (request.epoch < (before?.epoch ?? 0)) return refuse();
  // Over a gap nothing proves whose log it was: nothing is inherited.
  const from = before === undefined && request.gap !== true ? origin : null;
  if ((await grantProblem(window, caller, from?.replica ?? null)) !== undefined) return refuse();
  // A log that was trimmed beyond what a restored store knows cannot be checked below its beginning.
  if (request.gap !== true) {
    const head = await knownHead(window, before, from, caller.user, continues.index);
    if (head === undefined || head !== continues.head) return refuse();
  } else if (
    // A gap only leads upwards: below it everything was decided, and must not be decided again.
    continues.index <= (before?.mergedTo ?? 0) ||
    !/^[0-9a-f]{64}$/.test(continues.head)
  )
    return refuse();
  const asked = { ...request, origin: from };
  const parent = from === null ? undefined : overlay.replicas.get(from.replica);
  const lineage =
    parent === undefined || from === null
      ? []
      : upToIndex(logParts(parent, from.epoch), continues.index).slice(-lineagePartsMax);
  const state = granted(before, caller, asked, window.now, lineage);
  overlay.replicas.set(caller.replica, state);
  window.moved.add(caller.replica);
  return undefined;
};
