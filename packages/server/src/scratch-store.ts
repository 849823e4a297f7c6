import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Hash } from '@tidemark/model';
import { openStoreFolder } from '@tidemark/store-level/node';
import type { ServerStore } from '@tidemark/ports';

/** Opens an empty store in a folder of its own beside a server's, which is removed with it. */
export const openScratchStore = async (
  folder: string,
  hash: Hash,
): Promise<{ readonly store: ServerStore; readonly dispose: () => Promise<void> }> => {
  const place = await mkdtemp(path.join(folder, 'refold-'));
  const store = await openStoreFolder(place, { hash });
  return {
    store,
    dispose: async () => {
      await store.close();
      await rm(place, { recursive: true, force: true });
    },
  };
};
