import { createHash, createHmac } from 'node:crypto';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import type { Crypto, FieldCrdt, Marker } from '@tidemark/ports';
import { MemoryLevel } from 'memory-level';

/** Hashes of the platform. */
export const crypto: Crypto = {
  sha256: (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest()),
  hmacSha256: (key, bytes) => new Uint8Array(createHmac('sha256', key).update(bytes).digest()),
};

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
