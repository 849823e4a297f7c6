import type { InputLog, InputPosition } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';
import type { AppliedStore } from './applied-store.js';
import { isApplied, type FoldDriver } from './fold-driver.js';

/** What it takes to wait for the fold. */
export interface FoldWait {
  readonly input: Pick<InputLog, 'extent'>;
  readonly applied: Pick<AppliedStore, 'applied'>;
  readonly driver: Pick<FoldDriver, 'nudge' | 'until' | 'nextLook'>;
}

/**
 * Waits until the message of a place is applied. Resolves false when the input does not hold it any more, though
 * the fold never stood behind it: a stream may lose its end. Rejects as `FoldDriver.until`.
 */
export const awaitApplied = async (wait: FoldWait, position: InputPosition): Promise<boolean> => {
  const { input, applied, driver } = wait;
  const isThere = (): boolean => isApplied(applied.applied(), position);
  for (;;) {
    const hasLooked = driver.nextLook();
    // Behind `nextLook`: the look that this begins is the one to wait for.
    driver.nudge();
    await driver.until(() => isThere() || hasLooked());
    if (isThere()) return true;
    // The fold was at the end of the input and did not come by.
    const { generation, last } = await input.extent();
    const isLost =
      generation < position.generation ||
      (generation === position.generation && last < position.seq);
    if (isLost) return isThere();
  }
};

/** Resolves when everything that the input holds at the call is applied, but for what it loses meanwhile. */
export const awaitEnd = async (wait: FoldWait): Promise<FoldState> => {
  for (;;) {
    const { generation, last } = await wait.input.extent();
    if (await awaitApplied(wait, { generation, seq: last })) return wait.applied.applied();
  }
};
