import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Marker } from '@tidemark/ports';
import { storageError } from './storage-error.js';

const isMissing = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';

const syncFolder = async (folder: string): Promise<void> => {
  // Windows cannot open a folder for reading; its rename is durable by journal.
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

const replace = async (path: string, bytes: Uint8Array): Promise<void> => {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.new`;
  const handle = await open(temporary, 'w');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
};

/**
 * Keeps a marker in a file: written beside it, fsynced, renamed over it, and the folder fsynced, so that a
 * crash leaves the old bytes or the new ones. Concurrent writes follow each other.
 */
export const fileMarker = (path: string): Marker => {
  let last: Promise<void> = Promise.resolve();
  return {
    read: async () => {
      try {
        return new Uint8Array(await readFile(path));
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw storageError(error);
      }
    },
    write: (bytes) => {
      const done = last
        .catch(() => undefined)
        .then(() => replace(path, bytes))
        .catch((error: unknown) => {
          throw storageError(error);
        });
      last = done;
      return done;
    },
  };
};
