import { jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { TidemarkError, type Hash } from '@tidemark/model';
import type {
  AppendOutcome,
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
import { Abort } from './abort.js';
import { isFromServer, userOf } from './answer.js';
import { archiveGeneration, type ArchivedRange } from './archive.js';
import { isGrown, rollPauseMs, rollTriesMax, type GenerationRoll } from './generation-roll.js';
import { GrowthWatch } from './growth-watch.js';
import { appendEntries } from './input-append.js';
import { InputGenerations, newestGeneration, type OpenExtent } from './input-generations.js';
import { newInputName } from './input-name.js';
import { InputReader } from './input-reader.js';
import type { NatsServerConnection } from './server-connection.js';
import { SpaceAlarm, type InputSpace } from './space-alarm.js';
import { streamFailure, StreamStore } from './stream-store.js';
import { StreamReader, type StreamMessage } from './stream-reader.js';
import { endSubject, noDevice, storedKind, tenantToken } from './subjects.js';
import { TurnQueue } from './turn-queue.js';

/** Bytes of an input unless an option says otherwise. */
export const streamBytesMaxDefault = 1024 * 1024 * 1024;
/** Replica in whose name stands what nobody should have stored. */
const nobody = '-';

/** Who published an envelope, as NATS and its headers say. */
export interface EnvelopeSender {
  readonly tenant: string;
  readonly replica: string;
  readonly user: string;
  readonly device?: string;
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
  /** Bytes that the streams of all generations may take together. */
  readonly bytesMax?: number;
  /** Ends a generation that has grown to a size; generations end for other reasons only when left out. */
  readonly roll?: GenerationRoll;
  /** Servers of the cluster that store each message; 1 when left out. */
  readonly replicas?: number;
  /** Keeps what `trim` removes, read back and compared before it is removed. */
  readonly archive?: CheckpointFolder;
  /** Called when NATS refuses to give a stream that is there the limits above: it keeps those it has. */
  readonly onLimitsRefused?: (cause: Error) => void;
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
  readonly #generations: InputGenerations;
  readonly #reader: InputReader;
  readonly #newReader: (generation: number) => StreamReader;
  readonly #turns = new TurnQueue();
  readonly #reads = new TurnQueue();
  readonly #listeners = new Set<() => void>();
  readonly #alarm: SpaceAlarm;
  /** What the newest look found. */
  #extent: OpenExtent | undefined;
  /** A roll that is under way, with the pause after one that failed. */
  #rolling: Promise<void> | undefined;
  readonly #stopped = new Abort();
  readonly #stop: () => Promise<void>;

  constructor(
    options: NatsInputLogOptions,
    streams: StreamStore,
    current: number,
    manager: JetStreamManager,
  ) {
    const { connection, clock, timer, entropy } = options;
    this.#options = options;
    this.#streams = streams;
    this.#alarm = new SpaceAlarm((space) => options.onSpace?.(space));
    const onMoved = (): void => watch.renew();
    const parts = { streams, clock, timer, entropy, alarm: this.#alarm, onMoved };
    this.#generations = new InputGenerations(parts, current);
    this.#newReader = (generation) =>
      new StreamReader({
        connection: connection.core,
        manager,
        timer,
        token: streams.token,
        generation,
        userOf: (message) => userOf(message.headers),
      });
    this.#reader = new InputReader(this.#generations, {
      timer,
      newReader: this.#newReader,
      entryOf: (message) => this.#entryOf(message),
      identity: (atMs, bytes) => this.#identity(atMs, bytes),
    });
    const watch = new GrowthWatch({
      connection: connection.core,
      manager,
      clock,
      timer,
      token: streams.token,
      generation: () => this.#generations.current,
      onGrown: () => {
        for (const listener of [...this.#listeners]) listener();
      },
    });
    const stopReconnected = connection.onReconnected(() => {
      this.#reader.forget();
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

  readonly append = (messages: readonly Uint8Array[]): Promise<readonly AppendOutcome[]> =>
    this.#turns.run(() => this.#guarded(() => appendEntries(this.#generations, messages)));

  readonly read = (
    after: InputPosition,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly InputMessage[]> =>
    this.#reads.run(() =>
      this.#guarded(async () => {
        if (bounds.maxMessages < 1) return [];
        const start = after.generation < 1 ? { generation: 1, seq: 0 } : after;
        const messages = await this.#reader.read(start, bounds);
        this.#rollIfGrown(messages.at(-1)?.position.generation);
        return messages;
      }),
    );

  readonly extent = (): Promise<InputExtent> =>
    this.#guarded(async () => {
      this.#extent = await this.#generations.openExtent();
      const { generation, first, last } = this.#extent;
      return { generation, first, last };
    });

  /**
   * Ends the generation that was read when it has grown. Whoever only looks does not: it may have folded what
   * the stream has lost, and would end it there.
   */
  #rollIfGrown(generation: number | undefined): void {
    const { roll } = this.#options;
    const extent = this.#extent;
    if (roll === undefined || extent === undefined || extent.generation !== generation) return;
    if (!isGrown(extent, roll, this.#streams)) return;
    this.#rolling ??= this.#roll(roll, generation).finally(() => {
      this.#rolling = undefined;
    });
  }

  readonly endOf = (generation: number): Promise<number | undefined> =>
    this.#guarded(async () => {
      const { current, streams } = this.#generations;
      if (generation < 1 || generation >= current) return undefined;
      // The next generation knows it also where the stream has lost its end since.
      const told = await streams.endedAt(generation);
      if (told !== undefined) return told;
      const end = await streams.end(generation);
      return end === undefined ? this.#generations.endOf(generation) : end.seq - 1;
    });

  readonly hashAt = (position: InputPosition): Promise<Uint8Array | undefined> =>
    this.#guarded(async () => {
      const { generation, seq } = position;
      if (generation < 1 || seq < 1 || seq > (this.#generations.endOf(generation) ?? seq))
        return undefined;
      const stored = await this.#streams.message(generation, seq);
      if (stored === undefined) return undefined;
      const { subject, data, header, time } = stored;
      const fromServer = isFromServer(header);
      const bytes = this.#entryOf({ subject, user: userOf(header), fromServer, bytes: data });
      return bytes === undefined ? undefined : this.#identity(time.getTime(), bytes);
    });

  readonly startGeneration = (
    expected: { readonly generation: number; readonly last: number },
    first: Uint8Array,
  ): Promise<InputPosition> =>
    this.#turns.run(() => this.#guarded(() => this.#endAt(expected, first)));

  readonly trim = (position: InputPosition): Promise<void> =>
    this.#turns.run(() =>
      this.#guarded(async () => {
        const { generation: current, last, first } = await this.#generations.openExtent();
        let hasRemoved = false;
        for (const generation of await this.#streams.generations()) {
          if (generation >= Math.min(position.generation, current)) break;
          await this.#removeGeneration(generation);
          hasRemoved = true;
        }
        if (hasRemoved) this.#generations.forgetSpace();
        // Also for what others removed, who may have died before this; refused, it is for the next trim.
        if (current > 1) await this.#streams.raise(current).catch(() => undefined);
        // A generation that has ended is kept until it is behind as a whole.
        if (position.generation < current) return;
        const upTo = position.generation > current ? last : Math.min(position.seq, last);
        if (upTo < first) return;
        await this.#keep({ generation: current, first, last: upTo });
        await this.#streams.purge(current, upTo);
      }),
    );

  readonly close = async (): Promise<void> => {
    this.#stopped.abort();
    await this.#turns.run(() => Promise.resolve());
    await this.#rolling;
    await this.#stop();
    await this.#reader.close();
  };

  async #endAt(
    expected: { readonly generation: number; readonly last: number },
    first: Uint8Array,
  ): Promise<InputPosition> {
    const { generation, last } = expected;
    const extent = await this.#generations.openExtent();
    const other = new TidemarkError('behind', 'the input does not end where it was expected', {
      expected: print({ generation, seq: last }),
      current: print({ generation: extent.generation, seq: extent.last }),
    });
    if (extent.generation !== generation || extent.last !== last) throw other;
    const id = this.#generations.newId();
    // Stored directly behind the last message or not at all: exactly one caller ends a generation.
    const offered = await this.#generations.offerUntilKnown(() =>
      this.#streams.offer(generation, endSubject(this.#streams.token, generation), first, id, {
        lastSeq: last,
      }),
    );
    // Somebody stored more, or has ended it and sealed it already: the end that stands there tells.
    const mayBeLate = ['wrong-sequence', 'other-generation'];
    if (offered.tag === 'refused' && !mayBeLate.includes(offered.refusal)) throw offered.error;
    const end = await this.#streams.end(generation);
    if (end === undefined || end.header.get('Nats-Msg-Id') !== id) throw other;
    await this.#generations.followEnd(generation, end);
    return { generation: generation + 1, seq: 1 };
  }

  /** Ends a generation if it is still the current one once it is this one's turn: exactly one server does. */
  async #roll(roll: GenerationRoll, generation: number): Promise<void> {
    const { timer } = this.#options;
    try {
      await this.#turns.run(async () => {
        for (let tried = 0; tried < rollTriesMax && !this.#stopped.aborted; tried += 1) {
          const extent = await this.#generations.openExtent();
          if (extent.generation !== generation || !isGrown(extent, roll, this.#streams)) return;
          try {
            await this.#endAt({ generation, last: extent.last }, roll.first);
            return;
          } catch (cause) {
            // Others store all the time; what they stored is in front of the end the next time.
            if (!(cause instanceof TidemarkError) || cause.code !== 'behind') throw cause;
          }
        }
      });
    } catch {
      // NATS is away or full: the next look at the input tries again.
      await timer.sleep(rollPauseMs, this.#stopped);
    }
  }

  async #guarded<A>(work: () => Promise<A>): Promise<A> {
    try {
      return await work();
    } catch (cause) {
      throw streamFailure(cause);
    }
  }

  async #removeGeneration(generation: number): Promise<void> {
    const extent = await this.#streams.extent(generation);
    if (extent === undefined) return;
    const last = this.#generations.endOf(generation) ?? (extent.end?.seq ?? extent.last + 1) - 1;
    await this.#keep({ generation, first: extent.first, last });
    await this.#streams.remove(generation);
  }

  async #keep(range: ArchivedRange): Promise<void> {
    const { archive, hash } = this.#options;
    if (archive !== undefined)
      await archiveGeneration(archive, this.#newReader(range.generation), hash, range);
  }

  /** The same bytes stored again are another message: a rewound stream uses its numbers anew. */
  #identity(atMs: number, bytes: Uint8Array): Uint8Array {
    const timed = new Uint8Array(8 + bytes.length);
    new DataView(timed.buffer).setFloat64(0, atMs);
    timed.set(bytes, 8);
    return this.#options.hash(timed);
  }

  #entryOf(
    message: Pick<StreamMessage, 'subject' | 'user' | 'fromServer' | 'bytes'>,
  ): Uint8Array | undefined {
    const { subject, user, fromServer, bytes } = message;
    const { tenant, envelopeEntry } = this.#options;
    const stored = storedKind(this.#streams.token, subject);
    if (stored?.kind === 'envelope') {
      const { device, replica } = stored;
      const sender = { tenant, replica, user };
      return envelopeEntry(device === noDevice ? sender : { ...sender, device }, bytes);
    }
    // Whoever publishes names where JetStream's word goes: that word is no entry and ends nothing.
    if (!fromServer) return envelopeEntry({ tenant, replica: nobody, user: '' }, bytes);
    return stored?.kind === 'entry' ? bytes : undefined;
  }
}

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
    const streams = new StreamStore(
      token,
      manager,
      jetstream(core),
      limits,
      newInputName(options.entropy),
    );
    const current = await newestGeneration(streams);
    await streams
      .adjust(current, {
        ...(options.bytesMax === undefined ? {} : { bytesMax: options.bytesMax }),
        ...(options.replicas === undefined ? {} : { replicas: options.replicas }),
      })
      .catch((cause: unknown) => options.onLimitsRefused?.(streamFailure(cause)));
    return new JetStreamInputLog(options, streams, current, manager);
  } catch (cause) {
    throw streamFailure(cause);
  }
};
