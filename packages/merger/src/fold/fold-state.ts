import { toHex, utf8Decode, utf8Encode, TidemarkError } from '@tidemark/model';
import type { InputPosition } from '@tidemark/ports';
import { storedForm } from './stored-form.js';

/** Totals since the store began; a function of the input. */
export interface FoldCounts {
  /** Messages of the input folded. */
  readonly messages: number;
  readonly transactions: number;
  readonly operations: number;
  /** Envelopes that continue no known head or belong to another epoch: the replica offers them again. */
  readonly skipped: number;
  /** Envelopes whose operations were all merged before. */
  readonly duplicates: number;
  /** Messages that are not what they claim: kept in space `quarantine` while there is room. */
  readonly quarantined: number;
  /** Bytes kept in space `quarantine`. */
  readonly quarantinedBytes: number;
  /** Sync errors made. */
  readonly syncErrors: number;
  /** Grants refused because the epoch named was not the current one, or the head not known. */
  readonly refusedGrants: number;
}

/** State of the fold: stored with every window, so that the store names the position it stands at. */
export interface FoldState {
  readonly format: 1;
  readonly tenant: string;
  readonly incarnation: number;
  /** Version (n) of the last accepted transaction. */
  readonly n: number;
  /** Last message of the input that is applied; seq 0 of generation 1 before the first. */
  readonly position: InputPosition;
  /** Greatest input time so far in ms. */
  readonly now: number;
  /** Digest of version n, hexadecimal: equal inputs give equal digests. */
  readonly digest: string;
  /** Version of the customization in force; 0 before the first. */
  readonly customizationVersion: number;
  /** Hash (hexadecimal) of the message at `position`; empty before the first. */
  readonly lastHash: string;
  readonly counts: FoldCounts;
  /** Newest lives, newest first, at most `livesInState`; all of them are in space `lives`. */
  readonly lives: readonly Life[];
  /** True once the input demands signatures: the policy is in table `policies`, too. */
  readonly needsIdentities: boolean;
}

/** Opening of a server: `no` counts lives from 1, `from` is the version (n) at which it began. */
export interface Life {
  readonly no: number;
  readonly id: string;
  readonly from: number;
}

/** Newest lives that the state itself holds: cursors name them. */
export const livesInState = 16;

/** State of a store that has folded nothing. */
export const emptyFoldState = (tenant: string): FoldState => ({
  format: 1,
  tenant,
  incarnation: 1,
  n: 0,
  position: { generation: 1, seq: 0 },
  now: 0,
  digest: toHex(new Uint8Array(32)),
  customizationVersion: 0,
  lastHash: '',
  counts: {
    messages: 0,
    transactions: 0,
    operations: 0,
    skipped: 0,
    duplicates: 0,
    quarantined: 0,
    quarantinedBytes: 0,
    syncErrors: 0,
    refusedGrants: 0,
  },
  lives: [],
  needsIdentities: false,
});

/** Encodes the state for `ServerBatch.state`. */
export const encodeFoldState = (state: FoldState): Uint8Array => utf8Encode(JSON.stringify(state));

/** Decodes stored state. Throws TidemarkError `newer-format` when a newer version wrote it, `storage-damaged` on other bytes. */
export const decodeFoldState = (bytes: Uint8Array): FoldState =>
  storedForm('the state of a store', () => readFoldState(bytes));

const readFoldState = (bytes: Uint8Array): FoldState => {
  const state = JSON.parse(utf8Decode(bytes)) as FoldState;
  if (state.format !== 1)
    throw new TidemarkError('newer-format', 'the server store was written by a newer version');
  // A store of a version that counted no lives has none; before identities nothing was demanded.
  const { lives, needsIdentities } = state as Partial<FoldState>;
  return { ...state, lives: lives ?? [], needsIdentities: needsIdentities ?? false };
};
