export { openServer, type Server, type ServerOptions } from './open-server.js';
export type { ServerDatabases, ServerNats, ServerPlace } from './server-stores.js';
export { renewPauseMsMax } from './renewing-merger.js';
export {
  connectServer,
  type NatsPlace,
  type NatsServerConnection,
} from '@tidemark/transport-nats/server';
export {
  writeOperationBytesMax,
  writeEntryBytesMax,
  writeEntriesInFlightMax,
  type WriteResult,
} from './server-writes.js';
export { queryRecordsMax, type ServerQuery } from './server-reads.js';
export type {
  ForeignRow,
  Increments,
  ServerRecord,
  TableName,
  Tables,
  WriteFields,
  WriteInput,
  WriteOperation,
  Writer,
} from './server-types.js';
export { defineSchema, schemaFromCustomization, field, TidemarkError } from '@tidemark/model';
export type {
  ChangesSince,
  CheckpointManifest,
  Explanation,
  KeptSyncLog,
  MergerStatus,
  Protocols,
  ResolveInput,
  ResolveResult,
  ServerChange,
  ServerEvent,
  SyncErrorView,
  ValidateHook,
} from '@tidemark/merger';
