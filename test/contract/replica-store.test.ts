import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Marker } from '@tidemark/ports';
import { openReplicaStore } from '@tidemark/store-level';
import { openReplicaFolder } from '@tidemark/store-level/node';
import { registerReplicaStoreContract } from '@tidemark/testkit';
import { MemoryLevel } from 'memory-level';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

const memoryMarker = (): Marker => {
  let kept: Uint8Array | undefined;
  return {
    read: () => Promise.resolve(kept),
    write: (bytes) => {
      kept = bytes;
      return Promise.resolve();
    },
  };
};

registerReplicaStoreContract('classic-level', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-store-'));
  return {
    open: () => openReplicaFolder(folder, { hash }),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
});

registerReplicaStoreContract('memory-level', () => {
  // The tree of a MemoryLevel outlives its closing: opening the same instance again finds the data.
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
    storeEncoding: 'view',
  });
  const marker = memoryMarker();
  return Promise.resolve({
    open: () => openReplicaStore({ database, marker, hash }),
    dispose: () => Promise.resolve(),
  });
});
