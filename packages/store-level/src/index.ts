export type { Database, DatabaseOperation } from './database.js';
export {
  openReplicaStore,
  replicaStoreFormat,
  type OpenReplica,
  type OpenReplicaStoreOptions,
} from './open-replica-store.js';
export { openServerStore, serverStoreFormat, type ServerStoreOptions } from './server-store.js';
export { openInputLog, inputLogFormat, type InputLogOptions } from './input-log.js';
