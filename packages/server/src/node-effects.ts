import { randomBytes } from 'node:crypto';
import type { Clock, Entropy, Timer } from '@tidemark/ports';

/** Wall clock of the machine. */
export const systemClock: Clock = { nowMs: () => Date.now() };

/** Random bytes of the operating system. */
export const systemEntropy: Entropy = { bytes: (count) => new Uint8Array(randomBytes(count)) };

const timerOf = (keepsAlive: boolean): Timer => ({
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const end = (): void => {
        clearTimeout(handle);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const handle = setTimeout(end, ms);
      if (!keepsAlive) handle.unref();
      signal?.addEventListener('abort', end);
    }),
});

/** Timers of Node; they do not keep the process alive. */
export const nodeTimer: Timer = timerOf(false);

/** Timers that keep the process alive: somebody waits for them, such as a replica in this process. */
export const waitingTimer: Timer = timerOf(true);
