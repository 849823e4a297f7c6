export {
  protocolVersion,
  spokenProtocols,
  inProtocol,
  type Protocols,
  messageBytesMax,
  messageJsonBytesMax,
  encodeFrame,
  decodeFrame,
  type Frame,
  type FrameProblem,
} from './frame.js';
export {
  encodeMessage,
  decodeMessage,
  resumePointsMax,
  compareRangesMax,
  compareIdsMax,
  receiptKeysMax,
  codecsMax,
  pagesAheadMax,
  type HeadPoint,
  type Messages,
  type MessageName,
  type ResumeRequest,
  type ResumeAnswer,
  type GrantRequest,
  type GrantAnswer,
  type CustomizationRequest,
  type CustomizationAnswer,
  type PullRequest,
  type PullAnswer,
  type PackedTail,
  type RangeFingerprint,
  type CompareRequest,
  type CompareAnswer,
  type EnrollRequest,
  type EnrollAnswer,
} from './messages.js';
export {
  encodePage,
  decodePage,
  encodePages,
  decodePages,
  pageFormat,
  type PageEntry,
  type PageMode,
  type PageProblem,
  type TablePage,
} from './page.js';
export { fingerprintOf, type FingerprintEntry } from './fingerprint.js';
export {
  contentFingerprint,
  startContentFingerprint,
  type ContentFingerprint,
  type ContentRow,
} from './content-fingerprint.js';
export {
  callBytes,
  cloneBytes,
  envelopeBytes,
  receiptBytes,
  receiptKeyId,
  signReceipt,
  type SignedCall,
} from './signed-bytes.js';
export { encodeSignedCall, openSignedCall, type CallProof } from './signed-call.js';
export { challengeMsMax, challengeFits, makeChallenge } from './challenge.js';
export { scopeHashOf } from './scope-hash.js';
export {
  encodeCursor,
  decodeCursor,
  cursorName,
  type CursorState,
  type CursorDoubt,
  type CursorLife,
  type CursorPull,
  type CursorSeen,
  type CursorTable,
  type Mac,
} from './cursor.js';
export {
  startRun,
  advanceRun,
  endPhases,
  runAttemptsMax,
  runRepairsMax,
  receiptWaitMs,
  type SyncPhase,
  type SyncRunState,
  type SyncRunEvent,
  type SyncRunCommand,
  type SyncRunStep,
} from './sync-run.js';
