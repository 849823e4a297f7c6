export { decide } from './decide.js';
export {
  applyLocally,
  needsCrdt,
  type KnownTexts,
  type LocalContext,
  type LocalCrdt,
  type LocalRow,
} from './apply-locally.js';
export { foreignTransaction, type ForeignRow } from './foreign.js';
export { serverTransaction, type ServerTransaction, type ServerWrite } from './server-write.js';
export {
  composeTransactions,
  type ComposedTransaction,
  type PlacedTransaction,
} from './compose.js';
export { rowHash } from './row-hash.js';
export { compactDocuments, documentIn, isSameDocument, settledDocuments } from './row-documents.js';
export { storedDocument } from './stored-document.js';
export { clockLeadMsMax } from './times.js';
export { mergedRecordBytesMax } from './work.js';
export type {
  Author,
  ChainEnd,
  ChainState,
  Decision,
  FieldDecision,
  LogPart,
  MergeContext,
  MergeCrdt,
  MergeReader,
  MergeRecord,
  OperationDecision,
  Park,
  RecordWrite,
} from './decision.js';
