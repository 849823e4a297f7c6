export {
  replicaFormat,
  tableMeta,
  epochOfIndex,
  seenVersion,
  type ReplicaMeta,
  type TableMeta,
  type TableState,
  type IndexMeta,
  type StagingMeta,
  type StagingKind,
  type OriginMeta,
  type Closing,
} from './local/replica-meta.js';
export { openLocalReplica } from './local/open-local-replica.js';
export { recordBytesMax } from './local/edit-session.js';
export { queryRecordsMax } from './local/query-plan.js';
export { pendingPageMax } from './local/pending-list.js';
export { layersMax } from './local/staging.js';
export type {
  LocalReplica,
  LocalReplicaOptions,
  RecordView,
  RecordState,
  EditOptions,
  TextEdit,
  TransactionEdits,
  Query,
  QueryOrder,
  PendingChange,
  PendingOperation,
  LocalChange,
  LocalDamage,
  HeldRow,
  StagedCounts,
  Staging,
  MetaChange,
  Rewrap,
} from './local/local-replica.js';
export { replicaOn, type ReplicaOptions } from './open-replica.js';
export type {
  AnySchema,
  ClearPending,
  FieldNameOf,
  Replica,
  ReplicaTransaction,
  TableNameOf,
} from './replica.js';
export {
  callTriesMax,
  credentialsMsMax,
  type Credentials,
  type IdentityOptions,
} from './run/identity.js';
export type { ReplicaEvent } from './run/replica-event.js';
export type { ReplicaStatus } from './run/replica-status.js';
export type { ConnectionState } from './run/link-holder.js';
export type { CompressionMode, SyncProgress } from './run/run-context.js';
export type { SyncOptions, ConnectOptions } from './run/sync-runner.js';
export { editDebounceMs, livePeriodMs } from './run/sync-runner.js';
export { retryBaseMs, retryPauseMsMax, livePauseMsMax } from './run/back-off.js';
export { envelopePageBytesMax, envelopesInFlightMax } from './run/upload.js';
export { receiptQuestionsMax } from './run/await-receipt.js';
export { agreeRoundsMax } from './run/agree-on-log.js';
export { pageBytesMax, pageBytesMin, pagesBeforeLarger, slowPageMs } from './run/page-size.js';
export {
  packedPagesMax,
  pagesUnderWayMax,
  slowLinkBytes,
  slowRoundTripMs,
  tellingBytesMin,
  underWayMs,
} from './run/link-speed.js';
export { compareJsonBytesMax } from './run/repair.js';
export { foldStepsMax } from './run/clean-up.js';
export { syncLogsMax } from './run/sync-log-list.js';
export {
  syncErrorsListMax,
  type ConflictChoice,
  type ConflictView,
  type ResolveOptions,
  type SyncErrorList,
  type SyncErrorView,
} from './run/sync-error-list.js';
