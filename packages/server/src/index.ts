export { openServer, type Server, type ServerOptions } from './open-server.js';
export {
  jwksKeptMs,
  jwksMsMax,
  oidcAuthenticator,
  type OidcOptions,
} from './oidc-authenticator.js';
export type { ServerDatabases, ServerNats, ServerPlace } from './server-stores.js';
export { healthReplicasMax, type ReplicaHealth, type ServerHealth } from './server-health.js';
export { renewPauseMsMax } from './renewing-merger.js';
export {
  connectServer,
  createNatsKeys,
  deviceCredential,
  natsAuthConf,
  natsClaims,
  pushClaims,
  serverCredential,
  systemCredential,
  type NatsClaims,
  type NatsCredential,
  type NatsKeys,
  openNatsCheckpoints,
  removeInput,
  removeNatsCheckpoints,
  readInputName,
  type NatsPlace,
  type NatsTls,
  type NatsServerConnection,
} from '@tidemark/transport-nats/server';
export {
  writeOperationBytesMax,
  writeEntryBytesMax,
  writeEntriesInFlightMax,
  type WriteResult,
} from './server-writes.js';
export {
  openRenewingMerger,
  type RenewingMerger,
  type RenewingMergerOptions,
} from './renewing-merger.js';
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
  AuthenticateHook,
  ChangesSince,
  CheckpointManifest,
  EnrolledReplica,
  Explanation,
  IdentityCensus,
  IdentityDesk,
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
