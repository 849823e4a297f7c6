export { decide } from './decide.js';
export { clockLeadMsMax } from './times.js';
export { recordUnitsMax } from './work.js';
export type {
  Author,
  ChainEnd,
  ChainState,
  Decision,
  FieldDecision,
  MergeContext,
  MergeCrdt,
  MergeReader,
  MergeRecord,
  OperationDecision,
  Park,
  RecordWrite,
} from './decision.js';
