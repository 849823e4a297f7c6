export { fileMarker } from './file-marker.js';
export {
  openDatabaseFolder,
  damagedCopiesMax,
  type DatabaseFolderOptions,
  type OpenedFolder,
  type Repair,
} from './database-folder.js';
export { openReplicaFolder, type OpenReplicaFolderOptions } from './open-replica-folder.js';
export {
  openServerFolder,
  openStoreFolder,
  type ServerFolder,
  type ServerFolderOptions,
} from './server-folder.js';
export { openCheckpointFolder, manifestBytesMax } from './checkpoint-folder.js';
export { holdStoreFolder } from './store-hold.js';
