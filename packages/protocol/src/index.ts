export {
  protocolVersion,
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
  type RangeFingerprint,
  type CompareRequest,
  type CompareAnswer,
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
  encodeCursor,
  decodeCursor,
  type CursorState,
  type CursorTable,
  type Mac,
} from './cursor.js';
