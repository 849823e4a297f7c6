import { utf8Decode, utf8Encode } from '@tidemark/model';

/** Epoch that was granted to a replica. Its operations have indexes above `from`. */
export interface EpochGrant {
  readonly epoch: number;
  readonly provisional: string;
  /** Last index of the position that the epoch continues, and the chain head (hexadecimal) there. */
  readonly from: number;
  readonly head: string;
}

/**
 * What the server knows of a replica: value of space `replicas`, key = replica id.
 *
 * Writers inside the server (`server:...`, `backend:...`) have one too; their heads are empty.
 */
export interface ReplicaState {
  readonly format: 1;
  readonly replica: string;
  readonly user: string;
  readonly epoch: number;
  /** Random id under which the current epoch was granted. */
  readonly provisional: string;
  /** Index of the last operation decided, and the chain head (hexadecimal) after it. */
  readonly mergedTo: number;
  readonly head: string;
  /** Version (n) of the newest transaction of this replica. */
  readonly version: number;
  /** Server time (ms) of the newest envelope that moved it. */
  readonly receivedOn: number;
  /** The replica that this one continued as a clone, up to `lastIndex`. */
  readonly origin: {
    readonly replica: string;
    readonly epoch: number;
    readonly lastIndex: number;
  } | null;
  /** Epochs granted, oldest first; at most `epochGrantsMax`, the oldest are forgotten. */
  readonly grants: readonly EpochGrant[];
  /** A grant continued from below what was merged: some merged operations are not in its log. */
  readonly forked: boolean;
  /** Entries that the replica has in spaces `chains`, `parked` (operations) and `side-documents`. */
  readonly chains: number;
  readonly parked: number;
  readonly sides: number;
}

/** Most epochs that a replica's state remembers. */
export const epochGrantsMax = 256;

/** Encodes the state of a replica. */
export const encodeReplicaState = (state: ReplicaState): Uint8Array =>
  utf8Encode(JSON.stringify(state));

/** Decodes the state of a replica that this engine wrote. */
export const decodeReplicaState = (bytes: Uint8Array): ReplicaState =>
  JSON.parse(utf8Decode(bytes)) as ReplicaState;

/** Epoch under which the replica wrote the operation at `index`, seen from its current epoch. */
export const epochOfIndex = (state: ReplicaState, index: number): number => {
  for (let i = state.grants.length - 1; i >= 0; i -= 1) {
    const grant = state.grants[i];
    if (grant !== undefined && grant.from < index) return grant.epoch;
  }
  return state.grants[0]?.epoch ?? state.epoch;
};
