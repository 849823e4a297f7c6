import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { TidemarkError } from '@tidemark/model';

/** Folders whose databases this process has open. */
const held = new Set<string>();

const realPathOf = async (path: string): Promise<string> => {
  try {
    return await realpath(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(await realPathOf(parent), basename(path));
  }
};

/** Hold on a folder; `take` and `release` may be called again and again. */
export interface FolderHold {
  readonly take: () => void;
  readonly release: () => void;
}

/**
 * Holds a folder for a database of this process. A second try must not reach LevelDB: it would open and
 * close the lock file, and on POSIX systems any close in a process ends the lock that keeps other
 * processes out.
 *
 * Rejects with `folder-in-use`.
 */
export const holdFolder = async (location: string): Promise<FolderHold> => {
  const path = await realPathOf(resolve(location));
  if (held.has(path))
    throw new TidemarkError('folder-in-use', 'the database is open in this process');
  held.add(path);
  return {
    take: () => held.add(path),
    release: () => held.delete(path),
  };
};
