import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TidemarkError } from '@tidemark/model';
import { ClassicLevel } from 'classic-level';
import { holdFolder } from './held-folders.js';
import { storageError } from './storage-error.js';

/**
 * Holds the store of a server's folder against everybody else, without reading it; resolves with the way to
 * let go. A store that is not there or damaged is held against this process only. Rejects with `folder-in-use`.
 */
export const holdStoreFolder = async (path: string): Promise<() => Promise<void>> => {
  const location = join(path, 'store');
  const hold = await holdFolder(location);
  // LevelDB takes a folder without a good CURRENT for an empty one and deletes its files.
  const head = await readFile(join(location, 'CURRENT'), 'latin1').catch(() => '');
  const manifest = await readFile(join(location, head.trim())).catch(() => undefined);
  if (!/^MANIFEST-\d+\n$/.test(head) || manifest === undefined || manifest.length === 0)
    return () => {
      hold.release();
      return Promise.resolve();
    };
  const database = new ClassicLevel<Uint8Array, Uint8Array>(location, { createIfMissing: false });
  try {
    await database.open();
  } catch (error) {
    const failure = storageError(error);
    if (failure instanceof TidemarkError && failure.code === 'folder-in-use') {
      hold.release();
      throw failure;
    }
  }
  return async () => {
    await database.close().catch(() => undefined);
    hold.release();
  };
};
