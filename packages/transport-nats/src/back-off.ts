import type { Entropy } from '@tidemark/ports';

/** First pause before a lost connection is dialled again, ms; each further one doubles. */
export const dialPauseMsFirst = 100;
/** Longest pause before a lost connection is dialled again, ms. */
export const dialPauseMsMax = 5_000;

/**
 * Pause before the next try in ms: doubles with each failure, and is drawn from its upper half, so that
 * devices that lost a server together do not come back together.
 */
export const dialPauseMs = (failures: number, entropy: Entropy): number => {
  if (failures < 1) return 0;
  const full = Math.min(dialPauseMsMax, dialPauseMsFirst * 2 ** Math.min(failures - 1, 20));
  const [high = 0, low = 0] = entropy.bytes(2);
  return Math.round(full * (0.5 + (high * 256 + low) / 131_072));
};
