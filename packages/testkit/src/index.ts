export {
  registerReplicaStoreContract,
  chainedEntries,
  type ReplicaStoreHarness,
} from './contracts/replica-store.js';
