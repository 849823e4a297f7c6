import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto as crypto } from '@tidemark/crypto-node';
import type { FieldCrdt, Marker } from '@tidemark/ports';
import { MemoryLevel } from 'memory-level';

export { crypto };

let loading: Promise<FieldCrdt> | undefined;

/** The real CRDT, loaded once per process. */
export const crdt = (): Promise<FieldCrdt> =>
  (loading ??= loadAutomergeCrdt({ hash: crypto.sha256 }));

export type MemoryDatabase = MemoryLevel<Uint8Array, Uint8Array>;

/** Empty database in memory; what it holds outlives closing. */
export const memoryDatabase = (): MemoryDatabase =>
  new MemoryLevel({ keyEncoding: 'view', valueEncoding: 'view', storeEncoding: 'view' });

/** Marker in memory. */
export const memoryMarker = (): Marker => {
  let bytes: Uint8Array | undefined;
  return {
    read: () => Promise.resolve(bytes),
    write: (next) => {
      bytes = next;
      return Promise.resolve();
    },
  };
};
