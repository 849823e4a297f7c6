import { TidemarkError, type Recovery } from '@tidemark/model';
import type { InputPosition, Timer } from '@tidemark/ports';
import type { AppliedWindow, Fold } from '../fold/fold.js';
import type { FoldState } from '../fold/fold-state.js';
import { AbortSource } from './abort-source.js';

/** Longest pause before the fold is tried again after a failure that may pass, ms. */
export const foldRetryMsMax = 30_000;
const foldRetryMsFirst = 100;

/** Recoveries after which trying again cannot help: the fold halts and says so. */
const halting: readonly Recovery[] = ['ask-operator', 'upgrade', 'quarantine'];

/** Drives a fold: the only caller of `advance`. */
export interface FoldDriver {
  /** Tells that the input grew. */
  readonly nudge: () => void;
  /** Resolves once `done` holds, checked after each window; rejects when the fold halts or is stopped. */
  readonly until: (done: () => boolean) => Promise<void>;
  /** Like `until`, but resolves false after `ms`. */
  readonly within: (ms: number, done: () => boolean) => Promise<boolean>;
  /** Gives what tells whether the fold was at the end of the input in a look that began after the call. */
  readonly nextLook: () => () => boolean;
  readonly failure: () => TidemarkError | undefined;
  /** True once the fold has been at the end of the input since it is driven. */
  readonly hasCaughtUp: () => boolean;
  /** Halts the fold for a reason of its owner; resolves when no window is under way. */
  readonly halt: (error: TidemarkError) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Tells whether a position of the input is applied in a state. */
export const isApplied = (state: FoldState, position: InputPosition): boolean =>
  state.position.generation > position.generation ||
  (state.position.generation === position.generation && state.position.seq >= position.seq);

const asError = (cause: unknown): TidemarkError =>
  cause instanceof TidemarkError
    ? cause
    : new TidemarkError('storage-unavailable', 'the fold failed', {}, cause);

interface Waiter {
  readonly done: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: TidemarkError) => void;
}

/** Starts to drive a fold. `onFailure` is told of each failure, `halted` when no retry will follow. */
export const startFoldDriver = (
  fold: Pick<Fold, 'advance' | 'onApplied'>,
  timer: Timer,
  onFailure: (error: TidemarkError, halted: boolean) => void,
): FoldDriver => {
  const waiters = new Set<Waiter>();
  const stopped = new AbortSource();
  let wanted = false;
  let running: Promise<void> | null = null;
  let failure: TidemarkError | undefined;
  let halted = false;
  let caughtUp = false;
  let looksBegun = 0;
  /** Newest look that came to the end of the input. */
  let lookEnded = 0;

  const settle = (): void => {
    for (const waiter of [...waiters]) {
      if (!waiter.done()) continue;
      waiters.delete(waiter);
      waiter.resolve();
    }
  };
  const rejectAll = (error: TidemarkError): void => {
    for (const waiter of [...waiters]) {
      waiters.delete(waiter);
      waiter.reject(error);
    }
  };
  const stopListening = fold.onApplied((_window: AppliedWindow) => settle());

  const run = async (): Promise<void> => {
    let pauseMs = foldRetryMsFirst;
    while (wanted && !stopped.aborted && !halted) {
      wanted = false;
      looksBegun += 1;
      try {
        await fold.advance({ signal: stopped });
        caughtUp ||= !stopped.aborted;
        lookEnded = looksBegun;
        failure = undefined;
        pauseMs = foldRetryMsFirst;
        settle();
      } catch (cause) {
        if (stopped.aborted) return;
        failure = asError(cause);
        halted = !(cause instanceof TidemarkError) || halting.includes(failure.recovery);
        onFailure(failure, halted);
        if (halted) return rejectAll(failure);
        wanted = true;
        await timer.sleep(pauseMs, stopped);
        pauseMs = Math.min(2 * pauseMs, foldRetryMsMax);
      }
    }
  };
  const nudge = (): void => {
    wanted = true;
    if (running !== null || halted || stopped.aborted) return;
    running = run().finally(() => {
      running = null;
      // A nudge between the loop's last look and its end must not be lost.
      if (wanted) nudge();
    });
  };
  const until = (done: () => boolean): Promise<void> => {
    if (done()) return Promise.resolve();
    if (halted && failure !== undefined) return Promise.reject(failure);
    if (stopped.aborted)
      return Promise.reject(new TidemarkError('unreachable', 'the server is closed'));
    return new Promise((resolve, reject) => {
      waiters.add({ done, resolve, reject });
    });
  };
  return {
    nudge,
    until,
    within: async (ms, done) => {
      const over = new AbortSource();
      let late = false;
      const sleeping = timer.sleep(ms, over).then(() => {
        late = true;
        settle();
      });
      try {
        await until(() => late || done());
      } finally {
        over.abort();
        await sleeping;
      }
      return done();
    },
    nextLook: () => {
      const before = looksBegun;
      return () => lookEnded > before;
    },
    failure: () => failure,
    hasCaughtUp: () => caughtUp,
    halt: async (error) => {
      if (halted || stopped.aborted) return;
      failure = error;
      halted = true;
      stopped.abort();
      rejectAll(error);
      await running;
      onFailure(error, true);
    },
    stop: async () => {
      stopped.abort();
      rejectAll(new TidemarkError('unreachable', 'the server is closed'));
      await running;
      stopListening();
    },
  };
};
