import type { AbortSignalLike, Clock, Timer } from '@tidemark/ports';

/** Rounds without anything to wait for after which an unfinished promise counts as stuck. */
const idleRoundsMax = 50;

interface Sleeper {
  readonly dueMs: number;
  readonly order: number;
  readonly wake: () => void;
}

/**
 * Clock and timer whose time moves only when the whole process has nothing else to do. Stores in memory
 * work in microtasks and next ticks, so one turn of the event loop ends everything that can go on.
 */
export class VirtualTime {
  nowMs: number;
  readonly #sleepers: Sleeper[] = [];
  #order = 0;

  constructor(startMs: number) {
    this.nowMs = startMs;
  }

  /** Clock that is `offsetMs` ahead. */
  clock(offsetMs = 0): Clock {
    return { nowMs: () => this.nowMs + offsetMs };
  }

  readonly timer: Timer = {
    sleep: (ms: number, signal?: AbortSignalLike) =>
      new Promise<void>((resolve) => {
        if (signal?.aborted === true) return resolve();
        this.#order += 1;
        const wake = (): void => {
          signal?.removeEventListener('abort', wake);
          const at = this.#sleepers.indexOf(sleeper);
          if (at >= 0) this.#sleepers.splice(at, 1);
          resolve();
        };
        const sleeper = { dueMs: this.nowMs + ms, order: this.#order, wake };
        this.#sleepers.push(sleeper);
        signal?.addEventListener('abort', wake);
      }),
  };

  /** Lets everything go on that needs no time. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Waits for a promise; moves time to the next sleeper whenever nothing else goes on. */
  async run<A>(work: Promise<A>): Promise<A> {
    let isOver = false;
    const end = (): void => {
      isOver = true;
    };
    work.then(end, end);
    for (let idle = 0; ;) {
      await this.settle();
      if (isOver) return work;
      const next = this.#next();
      if (next === undefined) {
        idle += 1;
        if (idle > idleRoundsMax) throw new Error('the history is stuck: nothing is under way');
        continue;
      }
      idle = 0;
      this.nowMs = Math.max(this.nowMs, next.dueMs);
      next.wake();
    }
  }

  #next(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const one of this.#sleepers)
      if (
        first === undefined ||
        one.dueMs < first.dueMs ||
        (one.dueMs === first.dueMs && one.order < first.order)
      )
        first = one;
    return first;
  }
}
