import { TidemarkError } from '@tidemark/model';
import type { InputPosition } from '@tidemark/ports';
import type { Fold } from '../fold/fold.js';
import { AbortSource } from './abort-source.js';
import type { AppliedStore } from './applied-store.js';
import { leftOverFrom } from './bring-back.js';
import { createDigestWatch, type Refolded } from './digest-watch.js';
import { comparePositions, placeEveryMs, standOf, type Fellows } from './fellows.js';
import type { FoldDriver } from './fold-driver.js';
import type { MergerOptions } from './merger-options.js';
import { refold } from './refold.js';
import type { ServerEvent } from './server-event.js';

/** What a server does among others works with. */
export interface FellowshipParts {
  readonly options: MergerOptions;
  readonly fellows: Fellows;
  readonly applied: AppliedStore;
  readonly fold: Fold;
  readonly driver: FoldDriver;
  readonly emit: (event: ServerEvent) => void;
}

/** What a server does among others: it tells its place, compares digests, looks when others miss input. */
export interface Fellowship {
  /** Resolves when nothing is under way. */
  readonly stop: () => Promise<void>;
}

/**
 * Place before the earlier one of a position and the places of all servers that are counted on. The message at which
 * one stands is kept: where the input lost it and gave its number away, nothing else shows that.
 */
export const neededByNobody = (fellows: Fellows, position: InputPosition): InputPosition => {
  let oldest = position;
  for (const word of fellows.places())
    if (comparePositions(word.position, oldest) < 0) oldest = word.position;
  return { generation: oldest.generation, seq: Math.max(0, oldest.seq - 1) };
};

const refoldWith = async (
  { options, applied, fold, driver }: FellowshipParts,
  upTo: InputPosition,
  stopped: AbortSource,
): Promise<Refolded | undefined> => {
  if (options.scratch === undefined) return undefined;
  const scratch = await options.scratch();
  try {
    const state = await refold(
      {
        tenant: options.tenant,
        hash: options.crypto.sha256,
        input: options.input,
        checkpoints: options.checkpoints?.folder,
        fold: options,
        signal: stopped,
      },
      scratch,
      upTo,
    );
    // Of other input another state is right, and this one is the proof that input was lost: it is kept.
    await fold.check().catch(async (cause: unknown) => {
      if (cause instanceof TidemarkError && cause.code === 'input-mismatch')
        await driver.halt(cause);
      throw cause;
    });
    if (state === undefined) {
      await scratch.dispose();
      return undefined;
    }
    return {
      digest: state.digest,
      replace: async () => {
        const error = new TidemarkError('state-differs', 'the state is not that of the input', {
          n: state.n,
        });
        await driver.halt(error);
        await applied.reload(scratch.store.dump());
      },
      dispose: scratch.dispose,
    };
  } catch (cause) {
    await scratch.dispose();
    throw cause;
  }
};

/** Begins to be a server among others. */
export const joinFellows = (parts: FellowshipParts): Fellowship => {
  const { fellows, applied, fold, driver, emit, options } = parts;
  const stopped = new AbortSource();
  const watch = createDigestWatch({
    fellows,
    applied: applied.applied,
    refold: (upTo) => refoldWith(parts, upTo, stopped),
    emit,
    diverged: ({ generation, seq }) =>
      driver.halt(
        new TidemarkError('fold-diverged', 'servers come to different states from one input', {
          generation,
          seq,
        }),
      ),
  });
  const stopListening = fold.onApplied(({ state }) => watch.note(state));
  const stopHearing = fellows.onWord((word) => {
    // Another server misses input: this one may, too, and must not hear of it last.
    if (word.kind === 'stand') driver.nudge();
  });
  const sayPlace = async (): Promise<void> => {
    const stand = standOf(applied.applied());
    fellows.say('place', stand);
    // What is still to be brought back must not be trimmed by others.
    const left = await leftOverFrom(applied.store).catch(() => undefined);
    if (left !== undefined) fellows.say('stand', { ...stand, position: left });
  };
  const tell = async (): Promise<void> => {
    while (!stopped.aborted) {
      // A server that stands still for good must not hold the others' input back.
      if (driver.failure() === undefined) await sayPlace();
      await options.timer.sleep(placeEveryMs, stopped);
    }
  };
  watch.note(applied.applied());
  const telling = tell();
  return {
    stop: async () => {
      stopped.abort();
      stopListening();
      stopHearing();
      await watch.stop();
      await telling;
    },
  };
};
