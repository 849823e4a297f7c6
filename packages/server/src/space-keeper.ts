import { TidemarkError } from '@tidemark/model';
import type { ServerEvent } from '@tidemark/merger';
import type { Timer } from '@tidemark/ports';

/** Time between two tries to free the input while an alarm of its space is raised, ms. */
export const freeSpaceMs = 1_000;

/** What freeing the input works with. */
export interface SpaceKeeperOptions {
  readonly timer: Timer;
  /** Writes a checkpoint of everything that is applied: what it holds leaves the input. */
  readonly free: () => Promise<unknown>;
  /** Looks at the space of the input again; an alarm that ended is told by its event. */
  readonly look: () => Promise<unknown>;
  readonly onEvent: (event: ServerEvent) => void;
}

/** Frees the input while an alarm of its space is raised. */
export interface SpaceKeeper {
  /** Takes note of the share that was reached; 0 ends the alarm. */
  readonly note: (alarmPercent: number) => void;
  readonly close: () => Promise<void>;
}

/** Builds a keeper. One checkpoint may not be enough: uploads that waited fill the input again. */
export const createSpaceKeeper = (options: SpaceKeeperOptions): SpaceKeeper => {
  const { timer, free, look, onEvent } = options;
  let alarm = 0;
  let isClosed = false;
  let running: Promise<void> | undefined;
  const run = async (): Promise<void> => {
    while (alarm > 0 && !isClosed) {
      try {
        await free();
        await look();
      } catch (cause) {
        const code = cause instanceof TidemarkError ? cause.code : 'invariant-violation';
        onEvent({ type: 'background-failed', work: 'freeing the input', code });
      }
      if (alarm > 0 && !isClosed) await timer.sleep(freeSpaceMs);
    }
  };
  return {
    note: (alarmPercent) => {
      alarm = alarmPercent;
      if (alarm === 0 || isClosed) return;
      // Later: the event comes from within a look at the input.
      running ??= Promise.resolve()
        .then(run)
        .finally(() => {
          running = undefined;
        });
    },
    close: async () => {
      isClosed = true;
      await running;
    },
  };
};
