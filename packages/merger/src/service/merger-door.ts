import type { Customization, Schema, SyncErrorState, TidemarkError } from '@tidemark/model';
import type { AbortSignalLike, ServerStore, Service } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';
import type { InputEntry } from '../fold/input-entry.js';
import type { CheckpointManifest } from './checkpoints.js';
import type { Explanation, ExplainRequest } from './explain.js';
import type { IdentityDesk } from './identity-desk.js';
import type { Horizon } from './pull-cursor.js';
import type { ChangesSince, ServerChange } from './server-changes.js';
import type { ResolveInput, ResolveResult, SyncErrorView } from './sync-error-desk.js';
import type { KeptSyncLog } from './sync-log-book.js';

/** Health of a merger: true at the moment of asking. */
export interface MergerStatus {
  readonly state: FoldState;
  readonly horizon: Horizon;
  readonly checkpoint: CheckpointManifest | undefined;
  /** Failure of the fold; undefined while it works. */
  readonly failure: TidemarkError | undefined;
}

/** Merger: folds the input of a tenant and answers its replicas. */
export interface Merger {
  readonly service: Service;
  /** Read side of the store. Nothing above `state()` is in it, outside of a commit in flight. */
  readonly store: ServerStore;
  readonly state: () => FoldState;
  readonly schema: () => Schema;
  /** Stores an entry in the input; resolves with the state once it is applied. */
  readonly submit: (entry: InputEntry) => Promise<FoldState>;
  /** Resolves when everything that the input holds now is applied. */
  readonly settle: () => Promise<FoldState>;
  /** Runs reads while no window is applied: keep them short. */
  readonly alone: <A>(work: () => Promise<A>) => Promise<A>;
  readonly publish: (customization: Customization, user: string) => Promise<FoldState>;
  readonly explain: (request: ExplainRequest) => Promise<readonly Explanation[]>;
  readonly changes: (since: ChangesSince, signal?: AbortSignalLike) => AsyncGenerator<ServerChange>;
  readonly syncErrors: (options: {
    readonly state?: SyncErrorState;
    readonly after?: string;
    readonly limit?: number;
  }) => Promise<readonly SyncErrorView[]>;
  readonly syncError: (root: string) => Promise<SyncErrorView | undefined>;
  readonly resolve: (root: string, input: ResolveInput) => Promise<ResolveResult>;
  /** Newest first. */
  readonly syncLogs: (limit: number) => Promise<readonly KeptSyncLog[]>;
  /** Writes a checkpoint; undefined when the newest one is of this version. */
  readonly checkpoint: () => Promise<CheckpointManifest | undefined>;
  readonly status: () => MergerStatus;
  readonly identities: IdentityDesk;
  /** Stops folding; what is stored in the input stays for the next opening. Leaves the stores open. */
  readonly close: () => Promise<void>;
}
