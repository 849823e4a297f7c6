import { jetstream, jetstreamManager, type StoredMsg } from '@nats-io/jetstream';
import { TidemarkError, toHex, type Hash } from '@tidemark/model';
import type {
  CheckpointFolder,
  Clock,
  Entropy,
  InputExtent,
  InputLog,
  InputMessage,
  InputPosition,
  StoreDamage,
  Timer,
} from '@tidemark/ports';
import { userOf } from './answer.js';
import { archiveGeneration } from './archive.js';
import { dialPauseMs } from './back-off.js';
import { GrowthWatch } from './growth-watch.js';
import type { NatsServerConnection } from './server-connection.js';
import { SpaceAlarm, type InputSpace } from './space-alarm.js';
import {
  missingInput,
  refusalIn,
  streamFailure,
  StreamStore,
  type StreamExtent,
} from './stream-store.js';
import { StreamReader, type StreamMessage } from './stream-reader.js';
import { endSubject, entrySubject, storedKind, tenantToken } from './subjects.js';
import { TurnQueue } from './turn-queue.js';

/** Bytes of a stream unless an option says otherwise. */
export const streamBytesMaxDefault = 1024 * 1024 * 1024;
/** Bytes that one append offers before it waits for the word that they are stored. */
export const appendBytesInFlightMax = 4 * 1024 * 1024;
/** Messages that one append offers before it waits. */
export const appendMessagesInFlightMax = 256;
/** Times that one append offers a message whose fate is unknown: within the time that NATS knows its id. */
export const appendTriesMax = 8;
/** Generations that one append or read follows at most. */
export const generationsFollowedMax = 1_000;
/** Time for which a stream that was there may be missing before it counts as lost, ms. */
export const streamMissingMsMax = 3_000;
/** Looks at a stream whose reader delivers nothing although it holds more. */
const emptyReadsMax = 20;
const emptyReadPauseMs = 25;
const idBytes = 12;

/** Who published an envelope, as NATS and its headers say. */
export interface EnvelopeSender {
  readonly tenant: string;
  readonly replica: string;
  readonly user: string;
}

/** What an input log on JetStream is opened on. */
export interface NatsInputLogOptions {
  readonly connection: NatsServerConnection;
  readonly tenant: string;
  readonly hash: Hash;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly entropy: Entropy;
  /**
   * Input entry for an envelope that a device stored. A pure function: servers of one input must read the
   * same bytes. Whatever a device stores becomes an envelope, never another entry.
   */
  readonly envelopeEntry: (sender: EnvelopeSender, envelope: Uint8Array) => Uint8Array;
  /** Bytes that the stream of a generation may take. */
  readonly bytesMax?: number;
  /** Servers of the cluster that store each message; 1 when left out. */
  readonly replicas?: number;
  /** Keeps what `trim` removes, read back and compared before it is removed. */
  readonly archive?: CheckpointFolder;
  /** Called when the space crosses 70% or 90%, in both directions. */
  readonly onSpace?: (space: InputSpace) => void;
}

/** Input log on JetStream. Several servers may have it open at once, and devices store into it. */
export interface NatsInputLog extends InputLog {
  readonly onGrown: (callback: () => void) => () => void;
  /** Space of the stream when it was last looked at. */
  readonly space: () => InputSpace;
}

const print = ({ generation, seq }: InputPosition): string => `${generation}/${seq}`;

class JetStreamInputLog implements NatsInputLog {
  readonly damage: readonly StoreDamage[] = [];
  readonly #options: NatsInputLogOptions;
  readonly #streams: StreamStore;
  readonly #newReader: (generation: number) => StreamReader;
  readonly #turns = new TurnQueue();
  readonly #reads = new TurnQueue();
  readonly #listeners = new Set<() => void>();
  readonly #alarm: SpaceAlarm;
  /** Number of the last message of each generation that is known to have ended. */
  readonly #ends = new Map<number, number>();
  readonly #stop: () => Promise<void>;
  #current: number;
  #reader: StreamReader | undefined;
  #missingSinceMs: number | undefined;

  constructor(
    options: NatsInputLogOptions,
    streams: StreamStore,
    current: number,
    manager: Awaited<ReturnType<typeof jetstreamManager>>,
  ) {
    const { connection, clock, timer } = options;
    this.#options = options;
    this.#streams = streams;
    this.#current = current;
    this.#alarm = new SpaceAlarm((space) => options.onSpace?.(space));
    this.#newReader = (generation) =>
      new StreamReader({
        connection: connection.core,
        manager,
        timer,
        token: streams.token,
        generation,
        userOf: (message) => userOf(message.headers),
      });
    const watch = new GrowthWatch({
      connection: connection.core,
      manager,
      clock,
      timer,
      token: streams.token,
      generation: () => this.#current,
      onGrown: () => {
        for (const listener of [...this.#listeners]) listener();
      },
    });
    const stopReconnected = connection.onReconnected(() => {
      this.#reader?.forget();
      watch.renew();
    });
    this.#stop = async () => {
      stopReconnected();
      await watch.stop();
    };
  }

  readonly onGrown = (callback: () => void): (() => void) => {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  };

  readonly space = (): InputSpace => this.#alarm.space;

  readonly append = (messages: readonly Uint8Array[]): Promise<readonly InputPosition[]> =>
    this.#turns.run(() =>
      this.#guarded(async () => {
        const positions: InputPosition[] = [];
        for (let at = 0; at < messages.length;) {
          const window = windowFrom(messages, at);
          positions.push(...(await this.#appendWindow(window)));
          at += window.length;
        }
        return positions;
      }),
    );

  readonly read = (
    after: InputPosition,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly InputMessage[]> =>
    this.#reads.run(() =>
      this.#guarded(async () => {
        if (bounds.maxMessages < 1) return [];
        const start = after.generation < 1 ? { generation: 1, seq: 0 } : after;
        return this.#readFrom(start, bounds);
      }),
    );

  readonly extent = (): Promise<InputExtent> =>
    this.#guarded(async () => {
      const { first, last } = await this.#openExtent();
      return { generation: this.#current, first, last };
    });

  readonly hashAt = (position: InputPosition): Promise<Uint8Array | undefined> =>
    this.#guarded(async () => {
      const { generation, seq } = position;
      if (generation < 1 || seq < 1 || seq > (this.#ends.get(generation) ?? seq)) return undefined;
      const stored = await this.#streams.message(generation, seq);
      if (stored === undefined) return undefined;
      const { subject, data, header } = stored;
      const bytes = this.#entryOf(subject, userOf(header), data);
      return bytes === undefined ? undefined : this.#options.hash(bytes);
    });

  readonly startGeneration = (
    expected: { readonly generation: number; readonly last: number },
    first: Uint8Array,
  ): Promise<InputPosition> =>
    this.#turns.run(() =>
      this.#guarded(async () => {
        const { generation, last } = expected;
        const extent = await this.#openExtent();
        const other = new TidemarkError('behind', 'the input does not end where it was expected', {
          expected: print({ generation, seq: last }),
          current: print({ generation: this.#current, seq: extent.last }),
        });
        if (this.#current !== generation || extent.last !== last) throw other;
        const id = this.#newId();
        // Stored directly behind the last message or not at all: exactly one caller ends a generation.
        const offered = await this.#offerUntilKnown(() =>
          this.#streams.offer(generation, endSubject(this.#streams.token, generation), first, id, {
            lastSeq: last,
          }),
        );
        if (offered.tag === 'refused' && offered.refusal !== 'wrong-sequence') throw offered.error;
        const end = await this.#streams.end(generation);
        if (end === undefined || end.header.get('Nats-Msg-Id') !== id) throw other;
        await this.#followEnd(generation, end);
        return { generation: generation + 1, seq: 1 };
      }),
    );

  readonly trim = (position: InputPosition): Promise<void> =>
    this.#turns.run(() =>
      this.#guarded(async () => {
        const { archive, hash } = this.#options;
        const { last, first } = await this.#openExtent();
        const current = this.#current;
        const isBeyond = position.generation > current;
        for (const generation of await this.#streams.generations()) {
          if (generation >= Math.min(position.generation, current)) break;
          const extent = await this.#streams.extent(generation);
          const end = this.#ends.get(generation) ?? extent?.last ?? 0;
          if (archive !== undefined && extent !== undefined)
            await archiveGeneration(archive, this.#newReader(generation), hash, {
              generation,
              first: extent.first,
              last: end,
            });
          await this.#streams.remove(generation);
        }
        // A generation that has ended is kept until it is behind as a whole.
        if (!isBeyond && position.generation < current) return;
        const upTo = isBeyond ? last : Math.min(position.seq, last);
        if (upTo < first) return;
        if (archive !== undefined)
          await archiveGeneration(archive, this.#newReader(current), hash, {
            generation: current,
            first,
            last: upTo,
          });
        await this.#streams.purge(current, upTo);
      }),
    );

  readonly close = async (): Promise<void> => {
    await this.#turns.run(() => Promise.resolve());
    await this.#stop();
    await this.#reader?.close();
    this.#reader = undefined;
  };

  async #guarded<A>(work: () => Promise<A>): Promise<A> {
    try {
      return await work();
    } catch (cause) {
      throw streamFailure(cause);
    }
  }

  #newId(): string {
    return toHex(this.#options.entropy.bytes(idBytes));
  }

  #entryOf(subject: string, user: string, bytes: Uint8Array): Uint8Array | undefined {
    const stored = storedKind(this.#streams.token, subject);
    if (stored === undefined || stored.kind === 'end') return undefined;
    if (stored.kind === 'entry') return bytes;
    const { tenant, envelopeEntry } = this.#options;
    return envelopeEntry({ tenant, replica: stored.replica, user }, bytes);
  }

  /** Extent of the newest generation, after every end that others set was followed. */
  async #openExtent(): Promise<StreamExtent> {
    for (let followed = 0; followed < generationsFollowedMax; followed += 1) {
      const extent = await this.#streams.extent(this.#current);
      if (extent === undefined) await this.#findAgain();
      else if (extent.end === undefined) {
        this.#missingSinceMs = undefined;
        this.#alarm.note(extent.bytes, extent.bytesMax);
        return extent;
      } else await this.#followEnd(this.#current, extent.end);
    }
    throw new TidemarkError('storage-damaged', 'the generations of the input have no end');
  }

  /** The stream is not there: it is believed only after a while, since a starting NATS finds it late. */
  async #findAgain(): Promise<void> {
    const newest = (await this.#streams.generations()).at(-1) ?? 0;
    if (newest > this.#current) {
      // Others ended it, and what it held has been removed since.
      this.#current = newest;
      return;
    }
    const nowMs = this.#options.clock.nowMs();
    this.#missingSinceMs ??= nowMs;
    if (Math.abs(nowMs - this.#missingSinceMs) < streamMissingMsMax)
      throw new TidemarkError('unreachable', 'the stream of the input is missing for now', {
        generation: this.#current,
      });
    this.#missingSinceMs = undefined;
    this.#ends.clear();
    this.#reader = undefined;
    this.#current = await newestGeneration(this.#streams);
  }

  /** Begins the generation behind an end, unless somebody has; then lets latecomers in no more. */
  async #followEnd(generation: number, end: StoredMsg): Promise<void> {
    const next = generation + 1;
    this.#ends.set(generation, end.seq - 1);
    // Who knows of the next one must not make it again: it may have been removed since.
    if (this.#current >= next) return;
    await beginGeneration(this.#streams, next, end, this.#newId());
    await this.#streams.seal(generation).catch(() => undefined);
    this.#current = next;
  }

  async #offerUntilKnown(
    offer: () => ReturnType<StreamStore['offer']>,
  ): Promise<Exclude<Awaited<ReturnType<StreamStore['offer']>>, { readonly tag: 'unknown' }>> {
    const { timer, entropy } = this.#options;
    for (let tried = 1; ; tried += 1) {
      const offered = await offer();
      if (offered.tag !== 'unknown') return offered;
      if (tried >= appendTriesMax) throw offered.error;
      await timer.sleep(dialPauseMs(tried, entropy));
    }
  }

  /** Stores messages in order; those that came behind an end are stored again behind it. */
  async #appendWindow(messages: readonly Uint8Array[]): Promise<readonly InputPosition[]> {
    const positions = new Map<number, InputPosition>();
    const isOpen = (at: number): boolean => !positions.has(at);
    for (let followed = 0; followed < generationsFollowedMax; followed += 1) {
      const generation = this.#current;
      const subject = entrySubject(this.#streams.token, generation);
      const open = messages.map((_, at) => at).filter(isOpen);
      if (open.length === 0) break;
      const offers = open.map((at) => {
        const id = this.#newId();
        const bytes = messages[at] as Uint8Array;
        return this.#offerUntilKnown(() => this.#streams.offer(generation, subject, bytes, id));
      });
      const outcomes = await Promise.allSettled(offers);
      // A message behind the end is stored, but it is no part of the input.
      const end = await this.#streams.end(generation);
      outcomes.forEach((outcome, i) => {
        if (outcome.status === 'rejected' || outcome.value.tag === 'refused') return;
        const { seq } = outcome.value;
        if (end === undefined || seq < end.seq)
          positions.set(open[i] as number, { generation, seq });
      });
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') throw outcome.reason;
        if (outcome.value.tag === 'refused' && !canFollow(outcome.value.refusal))
          throw outcome.value.error;
      }
      if (open.some(isOpen)) await this.#openExtent();
    }
    return messages.map((_, at) => {
      const position = positions.get(at);
      if (position !== undefined) return position;
      throw new TidemarkError('unreachable', 'the input moved on too often');
    });
  }

  async #readFrom(
    start: InputPosition,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly InputMessage[]> {
    const messages: InputMessage[] = [];
    let bytes = 0;
    let { generation, seq } = start;
    let emptyReads = 0;
    for (let followed = 0; followed < generationsFollowedMax;) {
      if (generation > this.#current) await this.#openExtent();
      if (generation > this.#current) return messages;
      const room = {
        maxBytes: bounds.maxBytes - bytes,
        maxMessages: bounds.maxMessages - messages.length,
      };
      if (room.maxMessages < 1 || (messages.length > 0 && room.maxBytes <= 0)) return messages;
      if (seq >= (this.#ends.get(generation) ?? Number.POSITIVE_INFINITY)) {
        [generation, seq, followed] = [generation + 1, 0, followed + 1];
        continue;
      }
      const found = await this.#readStream(generation, seq, room);
      if (found === 'passed') {
        [generation, seq, followed] = [generation + 1, 0, followed + 1];
        continue;
      }
      for (const message of found) {
        if (message.seq !== seq + 1) {
          this.#reader?.forget();
          if (messages.length > 0) return messages;
          throw missingInput('messages of the input are missing', generation, seq + 1, message.seq);
        }
        const end = await this.#takeMessage(generation, message, messages, bytes, bounds.maxBytes);
        if (end === 'full') return messages;
        if (end === 'end') break;
        seq = message.seq;
        bytes += messages.at(-1)?.bytes.length ?? 0;
      }
      if (found.length > 0) continue;
      if (messages.length > 0) return messages;
      const more = await this.#looksFurther(generation, seq);
      if (more === 'nothing') return messages;
      if (more === 'wait') {
        emptyReads += 1;
        if (emptyReads > emptyReadsMax)
          throw new TidemarkError('unreachable', 'the input delivers nothing for now');
        await this.#options.timer.sleep(emptyReadPauseMs);
      }
    }
    return messages;
  }

  /** Messages of one stream; `passed` when it was removed and held nothing behind the position. */
  async #readStream(
    generation: number,
    seq: number,
    room: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly StreamMessage[] | 'passed'> {
    try {
      return await this.#readerOf(generation).read(seq + 1, room);
    } catch (cause) {
      if (refusalIn(cause) !== 'missing') throw cause;
      if (generation >= this.#current) await this.#openExtent();
      if (generation >= this.#current) throw cause;
      const ended = await this.#streams.endedAt(generation);
      if (ended === undefined || ended > seq)
        throw missingInput('a generation of the input is gone', generation, seq + 1, ended ?? 0);
      this.#ends.set(generation, ended);
      return 'passed';
    }
  }

  #readerOf(generation: number): StreamReader {
    if (this.#reader?.generation !== generation) {
      void this.#reader?.close();
      this.#reader = this.#newReader(generation);
    }
    return this.#reader;
  }

  async #takeMessage(
    generation: number,
    message: StreamMessage,
    messages: InputMessage[],
    bytes: number,
    maxBytes: number,
  ): Promise<'taken' | 'end' | 'full'> {
    const entry = this.#entryOf(message.subject, message.user, message.bytes);
    if (entry === undefined) {
      const end = await this.#streams.end(generation);
      if (end === undefined || end.seq !== message.seq)
        throw missingInput('the end of a generation is missing', generation, message.seq, 0);
      await this.#followEnd(generation, end);
      this.#reader?.forget();
      return 'end';
    }
    if (messages.length > 0 && bytes + entry.length > maxBytes) {
      this.#reader?.forget();
      return 'full';
    }
    messages.push({ position: { generation, seq: message.seq }, atMs: message.atMs, bytes: entry });
    return 'taken';
  }

  /** What to do when a reader delivered nothing: the stream may hold more, or have begun later. */
  async #looksFurther(generation: number, seq: number): Promise<'nothing' | 'wait' | 'again'> {
    if (generation === this.#current) {
      const { first, last } = await this.#openExtent();
      if (generation !== this.#current) return 'again';
      if (first > seq + 1)
        throw missingInput(
          'the input before this position was trimmed',
          generation,
          seq + 1,
          first,
        );
      return last > seq ? 'wait' : 'nothing';
    }
    const extent = await this.#streams.extent(generation);
    if (extent === undefined)
      throw missingInput('a generation of the input is gone', generation, seq + 1, 0);
    // Ended, but nobody ever stored more: what follows is in the next generation.
    this.#ends.set(generation, extent.end === undefined ? extent.last : extent.end.seq - 1);
    return (this.#ends.get(generation) ?? 0) > seq ? 'wait' : 'again';
  }
}

const canFollow = (refusal: string): boolean =>
  refusal === 'other-generation' || refusal === 'missing';

const windowFrom = (messages: readonly Uint8Array[], from: number): readonly Uint8Array[] => {
  let bytes = 0;
  let to = from;
  while (to < messages.length && to - from < appendMessagesInFlightMax) {
    bytes += (messages[to] as Uint8Array).length;
    if (to > from && bytes > appendBytesInFlightMax) break;
    to += 1;
  }
  return messages.slice(from, to);
};

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
const newestGeneration = async (streams: StreamStore): Promise<number> => {
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

/**
 * Opens the input of a tenant on JetStream; a tenant without one gets its first generation. Rejects with
 * `unreachable`, `timeout`, `denied`.
 */
export const openNatsInputLog = async (options: NatsInputLogOptions): Promise<NatsInputLog> => {
  try {
    const { core } = options.connection;
    const manager = await jetstreamManager(core, { checkAPI: false });
    const limits = {
      bytesMax: options.bytesMax ?? streamBytesMaxDefault,
      replicas: options.replicas ?? 1,
    };
    const token = tenantToken(options.tenant);
    const streams = new StreamStore(token, manager, jetstream(core), limits);
    const current = await newestGeneration(streams);
    return new JetStreamInputLog(options, streams, current, manager);
  } catch (cause) {
    throw streamFailure(cause);
  }
};
