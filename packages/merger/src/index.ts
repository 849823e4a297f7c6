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
export { storedRecord, mergeRecord, encodeExtra } from './fold/stored-record.js';
export {
  encodeFeedSegment,
  decodeFeedSegment,
  rewindRow,
  feedEntry,
  feedSegmentFormat,
  scopeKeyValuesMax,
  type FeedSegment,
  type FeedHeader,
  type FeedEntry,
  type FeedBefore,
  type FeedKind,
  type RewoundRow,
} from './fold/feed-segment.js';
export {
  encodeLedgerSegment,
  decodeLedgerSegment,
  ledgerSegmentFormat,
  type LedgerSegment,
  type LedgerEntry,
  type LedgerField,
  type LedgerOutcome,
} from './fold/ledger-segment.js';
export {
  validateReadsMax,
  type ValidateHook,
  type ValidateAnswer,
  type ValidateTransaction,
  type ValidateOperation,
  type ValidateView,
} from './fold/validate.js';
export {
  openFold,
  emptyCustomization,
  type Fold,
  type FoldOptions,
  type AppliedWindow,
  type WindowBounds,
} from './fold/fold.js';
export { customizationId } from './fold/decide-entry.js';
export { windowEndsAtEvery } from './fold/fold-window.js';
