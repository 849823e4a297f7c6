import type { Customization, SyncErrorState, Value } from '@tidemark/model';
import type { CheckpointPlace } from './checkpoint-place.js';
import type {
  EnrolledReplica,
  Explanation,
  IdentityCensus,
  IdentityDesk,
  KeptSyncLog,
  ResolveInput,
  ResolveResult,
  SyncErrorView,
} from '@tidemark/server';

/** Operation that a desk writes: a record is created, or the named fields of the live one are set. */
export interface DeskPut {
  readonly kind: 'put';
  readonly table: string;
  readonly id: string;
  readonly fields: Readonly<Record<string, Value>>;
}

/** Record by field names. */
export type DeskRecord = { readonly id: string } & Readonly<Record<string, Value>>;

/** Health of a server. Times in ms. */
export interface DeskStatus {
  readonly tenant: string;
  /** True when a running server answered, false when the folder was opened for the command. */
  readonly running: boolean;
  /** Addresses at which devices reach the running server; null when none runs. */
  readonly nats: readonly string[] | null;
  readonly incarnation: number;
  readonly n: number;
  readonly customizationVersion: number;
  readonly digest: string;
  /** Greatest time of the input; 0 before the first message. */
  readonly now: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly checkpoint: { readonly incarnation: number; readonly n: number } | null;
  readonly openErrors: number;
  /** True when there are more open sync errors than were counted. */
  readonly moreErrors: boolean;
  readonly failure: { readonly code: string; readonly message: string } | null;
}

/** Who may use the tenant. */
export interface DeskIdentities {
  readonly required: boolean;
  readonly replicas: readonly EnrolledReplica[];
  readonly receiptKeys: readonly string[];
}

/** Where a server stands: a version names one history only together with the life that it is of. */
export interface DeskMoment {
  readonly incarnation: number;
  readonly n: number;
  /** Newest openings of the server, newest first; each began at version `from`. */
  readonly lives: readonly { readonly id: string; readonly from: number }[];
}

/** Which sync errors to list: at most `limit` after an id. */
export interface ErrorsWanted {
  readonly state?: SyncErrorState;
  readonly after?: string;
  readonly limit?: number;
}

/** Which records to read: in id order. */
export interface RecordsWanted {
  readonly filter?: string;
  readonly after?: string;
  readonly limit: number;
}

/**
 * What commands ask of a server: of a running one through the socket in its folder, else of the folder
 * itself, opened for the command. Everything rejects with TidemarkError.
 */
export interface Desk {
  readonly customization: () => Promise<Customization>;
  readonly publish: (customization: Customization, user: string) => Promise<void>;
  /** Resolves when the operations are applied and durable. */
  readonly write: (operations: readonly DeskPut[], user: string) => Promise<void>;
  readonly records: (table: string, wanted: RecordsWanted) => Promise<readonly DeskRecord[]>;
  readonly errors: (wanted: ErrorsWanted) => Promise<readonly SyncErrorView[]>;
  readonly error: (id: string) => Promise<SyncErrorView | null>;
  readonly resolve: (id: string, input: ResolveInput) => Promise<ResolveResult>;
  readonly explain: (
    table: string,
    id: string,
    field: string | undefined,
    limit: number | undefined,
  ) => Promise<readonly Explanation[]>;
  readonly syncLogs: (limit: number) => Promise<readonly KeptSyncLog[]>;
  readonly status: () => Promise<DeskStatus>;
  /** Whether identities are demanded, who is enrolled (at most 1,000 after an id), and the keys of receipts. */
  readonly identities: (after?: string) => Promise<DeskIdentities>;
  /** How enrolment stands. */
  readonly census: () => Promise<IdentityCensus>;
  readonly requireIdentities: (by: string) => Promise<void>;
  readonly createToken: IdentityDesk['createToken'];
  readonly revoke: IdentityDesk['revoke'];
  readonly moment: () => Promise<DeskMoment>;
  /** Writes a checkpoint unless the newest one holds everything; resolves with where checkpoints lie. */
  readonly checkpoint: () => Promise<CheckpointPlace>;
  readonly close: () => Promise<void>;
}
