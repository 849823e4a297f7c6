import type { LogPart } from '@tidemark/merge';
import { utf8Decode, utf8Encode } from '@tidemark/model';
import { storedForm } from './stored-form.js';

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
  /** Parts of the log up to `origin.lastIndex`, oldest first; the newest `lineagePartsMax`. */
  readonly lineage: readonly LogPart[];
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

/** Decodes the state of a replica that this engine wrote. Throws TidemarkError `storage-damaged` on other bytes. */
export const decodeReplicaState = (bytes: Uint8Array): ReplicaState =>
  storedForm('the state of a replica', () => readReplicaState(bytes));

const readReplicaState = (bytes: Uint8Array): ReplicaState => {
  const state = JSON.parse(utf8Decode(bytes)) as ReplicaState & { lineage?: readonly LogPart[] };
  if (state.lineage !== undefined) return state;
  // The first states did not list the parts: a clone's log came from one epoch of its origin.
  const { origin } = state;
  const whole = origin && { replica: origin.replica, epoch: origin.epoch, to: origin.lastIndex };
  return { ...state, lineage: whole === null ? [] : [{ ...whole, from: 0 }] };
};

/** Most parts of its origins' logs that the state of a clone remembers. */
export const lineagePartsMax = 256;

/**
 * Parts of a replica's log as it stood under an epoch, oldest first: what it continued as a clone, then its
 * epochs, each as far as the next one left it.
 */
export const logParts = (state: ReplicaState, asOfEpoch: number = state.epoch): LogPart[] => {
  let parts: LogPart[] = [...state.lineage];
  for (const { epoch, from } of state.grants) {
    if (epoch > asOfEpoch) break;
    parts = upToIndex(parts, from);
    parts.push({ replica: state.replica, epoch, from, to: Number.MAX_SAFE_INTEGER });
  }
  return parts;
};

/** Parts of a log cut off above an index. */
export const upToIndex = (parts: readonly LogPart[], index: number): LogPart[] =>
  parts
    .filter(({ from }) => from < index)
    .map((part) => (part.to > index ? { ...part, to: index } : part));

/** Part of a log in which an index lies. */
export const partOfIndex = (parts: readonly LogPart[], index: number): LogPart | undefined => {
  for (let i = parts.length - 1; i >= 0; i -= 1) {
    const part = parts[i];
    if (part !== undefined && part.from < index) return index <= part.to ? part : undefined;
  }
  return undefined;
};

/** Epoch under which the replica wrote the operation at `index`, seen from its current epoch. */
export const epochOfIndex = (state: ReplicaState, index: number): number => {
  for (let i = state.grants.length - 1; i >= 0; i -= 1) {
    const grant = state.grants[i];
    if (grant !== undefined && grant.from < index) return grant.epoch;
  }
  return state.grants[0]?.epoch ?? state.epoch;
};
