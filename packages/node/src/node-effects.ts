import { createHash, createHmac, randomBytes } from 'node:crypto';
import type { AbortSignalLike, Clock, Crypto, Entropy, Timer } from '@tidemark/ports';

/** Clock of the operating system. */
export const systemClock: Clock = { nowMs: () => Date.now() };

/** Random bytes of the operating system. */
export const systemEntropy: Entropy = { bytes: (count) => new Uint8Array(randomBytes(count)) };

/** Timer of the event loop. A sleep keeps the process alive until it ends or is aborted. */
export const systemTimer: Timer = {
  sleep: (ms, signal?: AbortSignalLike) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const end = (): void => {
        clearTimeout(handle);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const handle = setTimeout(end, ms);
      signal?.addEventListener('abort', end);
    }),
};

/** Hashes of Node. */
export const nodeCrypto: Crypto = {
  sha256: (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest()),
  hmacSha256: (key, bytes) => new Uint8Array(createHmac('sha256', key).update(bytes).digest()),
};
