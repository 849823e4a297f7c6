import { join } from 'node:path';
import type { Hash } from '@tidemark/model';
import type { StoreDamage } from '@tidemark/ports';
import {
  openDatabaseFolder,
  type DatabaseFolderOptions,
  type OpenedFolder,
} from './database-folder.js';
import { fileMarker } from './file-marker.js';
import {
  assembleReplica,
  findMarker,
  replicaStoreFormat,
  type FoundMarker,
  type OpenReplica,
} from './open-replica-store.js';
import { isCorruption } from './storage-error.js';

/**
 * Write buffer of a replica. A greater one would merge fewer files in a first sync, but LevelDB can lose batches
 * out of a `.log` of this size, and the ring counts only so many (see `ringSlots`).
 */
export const replicaBufferBytes = 16 * 1024 * 1024;

/** Options of `openReplicaFolder`. */
export interface OpenReplicaFolderOptions {
  readonly hash: Hash;
  /** False refuses to create a replica where none is; true when absent. */
  readonly create?: boolean;
  /** Id of 16 bytes for a new store; random when absent. */
  readonly newId?: Uint8Array;
}

const repairDamage = ({ repair }: OpenedFolder): readonly StoreDamage[] =>
  repair === undefined
    ? []
    : [
        {
          kind: 'image',
          where: `database repaired (${repair.reason}); damaged files kept in ${repair.copy}`,
          count: 1,
        },
      ];

/**
 * Opens the replica of a folder: the database in `store/`, the marker in the file `marker`. A damaged
 * database is copied aside before it is repaired; `store.damage` tells so, with counts.
 *
 * Rejects with `store-missing`, `storage-damaged`, `folder-in-use`, `newer-format`, `storage-unavailable`:
 * files were left as they were.
 */
export const openReplicaFolder = async (
  path: string,
  options: OpenReplicaFolderOptions,
): Promise<OpenReplica> => {
  const { hash, create, newId } = options;
  const marker = fileMarker(join(path, 'marker'));
  const found = await findMarker(marker, hash);
  const folder: DatabaseFolderOptions = {
    location: join(path, 'store'),
    kind: 'replica',
    format: replicaStoreFormat,
    expectedId: found.content?.storeId,
    repairWanted: found.content?.repairWanted === true,
    writeBufferSize: replicaBufferBytes,
    ...(create === undefined ? {} : { create }),
    ...(newId === undefined ? {} : { newId }),
  };
  return openChecked(folder, { marker, hash, found });
};

interface MarkerParts {
  readonly marker: ReturnType<typeof fileMarker>;
  readonly hash: Hash;
  readonly found: FoundMarker;
}

/** Opens and checks; damage that only the check reaches is repaired once, as damage at open is. */
const openChecked = async (
  folder: DatabaseFolderOptions,
  parts: MarkerParts,
): Promise<OpenReplica> => {
  const opened = await openDatabaseFolder(folder);
  try {
    return await assembleReplica({ ...parts, opened, damage: repairDamage(opened) });
  } catch (error) {
    await opened.database.close().catch(() => undefined);
    if (opened.repair !== undefined || !isCorruption(error)) throw error;
    return openChecked({ ...folder, repairWanted: true }, parts);
  }
};
