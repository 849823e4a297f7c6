import { ClassicLevel } from 'classic-level';

/** One of so many lives is killed in a storage call. */
export const inCallEvery = 3;
/** Greatest number of a storage call that a life is killed in. */
export const storageCallsMax = 100;
/** Steps between the calls of two lives: all come in turn, and a short campaign meets early and late ones. */
const callStride = 37;

/** Number of the storage call that the `life`-th life of this kind is killed in, counted from 0. */
export const callOfLife = (life: number): number => 1 + ((life * callStride) % storageCallsMax);

/** Calls of LevelDB behind which a process may die. */
const calls = ['_open', '_close', '_batch', '_get', '_getMany'] as const;

type Call = (this: unknown, ...args: unknown[]) => Promise<unknown>;
interface Batch {
  _write: Call;
}
type Patched = Record<(typeof calls)[number], Call> & {
  _chainedBatch: (this: unknown) => Batch;
};

const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  // The signal ends the process before anything else runs.
  for (;;);
};

/**
 * Kills this process with its storage call number `at`, counted from 1: an odd one before LevelDB hears of
 * it, an even one when LevelDB is done with it and nobody was told. 0: never.
 */
export const dieAtStorageCall = (at: number): void => {
  if (at <= 0) return;
  let count = 0;
  const dying = (call: Call): Call =>
    async function counted(this: unknown, ...args) {
      count += 1;
      const isLast = count === at;
      if (isLast && at % 2 === 1) die();
      const result = await call.apply(this, args);
      if (isLast) die();
      return result;
    };
  const prototype = ClassicLevel.prototype as unknown as Patched;
  for (const name of calls) prototype[name] = dying(prototype[name]);
  const chained = prototype._chainedBatch;
  prototype._chainedBatch = function batchOf(this: unknown) {
    const batch = chained.call(this);
    batch._write = dying(batch._write);
    return batch;
  };
};
