export type { Database, DatabaseOperation } from './database.js';
export {
  openReplicaStore,
  replicaStoreFormat,
  type OpenReplica,
  type OpenReplicaStoreOptions,
} from './open-replica-store.js';
