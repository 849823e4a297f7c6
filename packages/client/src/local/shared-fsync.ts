import { TidemarkError } from '@tidemark/model';
import type { Clock, ReplicaStore } from '@tidemark/ports';
import type { WriteTurn } from './write-turn.js';

/** Most turns of other edits that an fsync lets go first, so that they share it. */
export const turnsBeforeFsyncMax = 256;
/** Longest time (ms) that an fsync waits for the turns of other edits; it ends with the turn that exceeds it. */
export const fsyncDelayMsMax = 20;

/** Edits that wait for one fsync. */
interface Group {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
  readonly sinceMs: number;
  /** Damage that was known when the first of them was written. */
  readonly damages: number;
  /** Where the log ended behind the newest of them. */
  lastIndex: number;
  turns: number;
}

/**
 * SharedFsync lets edits at `disk` share fsyncs: they are written in their turns like those at `os`, and
 * wait outside of them. One fsync is under way at most; the next one covers all that were written before it
 * begins. LevelDB lets no write pass an fsync, so it begins when no other edit has the turn, or by its bounds.
 */
export class SharedFsync {
  readonly #store: ReplicaStore;
  readonly #turn: WriteTurn;
  readonly #clock: Clock;
  #next: Group | undefined;
  #running: Promise<void> | undefined;

  constructor(store: ReplicaStore, turn: WriteTurn, clock: Clock) {
    this.#store = store;
    this.#turn = turn;
    this.#clock = clock;
    turn.onPassed = () => this.#passed();
  }

  /**
   * Takes part in the next fsync. Only the holder of the write turn calls it, when its edit is written or
   * had nothing to write. The promise resolves when all that is written is fsynced; it rejects with the store's error
   * when the fsync fails, and with `storage-unavailable` when the store lost the edit before.
   */
  join(): Promise<void> {
    const { damage, log } = this.#store;
    this.#next ??= newGroup(this.#clock.nowMs(), damage.length);
    this.#next.lastIndex = log.end().lastIndex;
    return this.#next.done;
  }

  /** Counts edits that shared a turn with another one as turns of their own. */
  countTurns(count: number): void {
    if (this.#next !== undefined) this.#next.turns += count;
  }

  /** Resolves when no edit waits for an fsync, whether theirs worked or not. */
  async settled(): Promise<void> {
    for (;;) {
      if (this.#running === undefined) this.#start();
      if (this.#running === undefined) return;
      await this.#running;
    }
  }

  #passed(): void {
    if (this.#next === undefined) return;
    this.#next.turns += 1;
    this.#begin();
  }

  #begin(): void {
    if (this.#running !== undefined || this.#next === undefined) return;
    const { turns, sinceMs } = this.#next;
    const mayWait =
      turns < turnsBeforeFsyncMax && Math.abs(this.#clock.nowMs() - sinceMs) <= fsyncDelayMsMax;
    if (!mayWait || this.#turn.holder !== 'short') this.#start();
  }

  #start(): void {
    const group = this.#next;
    if (group === undefined) return;
    this.#next = undefined;
    this.#running = this.#sync(group).then(() => {
      this.#running = undefined;
      this.#begin();
    });
  }

  async #sync({ lastIndex, damages, resolve, reject }: Group): Promise<void> {
    const store = this.#store;
    try {
      await store.sync();
      // Behind a write that failed the database is opened again, which may find that less was kept.
      if (store.log.end().lastIndex < lastIndex || store.damage.length > damages)
        throw new TidemarkError('storage-unavailable', 'the edit was lost before its fsync', {
          operation: lastIndex,
        });
      resolve();
    } catch (cause) {
      reject(cause);
    }
  }
}

const newGroup = (sinceMs: number, damages: number): Group => {
  let resolve: () => void = () => undefined;
  let reject: (cause: unknown) => void = () => undefined;
  const done = new Promise<void>((...both) => {
    [resolve, reject] = both;
  });
  return { done, resolve, reject, sinceMs, damages, lastIndex: 0, turns: 0 };
};
