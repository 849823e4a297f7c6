import { equalBytes, TidemarkError, type Hash } from '@tidemark/model';
import type {
  AppendOutcome,
  InputExtent,
  InputLog,
  InputMessage,
  InputPosition,
} from '@tidemark/ports';
import type { SeededRandom } from '../convergence/seeded-random.js';
import type { Life, Scheduler } from './scheduler.js';

/** Time for which the stream knows the id of a message, ms: that of JetStream unless told otherwise. */
export const dedupeWindowMs = 120_000;
/** Times that a message whose fate is unknown is offered, as the real input log does. */
export const offersMax = 8;
/** Time for which a missing stream is taken for a NATS that is starting, ms. */
export const missingMsMax = 3_000;
/** Longest pause between two offers of one message, ms. */
const offerPauseMsMax = 400;

interface StoredMessage {
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

interface Generation {
  /** Messages kept; the first one has number `first`. */
  readonly messages: StoredMessage[];
  first: number;
}

/** What became of an offered message. */
export type Offered =
  | { readonly tag: 'stored'; readonly position: InputPosition; readonly isDuplicate: boolean }
  | { readonly tag: 'full' | 'elsewhere' | 'missing' };

/** Faults of a stream and of the way to it. */
export interface StreamFaults {
  /** Nobody reaches the stream. */
  isDown: boolean;
  /** Percent of offers whose word that they are stored gets lost. */
  ackLossPercent: number;
  /** Percent of other calls that fail. */
  callLossPercent: number;
  /** Percent of words between servers that get lost. */
  wordLossPercent: number;
  callMsMax: number;
}

const noStreamFaults = (): StreamFaults => ({
  isDown: false,
  ackLossPercent: 0,
  callLossPercent: 0,
  wordLossPercent: 0,
  callMsMax: 3,
});

/**
 * The stream of a tenant's input as JetStream keeps it: numbered messages in generations, ids known for
 * a window of time, a limit on bytes. It can lose its tail, be deleted, be out of reach.
 */
export class SimStream {
  faults: StreamFaults = noStreamFaults();
  /** Bytes that all generations may take together. */
  bytesMax: number;
  /** Error of the stream's own clock, ms: message times may go backwards over it. */
  clockErrorMs = 0;
  readonly scheduler: Scheduler;
  readonly #generations = new Map<number, Generation>();
  /** Last number of each generation that has ended, and the message with which the next one begins. */
  readonly #ends = new Map<number, { readonly last: number; readonly next: Uint8Array }>();
  readonly #ids = new Map<string, { readonly position: InputPosition; readonly atMs: number }>();
  readonly #watchers = new Set<() => void>();
  #current = 1;
  #bytes = 0;

  constructor(scheduler: Scheduler, bytesMax = Number.POSITIVE_INFINITY) {
    this.scheduler = scheduler;
    this.bytesMax = bytesMax;
    this.#generations.set(1, { messages: [], first: 1 });
  }

  get bytes(): number {
    return this.#bytes;
  }

  exists(): boolean {
    return this.#generations.size > 0;
  }

  /** Stores a message unless its id is known, the generation has ended, or there is no space. */
  offer(id: string, bytes: Uint8Array, generation = this.#current): Offered {
    const now = this.scheduler.nowMs;
    if (!this.exists()) return { tag: 'missing' };
    const known = this.#ids.get(id);
    if (known !== undefined && now - known.atMs <= dedupeWindowMs)
      return { tag: 'stored', position: known.position, isDuplicate: true };
    if (generation !== this.#current) return { tag: 'elsewhere' };
    if (this.#bytes + bytes.length > this.bytesMax) return { tag: 'full' };
    const position = this.#store(bytes);
    this.#ids.set(id, { position, atMs: now });
    this.#tell();
    return { tag: 'stored', position, isDuplicate: false };
  }

  /** Ends the current generation behind its last message and begins the next one, if it ends there. */
  begin(expected: Pick<InputExtent, 'generation' | 'last'>, first: Uint8Array): InputPosition {
    const { generation, last } = this.extent();
    if (generation !== expected.generation || last !== expected.last)
      throw new TidemarkError('behind', 'the input does not end where it was expected');
    this.#ends.set(generation, { last, next: first.slice() });
    this.#current = generation + 1;
    this.#generations.set(this.#current, { messages: [], first: 1 });
    const position = this.#store(first);
    this.#tell();
    return position;
  }

  extent(): InputExtent {
    const { messages, first } = this.#generations.get(this.#current) ?? { messages: [], first: 1 };
    return { generation: this.#current, first, last: first + messages.length - 1 };
  }

  /** Number of the last message of a generation that has ended. */
  endOf(generation: number): number | undefined {
    return this.#ends.get(generation)?.last;
  }

  message({ generation, seq }: InputPosition): StoredMessage | undefined {
    const found = this.#generations.get(generation);
    return found?.messages[seq - found.first];
  }

  read(
    after: InputPosition,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ): readonly InputMessage[] {
    const messages: InputMessage[] = [];
    let bytes = 0;
    let { generation, seq } = after.generation < 1 ? { generation: 1, seq: 0 } : after;
    while (messages.length < bounds.maxMessages && generation <= this.#current) {
      const end = this.#ends.get(generation)?.last;
      if (end !== undefined && seq >= end) {
        generation += 1;
        seq = 0;
        continue;
      }
      const found = this.#generations.get(generation);
      if (found === undefined || seq + 1 < found.first) {
        if (messages.length > 0) break;
        throw new TidemarkError('storage-damaged', 'the input before this position was trimmed', {
          generation,
          seq,
        });
      }
      const message = found.messages[seq + 1 - found.first];
      if (message === undefined) break;
      if (messages.length > 0 && bytes + message.bytes.length > bounds.maxBytes) break;
      seq += 1;
      bytes += message.bytes.length;
      messages.push({ position: { generation, seq }, ...message });
    }
    return messages;
  }

  /** Removes messages up to a position; a generation that has ended goes as a whole. */
  trim({ generation, seq }: InputPosition): void {
    for (const [number, { messages }] of [...this.#generations]) {
      if (number >= Math.min(generation, this.#current)) continue;
      for (const { bytes } of messages) this.#bytes -= bytes.length;
      this.#generations.delete(number);
    }
    const current = this.#generations.get(this.#current);
    if (generation < this.#current || current === undefined) return;
    const { last } = this.extent();
    const upTo = generation > this.#current ? last : Math.min(seq, last);
    const count = Math.max(0, upTo + 1 - current.first);
    for (const { bytes } of current.messages.splice(0, count)) this.#bytes -= bytes.length;
    current.first += count;
  }

  /**
   * Loses the newest messages of the current generation, acknowledged ones, and says nothing. With `refill`
   * other messages are stored under their numbers before anybody looks.
   */
  loseTail(count: number, refill: Uint8Array | null = null): number {
    const current = this.#generations.get(this.#current);
    if (current === undefined) return 0;
    const lost = current.messages.splice(Math.max(0, current.messages.length - count), count);
    for (const { bytes } of lost) this.#bytes -= bytes.length;
    const { last } = this.extent();
    for (const [id, { position }] of this.#ids)
      if (position.generation === this.#current && position.seq > last) this.#ids.delete(id);
    // The same bytes under their old number would be no loss.
    if (refill !== null && !lost.some(({ bytes }) => equalBytes(bytes, refill)))
      for (const _ of lost) this.#store(refill);
    this.#tell();
    return lost.length;
  }

  /** Loses everything. */
  remove(): void {
    this.#generations.clear();
    this.#ends.clear();
    this.#ids.clear();
    this.#bytes = 0;
    this.#tell();
  }

  /** Makes the first generation again after everything was lost. */
  create(): void {
    if (this.exists()) return;
    this.#current = 1;
    this.#generations.set(1, { messages: [], first: 1 });
  }

  /** A generation that lost all its messages is begun again, as long as the one before tells how. */
  beginAgain(): void {
    const { generation, first, last } = this.extent();
    const end = this.#ends.get(generation - 1);
    if (first > 1 || last > 0 || end === undefined || !this.#generations.has(generation - 1))
      return;
    this.#store(end.next);
    this.#tell();
  }

  watch(callback: () => void): () => void {
    this.#watchers.add(callback);
    return () => this.#watchers.delete(callback);
  }

  /** Ends the faults of the way to it. */
  healWay(): void {
    this.faults = noStreamFaults();
  }

  heal(): void {
    this.healWay();
    this.bytesMax = Number.POSITIVE_INFINITY;
  }

  #store(bytes: Uint8Array): InputPosition {
    const current = this.#generations.get(this.#current) as Generation;
    const atMs = Math.floor(this.scheduler.nowMs + this.clockErrorMs);
    current.messages.push({ atMs, bytes: bytes.slice() });
    this.#bytes += bytes.length;
    return { generation: this.#current, seq: current.first + current.messages.length - 1 };
  }

  #tell(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** What a SimInputLog is opened on. */
export interface SimInputLogOptions {
  readonly stream: SimStream;
  readonly life: Life;
  readonly random: SeededRandom;
  readonly hash: Hash;
  readonly newId: () => string;
  readonly onFault?: (kind: 'ack lost' | 'input call lost' | 'duplicate refused') => void;
}

const unreachable = (): TidemarkError =>
  new TidemarkError('unreachable', 'the stream of the input cannot be reached');

/** Input log of one server on a shared stream: calls take time, get lost, and are offered again. */
export class SimInputLog implements InputLog {
  readonly damage = [];
  readonly #options: SimInputLogOptions;
  readonly #stops = new Set<() => void>();
  #missingSinceMs: number | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SimInputLogOptions) {
    this.#options = options;
  }

  /** One after the other: after the first that is not stored no more are offered. */
  readonly append: InputLog['append'] = (messages) =>
    this.#inTurn(async () => {
      const outcomes: AppendOutcome[] = [];
      let failure: Error | undefined;
      for (const bytes of messages) {
        const outcome: AppendOutcome =
          failure === undefined ? await this.#store(bytes) : { tag: 'refused', error: failure };
        if (outcome.tag !== 'stored') failure ??= outcome.error;
        outcomes.push(outcome);
      }
      return outcomes;
    });

  readonly read: InputLog['read'] = (after, bounds) =>
    this.#ask((stream) => {
      if (!stream.exists()) throw unreachable();
      return stream
        .read(after, bounds)
        .map((message) => ({ ...message, hash: this.#identity(message) }));
    });

  readonly extent = (): Promise<InputExtent> =>
    this.#ask((stream) => {
      this.#findAgain();
      return stream.extent();
    });

  readonly endOf = (generation: number): Promise<number | undefined> =>
    this.#ask((stream) => stream.endOf(generation));

  readonly hashAt = (position: InputPosition): Promise<Uint8Array | undefined> =>
    this.#ask((stream) => {
      const message = stream.message(position);
      return message === undefined ? undefined : this.#identity(message);
    });

  /** As over NATS: the same bytes stored again are another message. */
  #identity({ atMs, bytes }: StoredMessage): Uint8Array {
    const timed = new Uint8Array(8 + bytes.length);
    new DataView(timed.buffer).setFloat64(0, atMs);
    timed.set(bytes, 8);
    return this.#options.hash(timed);
  }

  readonly startGeneration: InputLog['startGeneration'] = (expected, first) =>
    this.#inTurn(() => this.#ask((stream) => stream.begin(expected, first)));

  readonly trim = (position: InputPosition): Promise<void> =>
    this.#ask((stream) => stream.trim(position));

  readonly onGrown = (callback: () => void): (() => void) => {
    const { stream, life, random } = this.#options;
    const stop = stream.watch(() => {
      stream.scheduler.after(random.below(50), () => life.enter(callback));
    });
    this.#stops.add(stop);
    return () => {
      stop();
      this.#stops.delete(stop);
    };
  };

  readonly close = async (): Promise<void> => {
    await this.#turn;
    for (const stop of this.#stops) stop();
    this.#stops.clear();
  };

  #inTurn<A>(work: () => Promise<A>): Promise<A> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  /** Offers a message until its fate is known; a call that was lost on the way leaves it unknown. */
  async #store(bytes: Uint8Array): Promise<AppendOutcome> {
    const { stream, life, random, newId, onFault } = this.#options;
    const id = newId();
    for (let tried = 1; ; tried += 1) {
      const outcome = await this.#ask((): Offered | 'unknown' => {
        const offered = stream.offer(id, bytes);
        if (offered.tag === 'stored' && random.chance(stream.faults.ackLossPercent)) {
          onFault?.('ack lost');
          return 'unknown';
        }
        if (offered.tag === 'stored' && offered.isDuplicate) onFault?.('duplicate refused');
        return offered;
      }).catch((): 'unknown' => 'unknown');
      if (outcome !== 'unknown') {
        if (outcome.tag === 'stored') return { tag: 'stored', position: outcome.position };
        const error =
          outcome.tag === 'full'
            ? new TidemarkError('input-full', 'the input of the server has no space left')
            : unreachable();
        return { tag: 'refused', error };
      }
      if (tried >= offersMax)
        return {
          tag: 'unknown',
          error: new TidemarkError('timeout', 'the stream does not answer'),
        };
      await life.timer.sleep(random.below(offerPauseMsMax));
    }
  }

  /** A stream that is not there is believed only after a while; then it is made again. */
  #findAgain(): void {
    const { stream } = this.#options;
    if (stream.exists()) {
      this.#missingSinceMs = undefined;
      return;
    }
    const { nowMs } = stream.scheduler;
    this.#missingSinceMs ??= nowMs;
    if (nowMs - this.#missingSinceMs < missingMsMax) throw unreachable();
    stream.create();
  }

  #ask<A>(work: (stream: SimStream) => A): Promise<A> {
    const { stream, life, random, onFault } = this.#options;
    return life.call(random.below(stream.faults.callMsMax + 1), () => {
      if (stream.faults.isDown) throw unreachable();
      if (random.chance(stream.faults.callLossPercent)) {
        onFault?.('input call lost');
        throw unreachable();
      }
      return work(stream);
    });
  }
}
