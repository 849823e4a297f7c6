export {
  encodeInputEntry,
  decodeInputEntry,
  inputEntryFormat,
  entryItemsMax,
  type InputEntry,
  type InputEntryProblem,
  type InputCaller,
  type ForeignReport,
} from './fold/input-entry.js';
export {
  emptyFoldState,
  encodeFoldState,
  decodeFoldState,
  type FoldState,
  type FoldCounts,
} from './fold/fold-state.js';
export {
  encodeReplicaState,
  decodeReplicaState,
  epochOfIndex,
  epochGrantsMax,
  type ReplicaState,
  type EpochGrant,
} from './fold/replica-state.js';
export { headAt, headKey, encodeHeads, decodeHeads, type LogHead } from './fold/head-list.js';
export {
  encodeParkedTransaction,
  decodeParkedTransaction,
  type ParkedTransaction,
} from './fold/parked-transaction.js';
export { storedRecord, mergeRecord, encodeExtra } from './fold/stored-record.js';
export { encodeOutline, FeedOutline, hashOfId, hashOfScopeKey } from './fold/feed-outline.js';
export {
  FeedDraft,
  decodeFeedSegment,
  rewindRow,
  feedEntry,
  feedSegmentFormat,
  type FeedSegment,
  type FeedHeader,
  type FeedChange,
  type FeedEntry,
  type FeedBefore,
  type FeedKind,
  type RewoundRow,
} from './fold/feed-segment.js';
export {
  LedgerDraft,
  decodeLedgerSegment,
  ledgerSegmentFormat,
  type LedgerSegment,
  type LedgerEntry,
  type LedgerField,
  type LedgerOutcome,
} from './fold/ledger-segment.js';
export {
  hookMessageMax,
  validateReadsMax,
  type ValidateHook,
  type ValidateAnswer,
  type ValidateTransaction,
  type ValidateOperation,
  type ValidateView,
} from './fold/validate-hook.js';
export {
  openFold,
  emptyCustomization,
  type Fold,
  type FoldOptions,
  type AppliedWindow,
  type WindowBounds,
} from './fold/fold.js';
export { livesInState, type Life } from './fold/fold-state.js';
export { livesMax, type LifeSpan } from './fold/decide-life.js';
export { customizationId } from './fold/decide-entry.js';
export { windowEndsAtEvery } from './fold/fold-window.js';
export { checkpointRetryMs, openMerger } from './service/merger.js';
export type { Merger, MergerStatus } from './service/merger-door.js';
export type { Protocols } from '@tidemark/protocol';
export type { MergerOptions } from './service/merger-options.js';
export type { ServerEvent } from './service/server-event.js';
export {
  createFellows,
  placeEveryMs,
  fellowForgottenMs,
  fellowsMax,
  type Fellows,
  type FellowWord,
  type Stand,
} from './service/fellows.js';
export { standWordsMax, standEveryMs, begunElsewhereMsMax } from './service/election.js';
export { lineCheckpointMsMax } from './service/open-line.js';
export { marksMax, refoldsMax } from './service/digest-watch.js';
export { type ScratchStore } from './service/refold.js';
export { knownMessagesMax, keptInputBytesMax, keptPiecesMax } from './fold/input-memory.js';
export { behindWaitMs } from './service/endpoints.js';
export { foldRetryMsMax } from './service/fold-driver.js';
export { waitingInputBytesMax, appendBytesMax, appendMessagesMax } from './service/input-writer.js';
export { pullBytesMin, passAsOfFrom } from './service/pull.js';
export { aheadCallsMax, pagesKnownMax } from './service/pages-ahead.js';
export { packedBytesMin } from './service/pack-tail.js';
export { pullRecordsMax } from './service/pull-fill.js';
export { pullEntriesMax } from './service/pull-feed.js';
export { keyedSegmentBytesMax, KeyedSegments } from './service/keyed-segments.js';
export type { Horizon, RehydrateReason } from './service/pull-cursor.js';
export { horizonDefault, type HorizonLimits } from './service/feed-horizon.js';
export { openAppliedStore, type AppliedStore } from './service/applied-store.js';
export {
  preparedDefault,
  preparedRetryMs,
  preparedStaleShare,
  type PreparedLimits,
} from './service/prepared-cache.js';
export {
  openPreparedTables,
  type PreparedStep,
  type PreparedTables,
} from './service/prepared-tables.js';
export {
  openScopePostings,
  postingIdsMax,
  postingRowsMin,
  type PostedIds,
  type ScopePostings,
} from './service/scope-postings.js';
export type { PackRoom } from './service/pack-reader.js';
export {
  decodePack,
  makePack,
  openPack,
  type PackParts,
  type TablePack,
} from './service/prepared-pack.js';
export {
  checkpointsKeptDefault,
  manifestReplicasMax,
  manifestFormat,
  type CheckpointManifest,
} from './service/checkpoints.js';
export { explainEntriesMax, type Explanation, type ExplainRequest } from './service/explain.js';
export {
  changesVersionsMax,
  type ServerChange,
  type ChangesSince,
} from './service/server-changes.js';
export {
  syncErrorsPageMax,
  type SyncErrorView,
  type ConflictView,
  type ChoiceInput,
  type ResolveInput,
  type ResolveResult,
} from './service/sync-error-desk.js';
export {
  authenticateMsMax,
  oneTimePrefix,
  tokenCharactersMax,
  type AuthenticateHook,
} from './service/enroll.js';
export {
  enrolmentsListMax,
  tokenMsDefault,
  tokenMsMax,
  type EnrolledReplica,
  type IdentityDesk,
} from './service/identity-desk.js';
export {
  censusNamesMax,
  censusRecordsMax,
  type CountedDevices,
  type IdentityCensus,
  type NamedDevice,
} from './service/identity-census.js';
export { quarantinedToldMax, type QuarantinedMessage } from './fold/window.js';
export { readReplicas } from './service/replica-register.js';
export { syncLogsMax, syncLogBytesMax, type KeptSyncLog } from './service/sync-log-book.js';
