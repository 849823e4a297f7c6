import { randomBytes } from 'node:crypto';
import type { Clock, Entropy, Timer } from '@tidemark/ports';

/** Wall clock of the machine. */
export const systemClock: Clock = { nowMs: () => Date.now() };

/** Random bytes of the operating system. */
export const systemEntropy: Entropy = { bytes: (count) => new Uint8Array(randomBytes(count)) };

/** Timers of Node; they do not keep the process alive. */
export const nodeTimer: Timer = {
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const end = (): void => {
        clearTimeout(handle);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const handle = setTimeout(end, ms);
      handle.unref();
      signal?.addEventListener('abort', end);
    }),
};
