import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openServerStore } from '@tidemark/store-level';
import { openServerFolder } from '@tidemark/store-level/node';
import { registerServerStoreContract } from '@tidemark/testkit';
import { MemoryLevel } from 'memory-level';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());
const clock = { nowMs: () => 1_000 };

registerServerStoreContract('classic-level', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-server-'));
  return {
    open: async () => {
      const { store, input } = await openServerFolder(folder, { hash, clock });
      return {
        ...store,
        close: async () => {
          await store.close();
          await input.close();
        },
      };
    },
    dispose: () => rm(folder, { recursive: true }),
  };
});

registerServerStoreContract('memory-level', () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  let bytes: Uint8Array | undefined;
  const marker = {
    read: () => Promise.resolve(bytes),
    write: (next: Uint8Array) => {
      bytes = next;
      return Promise.resolve();
    },
  };
  return Promise.resolve({
    open: () => openServerStore({ database, marker, hash }),
    dispose: () => Promise.resolve(),
  });
});
