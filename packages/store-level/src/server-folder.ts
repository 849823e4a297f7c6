import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { TidemarkError, type Hash } from '@tidemark/model';
import type { Clock, InputLog, ServerStore, StoreDamage } from '@tidemark/ports';
import { damagedCopiesMax, openDatabaseFolder, type OpenedFolder } from './database-folder.js';
import { fileMarker } from './file-marker.js';
import { createInputLog, inputLogFormat } from './input-log.js';
import type { StoreKind } from './open-database.js';
import { openMarker, type OpenMarker } from './server-marker.js';
import { createServerStore, serverStoreFormat } from './server-store.js';
import { storageError } from './storage-error.js';

/** Write buffer of the store: 64 MB halves the cost of random keys (measured). */
export const storeBufferBytes = 64 * 1024 * 1024;
/** Write buffer of the input: its keys ascend, so more would only lengthen recovery. */
export const inputBufferBytes = 16 * 1024 * 1024;

/** Options of `openServerFolder`. */
export interface ServerFolderOptions {
  readonly hash: Hash;
  readonly clock: Clock;
  /**
   * What to do when the input is lost or beyond repair: `refuse` (default) rejects and touches nothing,
   * `set-aside` renames what is left of it and opens an empty input, which `damage` tells.
   */
  readonly lostInput?: 'refuse' | 'set-aside';
}

/** Folder of a server: its store and its input log. */
export interface ServerFolder {
  readonly store: ServerStore;
  readonly input: InputLog;
  /** Closes both. */
  readonly close: () => Promise<void>;
}

/**
 * Opens the folder of a server: the databases `store` and `input` with their markers beside them.
 *
 * The store is a fold of the input, so when it is lost or beyond repair it is set aside under another
 * name and an empty one opened; its `damage` tells so. A lost input is refused unless `lostInput` says
 * otherwise. Rejects with `store-missing`, `storage-damaged`, `newer-format`, `folder-in-use`,
 * `storage-unavailable`.
 */
export const openServerFolder = async (
  path: string,
  options: ServerFolderOptions,
): Promise<ServerFolder> => {
  const { hash, clock, lostInput = 'refuse' } = options;
  try {
    await mkdir(path, { recursive: true });
    // The input first: it is the one that may refuse.
    const opened = await openPart(path, 'input', hash, lostInput === 'set-aside');
    const input = await createInputLog({
      ...opened,
      hash,
      clock,
      repaired: opened.repair !== undefined,
    });
    try {
      const store = await createServerStore({
        ...(await openPart(path, 'store', hash, true)),
        hash,
      });
      return {
        store,
        input,
        close: async () => {
          await Promise.all([store.close(), input.close()]);
        },
      };
    } catch (error) {
      await input.close();
      throw error;
    }
  } catch (error) {
    throw storageError(error);
  }
};

/**
 * Opens the store alone of a server's folder, for a server whose input lies elsewhere. A lost store is set
 * aside as `openServerFolder` does. Rejects with `newer-format`, `folder-in-use`, `storage-unavailable`.
 */
export const openStoreFolder = async (
  path: string,
  options: Pick<ServerFolderOptions, 'hash'>,
): Promise<ServerStore> => {
  try {
    await mkdir(path, { recursive: true });
    const opened = await openPart(path, 'store', options.hash, true);
    return await createServerStore({ ...opened, hash: options.hash });
  } catch (error) {
    throw storageError(error);
  }
};

type OpenedPart = OpenedFolder & {
  readonly marker: OpenMarker;
  readonly damage: readonly StoreDamage[];
};

const openPart = async (
  path: string,
  part: 'store' | 'input',
  hash: Hash,
  mayStartOver: boolean,
): Promise<OpenedPart> => {
  const raw = fileMarker(join(path, `${part}.marker`));
  const marker = await openMarker(raw, hash);
  const kind: StoreKind = part === 'store' ? 'server' : 'input';
  const folder = {
    location: join(path, part),
    kind,
    format: part === 'store' ? serverStoreFormat : inputLogFormat,
    writeBufferSize: part === 'store' ? storeBufferBytes : inputBufferBytes,
  };
  const damageKind = part === 'store' ? 'server' : 'log-hole';
  try {
    const opened = await openDatabaseFolder({
      ...folder,
      expectedId: marker.expectedId,
      repairWanted: marker.repairWanted,
      create: !marker.existed,
    });
    const { repair } = opened;
    const damage: StoreDamage[] =
      repair === undefined
        ? []
        : [
            {
              kind: damageKind,
              where: `repaired: ${repair.reason}; copy ${repair.copy}`,
              count: 1,
            },
          ];
    return { ...opened, marker, damage };
  } catch (error) {
    const lost =
      error instanceof TidemarkError &&
      (error.code === 'storage-damaged' || error.code === 'store-missing');
    if (!lost || !mayStartOver) throw error;
    const copy = await setAside(path, part);
    const opened = await openDatabaseFolder({ ...folder, expectedId: undefined });
    const fresh = await openMarker(
      { read: () => Promise.resolve(undefined), write: raw.write },
      hash,
    );
    return {
      ...opened,
      marker: fresh,
      damage: [{ kind: damageKind, where: `${error.code}: begun anew; ${copy}`, count: 1 }],
    };
  }
};

/** Renames what is left of a database; nothing is ever deleted here. */
const setAside = async (path: string, part: string): Promise<string> => {
  const names = new Set(await readdir(path));
  if (!names.has(part)) return 'nothing was left';
  for (let k = 1; k <= damagedCopiesMax; k += 1) {
    const name = `${part}.damaged-${k}`;
    if (names.has(name)) continue;
    await rename(join(path, part), join(path, name));
    return `set aside as ${name}`;
  }
  throw new TidemarkError('storage-damaged', 'too many copies of damaged databases are kept', {
    copies: damagedCopiesMax,
  });
};
