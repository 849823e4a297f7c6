import { TidemarkError, toHex, type Receipt } from '@tidemark/model';
import type { Caller, ServerStore } from '@tidemark/ports';
import type { GrantAnswer, GrantRequest, ResumeAnswer, ResumeRequest } from '@tidemark/protocol';
import type { FoldState } from '../fold/fold-state.js';
import { headUnder } from '../fold/head-list.js';
import { decodeReplicaState, type ReplicaState } from '../fold/replica-state.js';

type Reads = Pick<ServerStore, 'getEntries' | 'scanEntries'>;

/** What the newest checkpoint holds of a replica's log. */
export interface ArchivedLog {
  readonly epoch: number;
  readonly mergedTo: number;
}

const noHead = toHex(new Uint8Array(32));

/** State of a replica, undefined when the server never saw it. */
export const readReplica = async (
  reads: Pick<Reads, 'getEntries'>,
  replica: string,
): Promise<ReplicaState | undefined> => {
  const [bytes] = await reads.getEntries('replicas', [replica]);
  return bytes === undefined ? undefined : decodeReplicaState(bytes);
};

const replicaPage = 1_000;

/** States of the replicas of devices in the order of their ids, at most `limit`. */
export const readReplicas = async (
  reads: Pick<Reads, 'scanEntries'>,
  limit: number,
): Promise<readonly ReplicaState[]> => {
  const found: ReplicaState[] = [];
  for (let gt = ''; found.length < limit;) {
    const page = await reads.scanEntries('replicas', { gt, lt: '\u007f', limit: replicaPage });
    for (const { key, value } of page) {
      gt = key;
      // Writers inside of the server have states, too; their ids hold a colon.
      if (!key.includes(':') && found.length < limit) found.push(decodeReplicaState(value));
    }
    if (page.length < replicaPage) break;
  }
  return found;
};

/** Last index of a replica that a checkpoint holds: not what an epoch granted since has taken back. */
const archivedIndex = (state: ReplicaState, archived: ArchivedLog | undefined): number => {
  if (archived === undefined) return 0;
  let index = Math.min(archived.mergedTo, state.mergedTo);
  for (const grant of state.grants)
    if (grant.epoch > archived.epoch) index = Math.min(index, grant.from);
  return index;
};

/** Receipt of a replica. */
export const receiptOf = (
  fold: FoldState,
  state: ReplicaState | undefined,
  archived: ArchivedLog | undefined,
): Receipt =>
  state === undefined
    ? {
        incarnation: fold.incarnation,
        epoch: 0,
        mergedTo: 0,
        head: noHead,
        version: 0,
        archivedTo: 0,
      }
    : {
        incarnation: fold.incarnation,
        epoch: state.epoch,
        mergedTo: state.mergedTo,
        head: state.head,
        version: state.version,
        archivedTo: archivedIndex(state, archived),
      };

/** Refuses a caller under another user than the one that the replica belongs to. */
export const checkOwner = (caller: Caller, state: ReplicaState | undefined): void => {
  if (state !== undefined && state.user !== caller.user)
    throw new TidemarkError('denied', 'the replica belongs to another user', {
      replica: caller.replica,
    });
};

/** Greatest point that both logs share, and the lowest named one that is known to differ. */
const compareLogs = async (
  reads: Reads,
  state: ReplicaState,
  request: ResumeRequest,
  isCurrent: boolean,
): Promise<{ readonly common: number; readonly differs: number }> => {
  // A copy whose epoch was ended asks how far its own log was merged, not how far its successor's was.
  const epoch = isCurrent ? state.epoch : request.epoch;
  const points = [...request.points].sort(([a], [b]) => b - a);
  let differs = 0;
  for (const [index, head] of points) {
    const merged = await headUnder(reads, state, index, epoch);
    if (merged === head) return { common: index, differs };
    if (merged !== undefined || index <= state.mergedTo) differs = index;
  }
  return { common: 0, differs };
};

/** What a resume says of the logs, without the parts that do not concern them. */
export type LogAgreement = Pick<ResumeAnswer, 'status' | 'common' | 'differs'>;

/**
 * Compares a replica's log with what was merged, exact at transaction ends.
 *
 * `ok` with `common` below `mergedTo` means that no named point lies at `mergedTo`: the replica compares
 * the receipt's head with its own there. A server that was restored from before the replica's epoch
 * answers `fork`: the replica asks for a new epoch above what is left.
 */
export const agreeOnLog = async (
  reads: Reads,
  state: ReplicaState | undefined,
  request: ResumeRequest,
): Promise<LogAgreement> => {
  if (state === undefined || state.epoch === 0) return { status: 'unknown', common: 0, differs: 0 };
  const isCurrent = request.provisional === state.provisional || request.epoch >= state.epoch;
  const { common, differs } = await compareLogs(reads, state, request, isCurrent);
  if (!isCurrent) return { status: 'ended', common, differs };
  const isRestored = request.epoch > state.epoch && request.provisional !== state.provisional;
  const endsEarly = request.lastIndex < state.mergedTo;
  return { status: differs > 0 || endsEarly || isRestored ? 'fork' : 'ok', common, differs };
};

/** Whether the current epoch is the one that was asked for. */
export const grantAnswer = (
  fold: FoldState,
  state: ReplicaState | undefined,
  request: GrantRequest,
  archived: ArchivedLog | undefined,
): GrantAnswer => ({
  granted: state !== undefined && state.provisional === request.provisional,
  epoch: state?.epoch ?? 0,
  receipt: receiptOf(fold, state, archived),
});
