import type { Entropy } from '@tidemark/ports';

/** First pause after a failure in ms; each further one doubles. */
export const retryBaseMs = 200;
/** Longest pause within a run in ms. */
export const retryPauseMsMax = 30_000;
/** Longest pause of a live replica between failed runs in ms. */
export const livePauseMsMax = 300_000;

/**
 * Pause before the next attempt in ms: doubles with each attempt up to `max`, and is drawn from its upper
 * half so that replicas that failed together do not come back together.
 */
export const backOffMs = (attempt: number, max: number, entropy: Entropy): number => {
  const full = Math.min(max, retryBaseMs * 2 ** Math.min(attempt - 1, 30));
  const [high, low] = entropy.bytes(2);
  const chance = ((high ?? 0) * 256 + (low ?? 0)) / 65_536;
  return Math.round(full * (0.5 + chance / 2));
};
