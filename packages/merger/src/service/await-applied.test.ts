import type { Timer } from '@tidemark/ports';
import { expect, test } from 'vitest';
import type { FoldState } from '../fold/fold-state.js';
import { emptyFoldState } from '../fold/fold-state.js';
import { awaitApplied, awaitEnd } from './await-applied.js';
import { startFoldDriver } from './fold-driver.js';

const timer: Timer = { sleep: () => Promise.reject(new Error('nothing fails here')) };

/** An input whose last messages are gone when it is looked at again, and a fold that stands before them. */
const losing = (ends: readonly number[]) => {
  const state: FoldState = { ...emptyFoldState('acme'), position: { generation: 1, seq: 4 } };
  let looks = 0;
  const advance = async (): Promise<FoldState> => {
    looks += 1;
    await Promise.resolve();
    return state;
  };
  const driver = startFoldDriver(
    { advance, onApplied: () => () => undefined },
    timer,
    () => undefined,
  );
  let asked = 0;
  const extent = () => {
    const last = ends[Math.min(asked, ends.length - 1)] as number;
    asked += 1;
    return Promise.resolve({ generation: 1, first: 1, last });
  };
  return {
    wait: { input: { extent }, applied: { applied: () => state }, driver },
    looks: () => looks,
  };
};

test('[SRV-97] who waits for the end of an input waits no longer for what it lost', async () => {
  const { wait, looks } = losing([5, 4]);
  expect(await awaitEnd(wait)).toMatchObject({ position: { generation: 1, seq: 4 } });
  expect(looks()).toBeLessThan(4);
});

test('[SRV-97] a lost message is found out by looks that nobody else asked for', async () => {
  const { wait, looks } = losing([5, 5, 4]);
  expect(await awaitApplied(wait, { generation: 1, seq: 5 })).toBe(false);
  expect(looks()).toBeLessThan(6);
  expect(await awaitApplied(wait, { generation: 1, seq: 4 })).toBe(true);
});
