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
