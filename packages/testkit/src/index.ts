export {
  registerReplicaStoreContract,
  chainedEntries,
  type ReplicaStoreHarness,
} from './contracts/replica-store.js';
export { registerServerStoreContract } from './contracts/server-store.js';
export type { ServerStoreHarness } from './contracts/server-windows.js';
export {
  positionsOf,
  registerInputLogContract,
  type InputLogHarness,
} from './contracts/input-log.js';
export {
  registerCheckpointFolderContract,
  type CheckpointFolderHarness,
} from './contracts/checkpoint-folder.js';
export { createMemoryCheckpoints } from './memory-checkpoints.js';
export {
  nastyTexts,
  text,
  illFormedText,
  recordId,
  invalidRecordId,
  replicaId,
  count,
  opId,
  tableId,
  fieldId,
  valueOf,
  value,
  serverVersion,
  operation,
  transaction,
  row,
  envelope,
  customization,
  mutatedBytes,
} from './arbitraries.js';
export { messageNames, messages } from './messages.js';
export {
  DeviceLog,
  sketchOperation,
  sketchTransaction,
  type DeviceLogOptions,
  type LoggedTransaction,
  type OperationSketch,
} from './histories.js';
export { registerTransportContract, type TransportHarness } from './contracts/transport.js';
