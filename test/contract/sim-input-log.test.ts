import { registerInputLogContract } from '@tidemark/testkit';
import { describe, expect, test } from 'vitest';
import { crypto } from '../convergence/memory-parts.js';
import { SeededRandom } from '../convergence/seeded-random.js';
import { SimContext } from '../simulation/context.js';
import { Life, Scheduler } from '../simulation/scheduler.js';
import { dedupeWindowMs, SimInputLog, SimStream } from '../simulation/sim-stream.js';

const freeScheduler = (): Scheduler => {
  const scheduler = new Scheduler(SimContext.startMs, new SeededRandom(1));
  scheduler.runFreely();
  return scheduler;
};

describe('[SIM-11] the simulated stream keeps the rules of an input log', () => {
  registerInputLogContract('SimStream', () => {
    const scheduler = freeScheduler();
    const stream = new SimStream(scheduler);
    let ids = 0;
    return Promise.resolve({
      open: () =>
        Promise.resolve(
          new SimInputLog({
            stream,
            life: new Life('suite', scheduler),
            random: new SeededRandom(2),
            hash: crypto.sha256,
            newId: () => String((ids += 1)),
          }),
        ),
      dispose: () => Promise.resolve(),
    });
  });

  test('[SIM-11] it stores an id once within its window, refuses what is too much, and loses tails silently', () => {
    const scheduler = freeScheduler();
    const stream = new SimStream(scheduler, 10);
    const bytes = Uint8Array.of(1, 2, 3);
    expect(stream.offer('a', bytes)).toMatchObject({ tag: 'stored', isDuplicate: false });
    expect(stream.offer('a', bytes)).toMatchObject({ tag: 'stored', isDuplicate: true });
    expect(stream.extent().last).toBe(1);
    scheduler.nowMs += dedupeWindowMs + 1;
    expect(stream.offer('a', bytes)).toMatchObject({ isDuplicate: false });
    expect(stream.offer('b', bytes, 7)).toEqual({ tag: 'elsewhere' });
    expect(stream.offer('b', bytes)).toMatchObject({ position: { generation: 1, seq: 3 } });
    expect(stream.offer('c', bytes)).toEqual({ tag: 'full' });
    expect(stream.loseTail(2)).toBe(2);
    expect(stream.offer('b', Uint8Array.of(9))).toMatchObject({ position: { seq: 2 } });
    stream.remove();
    expect(stream.offer('d', bytes)).toEqual({ tag: 'missing' });
  });
});
