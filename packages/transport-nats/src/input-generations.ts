import type { StoredMsg } from '@nats-io/jetstream';
import { TidemarkError, toHex } from '@tidemark/model';
import type { Clock, Entropy, Timer } from '@tidemark/ports';
import { dialPauseMs } from './back-off.js';
import type { SpaceAlarm } from './space-alarm.js';
import type { Offered, StreamExtent, StreamStore } from './stream-store.js';
import { entrySubject } from './subjects.js';

/** Times that one append offers a message whose fate is unknown: within the time that NATS knows its id. */
export const appendTriesMax = 8;
/** Generations that one append or read follows at most. */
export const generationsFollowedMax = 1_000;
/** Time for which a stream that was there may be missing before it counts as lost, ms. */
export const streamMissingMsMax = 3_000;
const idBytes = 12;

/** What generations are followed with. */
export interface InputGenerationsParts {
  readonly streams: StreamStore;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly entropy: Entropy;
  readonly alarm: SpaceAlarm;
}

/** Follows the generations of an input: which one takes messages, and where the others ended. */
export class InputGenerations {
  readonly streams: StreamStore;
  readonly #parts: InputGenerationsParts;
  /** Number of the last message of each generation that is known to have ended. */
  readonly #ends = new Map<number, number>();
  #current: number;
  #missingSinceMs: number | undefined;

  constructor(parts: InputGenerationsParts, current: number) {
    this.#parts = parts;
    this.streams = parts.streams;
    this.#current = current;
  }

  /** Generation that takes messages, as far as it is known here. */
  get current(): number {
    return this.#current;
  }

  /** Number of the last message of a generation that has ended; undefined when that is not known. */
  endOf(generation: number): number | undefined {
    return this.#ends.get(generation);
  }

  /** Remembers where a generation ended. */
  noteEnd(generation: number, last: number): void {
    this.#ends.set(generation, last);
  }

  /** Id of a message that is offered. */
  newId(): string {
    return toHex(this.#parts.entropy.bytes(idBytes));
  }

  /** Extent of the newest generation, after every end that others set was followed. */
  async openExtent(): Promise<StreamExtent> {
    for (let followed = 0; followed < generationsFollowedMax; followed += 1) {
      const extent = await this.streams.extent(this.#current);
      if (extent === undefined) await this.#findAgain();
      else if (extent.end === undefined) {
        this.#missingSinceMs = undefined;
        this.#parts.alarm.note(extent.bytes, extent.bytesMax);
        return extent;
      } else await this.followEnd(this.#current, extent.end);
    }
    throw new TidemarkError('storage-damaged', 'the generations of the input have no end');
  }

  /** The stream is not there: it is believed only after a while, since a starting NATS finds it late. */
  async #findAgain(): Promise<void> {
    const newest = (await this.streams.generations()).at(-1) ?? 0;
    if (newest > this.#current) {
      // Others ended it, and what it held has been removed since.
      this.#current = newest;
      return;
    }
    const nowMs = this.#parts.clock.nowMs();
    this.#missingSinceMs ??= nowMs;
    if (Math.abs(nowMs - this.#missingSinceMs) < streamMissingMsMax)
      throw new TidemarkError('unreachable', 'the stream of the input is missing for now', {
        generation: this.#current,
      });
    this.#missingSinceMs = undefined;
    this.#ends.clear();
    this.#current = await newestGeneration(this.streams);
  }

  /** Begins the generation behind an end, unless somebody has; then lets latecomers in no more. */
  async followEnd(generation: number, end: StoredMsg): Promise<void> {
    const next = generation + 1;
    this.#ends.set(generation, end.seq - 1);
    // Who knows of the next one must not make it again: it may have been removed since.
    if (this.#current >= next) return;
    await beginGeneration(this.streams, next, end, this.newId());
    await this.streams.seal(generation).catch(() => undefined);
    this.#current = next;
  }

  /** End of a generation, asked for until NATS answers: a message stored before may lie behind it. */
  async endFor(generation: number): Promise<StoredMsg | undefined> {
    const { timer, entropy } = this.#parts;
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.streams.end(generation);
      } catch (cause) {
        if (tried >= appendTriesMax) throw cause;
        await timer.sleep(dialPauseMs(tried, entropy));
      }
    }
  }

  /** Offers a message until its fate is known. Rejects when it stays unknown: it may be stored or not. */
  async offerUntilKnown(
    offer: () => Promise<Offered>,
  ): Promise<Exclude<Offered, { readonly tag: 'unknown' }>> {
    const { timer, entropy } = this.#parts;
    for (let tried = 1; ; tried += 1) {
      const offered = await offer();
      if (offered.tag !== 'unknown') return offered;
      if (tried >= appendTriesMax) throw offered.error;
      await timer.sleep(dialPauseMs(tried, entropy));
    }
  }
}

/** Stores the first message of a generation, unless somebody has. */
const beginGeneration = async (
  streams: StreamStore,
  generation: number,
  end: StoredMsg,
  id: string,
): Promise<void> => {
  await streams.create(generation);
  const subject = entrySubject(streams.token, generation);
  const where = { lastSeq: 0, ended: end.seq - 1 };
  const offered = await streams.offer(generation, subject, end.data, id, where);
  if (offered.tag === 'unknown') throw offered.error;
  // It holds its first message already, or has even ended.
  const hasBegun = ['wrong-sequence', 'other-generation'];
  if (offered.tag === 'refused' && !hasBegun.includes(offered.refusal)) throw offered.error;
};

/** Newest generation of a tenant; a tenant without any gets its first. */
export const newestGeneration = async (streams: StreamStore): Promise<number> => {
  const generations = await streams.generations();
  const newest = generations.at(-1);
  if (newest === undefined) {
    await streams.create(1);
    return 1;
  }
  const extent = await streams.extent(newest);
  // Whoever made it ended before its first message was stored: the generation before has it.
  return extent?.last === 0 && generations.includes(newest - 1) ? newest - 1 : newest;
};
