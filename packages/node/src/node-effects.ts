import { randomBytes } from 'node:crypto';
import type { AbortSignalLike, Clock, Entropy, Timer } from '@tidemark/ports';

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
