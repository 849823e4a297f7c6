import type { StoredMsg } from '@nats-io/jetstream';
import { TidemarkError, toHex } from '@tidemark/model';
import type { Clock, Entropy, Timer } from '@tidemark/ports';
import { dialPauseMs } from './back-off.js';
import type { SpaceAlarm } from './space-alarm.js';
import type { Refusal } from './failure.js';
import type { Offered, StreamExtent, StreamStore } from './stream-store.js';

/** Times that one append offers a message whose fate is unknown: within the time that NATS knows its id. */
export const appendTriesMax = 8;
/** Generations that one append or read follows at most. */
export const generationsFollowedMax = 1_000;
/** Time for which a stream that was there may be missing before it counts as lost, ms. */
export const streamMissingMsMax = 3_000;
const idBytes = 12;
/** Refusals after which the next generation may take a message. */
export const mayFollow: readonly Refusal[] = ['other-generation', 'missing'];

/** Time for which the bytes of earlier generations are believed: other servers remove some, ms. */
export const spaceBeforeKeptMs = 5_000;
/** Ends of generations that are remembered: those of older ones are asked for again. */
export const endsKeptMax = 1_000;

/** Extent of the generation that takes messages. */
export type OpenExtent = StreamExtent & { readonly generation: number };

/** What became of an offer; `wasUnknown`: an earlier try of it may have been stored. */
export type KnownOffer = Exclude<Offered, { readonly tag: 'unknown' }> & {
  readonly wasUnknown: boolean;
};

/** What generations are followed with. */
export interface InputGenerationsParts {
  readonly streams: StreamStore;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly entropy: Entropy;
  readonly alarm: SpaceAlarm;
  /** Called when another generation than before takes messages. */
  readonly onMoved: () => void;
}

/** Follows the generations of an input: which one takes messages, and where the others ended. */
export class InputGenerations {
  readonly streams: StreamStore;
  readonly #parts: InputGenerationsParts;
  /** Number of the last message of each generation that is known to have ended. */
  readonly #ends = new Map<number, number>();
  #current: number;
  #missingSinceMs: number | undefined;
  /** Bytes of the generations before the current one, and when they were looked at. */
  #before = { generation: 0, bytes: 0, atMs: 0 };

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
    for (const oldest of this.#ends.keys()) {
      if (this.#ends.size <= endsKeptMax) return;
      this.#ends.delete(oldest);
    }
  }

  /** Forgets what earlier generations take: some were removed. */
  forgetSpace(): void {
    this.#before = { generation: 0, bytes: 0, atMs: 0 };
  }

  /** Id of a message that is offered. */
  newId(): string {
    return toHex(this.#parts.entropy.bytes(idBytes));
  }

  /** Extent of the newest generation, after every end that others set was followed. */
  async openExtent(): Promise<OpenExtent> {
    for (let followed = 0; followed < generationsFollowedMax; followed += 1) {
      const generation = this.#current;
      const extent = await this.streams.extent(generation);
      // Another call may have followed an end meanwhile: what was found is of an older generation then.
      if (this.#current !== generation) continue;
      if (extent === undefined) await this.#findAgain();
      else if (extent.end !== undefined) await this.followEnd(generation, extent.end);
      else if (extent.last > 0 || generation === 1 || !(await this.#beginAgain(generation))) {
        this.#missingSinceMs = undefined;
        await this.#noteSpace(generation, extent);
        return { ...extent, generation };
      }
    }
    throw new TidemarkError('storage-damaged', 'the generations of the input have no end');
  }

  /**
   * Begins a generation of which nothing is there as the end before it says. False where that is gone: then nobody
   * knows how it began, and it takes what comes.
   */
  async #beginAgain(generation: number): Promise<boolean> {
    const end = await this.streams.end(generation - 1);
    if (end === undefined) await this.streams.letIn(generation);
    else await beginGeneration(this.streams, generation, end, this.newId());
    return end !== undefined;
  }

  /** All generations share one limit: what earlier ones take is not left to the current one. */
  async #noteSpace(generation: number, { bytes, bytesMax }: StreamExtent): Promise<void> {
    const nowMs = this.#parts.clock.nowMs();
    const isOld = Math.abs(nowMs - this.#before.atMs) > spaceBeforeKeptMs;
    if (this.#before.generation !== generation || (isOld && generation > 1)) {
      const { bytes: taken, unsealed } = await this.streams.before(generation);
      // Whoever ended one may have failed or died before it was sealed, and devices still store there.
      for (const one of unsealed) await this.streams.seal(one).catch(() => undefined);
      this.#before = { generation, bytes: taken, atMs: nowMs };
    }
    const { bytes: before } = this.#before;
    this.#parts.alarm.note(bytes + before, bytesMax < 0 ? bytesMax : bytesMax + before);
  }

  /** The stream is not there: it is believed only after a while, since a starting NATS finds it late. */
  async #findAgain(): Promise<void> {
    const newest = (await this.streams.generations()).at(-1) ?? 0;
    if (newest > this.#current) {
      // Others ended it, and what it held has been removed since.
      this.#moveTo(newest);
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
    this.#moveTo(await newestGeneration(this.streams));
  }

  #moveTo(generation: number): void {
    const isOther = generation !== this.#current;
    this.#current = generation;
    if (isOther) this.#parts.onMoved();
  }

  /** Lets latecomers in no more; then begins the generation behind an end, unless somebody has. */
  async followEnd(generation: number, end: StoredMsg): Promise<void> {
    const next = generation + 1;
    this.noteEnd(generation, end.seq - 1);
    // Who knows of the next one must not make it again: it may have been removed since.
    if (this.#current >= next) return;
    await this.streams.seal(generation).catch(() => undefined);
    await beginGeneration(this.streams, next, end, this.newId());
    // Another call may have followed further meanwhile.
    if (this.#current < next) this.#moveTo(next);
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
  async offerUntilKnown(offer: () => Promise<Offered>): Promise<KnownOffer> {
    const { timer, entropy } = this.#parts;
    for (let tried = 1; ; tried += 1) {
      const offered = await offer();
      if (offered.tag !== 'unknown') return { ...offered, wasUnknown: tried > 1 };
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
  await streams.create(generation, id);
  const subject = await streams.beginsOn(generation);
  const where = { lastSeq: 0, ended: end.seq - 1 };
  const offered = await streams.offer(generation, subject, end.data, id, where);
  // It holds its first message already, or has even ended; or devices are let in, and nobody takes this one.
  const hasBegun =
    offered.tag === 'stored' ||
    (offered.tag === 'refused' &&
      ['wrong-sequence', 'other-generation'].includes(offered.refusal)) ||
    (await streams.beginsOn(generation)) !== subject;
  if (!hasBegun) throw offered.error;
  await streams.letIn(generation);
};

/** Newest generation of a tenant; a tenant without any gets its first. */
export const newestGeneration = async (streams: StreamStore): Promise<number> => {
  const generations = await streams.generations();
  const newest = generations.at(-1);
  if (newest === undefined) {
    await streams.create(1, '');
    return 1;
  }
  const extent = await streams.extent(newest);
  // Whoever made it ended before its first message was stored: the generation before has it.
  if (extent?.last !== 0) return newest;
  if (generations.includes(newest - 1)) return newest - 1;
  // Nothing tells any more how it was to begin.
  await streams.letIn(newest);
  return newest;
};
