export { openReplica, type OpenReplicaOptions } from './open-replica.js';
export { deviceOptions, readDeviceFile, type DeviceFile } from './device-file.js';
export { natsTransport, type NatsTransportOptions } from './nats-transport.js';
export type { NatsPlace, NatsTls, NatsTransport } from '@tidemark/transport-nats/node';
export { nodeCrypto } from '@tidemark/crypto-node';
export { systemClock, systemEntropy, systemTimer } from './node-effects.js';
export {
  defineSchema,
  schemaFromCustomization,
  field,
  TidemarkError,
  errorCatalogue,
  type Customization,
  type ErrorCode,
  type FieldsOf,
  type NewFieldsOf,
  type Recovery,
  type RecordOf,
  type ResolutionAction,
  type SyncLog,
  type SyncMode,
  type SyncResult,
  type TypedSchema,
  type Value,
} from '@tidemark/model';
export type {
  AnySchema,
  ClearPending,
  ConflictChoice,
  ConflictView,
  ConnectOptions,
  Credentials,
  PendingChange,
  PendingOperation,
  Query,
  QueryOrder,
  RecordState,
  Replica,
  ReplicaEvent,
  ReplicaStatus,
  ReplicaTransaction,
  ResolveOptions,
  SyncErrorList,
  SyncErrorView,
  SyncOptions,
  SyncProgress,
  TextEdit,
} from '@tidemark/client';
export type { Scope } from '@tidemark/filter';
export type { Clock, Durability, Entropy, Logger, Timer, Transport } from '@tidemark/ports';
