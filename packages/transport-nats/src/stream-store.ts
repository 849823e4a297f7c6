import {
  DiscardPolicy,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type JetStreamClient,
  type JetStreamManager,
  type StoredMsg,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { headers } from '@nats-io/nats-core';
import { TidemarkError } from '@tidemark/model';
import { isFromServer, markFromServer } from './answer.js';
import { connectionFailure, refusalFailure, refusalOf, type Refusal } from './failure.js';
import {
  beginSubject,
  endSubject,
  entrySubject,
  storedKind,
  streamGeneration,
  streamName,
  streamSubjects,
} from './subjects.js';

/** Time within which JetStream knows a message again by its id, ms. */
export const duplicateWindowMs = 120_000;
/** Longest wait for the word that a message is stored, ms. */
export const appendMsMax = 5_000;
const nanosPerMs = 1_000_000;

/** Share of the limit of an input that a new generation gets at least, also when others take the rest: one in. */
export const generationRoomShare = 8;

/** Limits of an input. */
export interface StreamLimits {
  /** Bytes that all generations may take together: then uploads are refused with `input-full`. */
  readonly bytesMax: number;
  /** Servers of the cluster that store each message: 3 in production, 1 for one server. */
  readonly replicas: number;
}

/** First, last and space of a stream; `end` is the message that ended its generation, if any. */
export interface StreamExtent {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  readonly bytesMax: number;
  readonly end: StoredMsg | undefined;
}

/** What became of a message that was offered to a stream. */
export type Offered =
  | { readonly tag: 'stored'; readonly seq: number }
  | { readonly tag: 'refused'; readonly refusal: Refusal; readonly error: Error }
  /** Nobody knows whether it is stored: to be offered again under the same id. */
  | { readonly tag: 'unknown'; readonly error: Error };

const codeAndText = (error: JetStreamApiError): readonly [number, string] => [
  error.code,
  error.message,
];

/** Refusal that a failure carries; undefined when it is none of JetStream's. */
export const refusalIn = (cause: unknown): Refusal | undefined =>
  cause instanceof JetStreamApiError ? refusalOf(...codeAndText(cause)) : undefined;

/** Turns a failure of JetStream into a TidemarkError. */
export const streamFailure = (cause: unknown): Error => {
  if (!(cause instanceof JetStreamApiError)) return connectionFailure(cause);
  return refusalFailure(refusalOf(...codeAndText(cause)), cause.code);
};

/** Header of the first message of a generation: number of the last message of the one before. */
const endedHeader = 'Tidemark-Ended';
/** Description of a stream that names the input, alike in all of its generations. */
const inputNamePrefix = 'Tidemark input ';
const noMessageFound = 10_037;
const nameInUse = 10_058;

/** Name of the input that the description of a stream tells; undefined when it tells none. */
export const inputNameIn = (description: string | undefined): string | undefined =>
  description?.startsWith(inputNamePrefix) === true
    ? description.slice(inputNamePrefix.length)
    : undefined;

/** Streams of one tenant's input, one per generation. */
export class StreamStore {
  readonly token: string;
  readonly #manager: JetStreamManager;
  readonly #client: JetStreamClient;
  readonly #limits: StreamLimits;
  /** Number of the newest message on the subject of ends that is none, by generation. */
  readonly #passedEnds = new Map<number, number>();
  /** Name of the input, as a stream tells it; of a new one until then. */
  #name: string;

  constructor(
    token: string,
    manager: JetStreamManager,
    client: JetStreamClient,
    limits: StreamLimits,
    newName: string,
  ) {
    this.token = token;
    this.#name = newName;
    this.#manager = manager;
    this.#client = client;
    this.#limits = limits;
  }

  /** Generations that have a stream, in order. */
  async generations(): Promise<readonly number[]> {
    const found: number[] = [];
    for await (const name of this.#manager.streams.names(`tm.${this.token}.in.>`)) {
      const generation = streamGeneration(this.token, name);
      if (generation !== undefined) found.push(generation);
    }
    return found.sort((a, b) => a - b);
  }

  /** Bytes that the generations before one take, and those of them that are not sealed yet. */
  async before(
    generation: number,
  ): Promise<{ readonly bytes: number; readonly unsealed: readonly number[] }> {
    let bytes = 0;
    const unsealed: number[] = [];
    if (generation > 1)
      for await (const { config, state } of this.#manager.streams.list(`tm.${this.token}.in.>`)) {
        const found = streamGeneration(this.token, config.name) ?? generation;
        if (found >= generation) continue;
        bytes += state.bytes;
        if (!config.sealed || config.max_bytes > state.bytes) unsealed.push(found);
      }
    return { bytes, unsealed };
  }

  /** Fewest bytes that a generation may take, whatever others hold: its beginning must always fit. */
  get roomMin(): number {
    return Math.ceil(this.#limits.bytesMax / generationRoomShare);
  }

  /** Bytes that a generation may take: what those before it leave. */
  async #roomOf(generation: number, bytesMax = this.#limits.bytesMax): Promise<number> {
    return Math.max(bytesMax - (await this.before(generation)).bytes, this.roomMin);
  }

  /**
   * Makes the stream of a generation unless it is there. All but the first take only the message that begins them
   * before they are let in to; `unique` makes its subject.
   */
  async create(generation: number, unique: string): Promise<void> {
    const room = await this.#roomOf(generation);
    try {
      await this.#add(generation, room, unique);
    } catch (cause) {
      // Streams that could not be sealed yet still hold the space that NATS keeps free for them.
      if (refusalIn(cause) !== 'full' || room === this.roomMin) throw cause;
      await this.#add(generation, this.roomMin, unique);
    }
  }

  async #add(generation: number, room: number, unique: string): Promise<void> {
    const { token } = this;
    const begin = beginSubject(token, generation, unique);
    try {
      await this.#manager.streams.add({
        name: streamName(token, generation),
        // A server that made its input anew goes on with it under the same name.
        description: `${inputNamePrefix}${this.#name}`,
        subjects: generation === 1 ? streamSubjects(token, generation) : [begin],
        storage: StorageType.File,
        retention: RetentionPolicy.Limits,
        // A full stream refuses; it never drops what is not merged yet.
        discard: DiscardPolicy.New,
        max_bytes: room,
        num_replicas: this.#limits.replicas,
        duplicate_window: duplicateWindowMs * nanosPerMs,
        deny_delete: true,
        allow_direct: false,
      });
    } catch (cause) {
      if (cause instanceof JetStreamApiError && cause.code === nameInUse) return;
      throw cause;
    }
  }

  /** Subject on which the first message of a generation is stored. */
  async beginsOn(generation: number): Promise<string> {
    const { config } = await this.#manager.streams.info(streamName(this.token, generation));
    const [only, ...others] = config.subjects;
    return others.length > 0 || only === undefined ? entrySubject(this.token, generation) : only;
  }

  /** Lets devices store into a generation that has begun. */
  async letIn(generation: number): Promise<void> {
    const { config } = await this.#manager.streams.info(streamName(this.token, generation));
    await this.#letIn(generation, config);
  }

  async #letIn(generation: number, config: StreamConfig): Promise<void> {
    if (config.sealed || config.subjects.length > 1) return;
    const subjects = streamSubjects(this.token, generation);
    await this.#manager.streams.update(config.name, { ...config, subjects });
  }

  /**
   * Gives the stream of a generation the limits that were asked for, if it has others. A limit below what it
   * holds is left to the next generation. Resolves with false when there is no stream.
   */
  async adjust(generation: number, limits: Partial<StreamLimits>): Promise<boolean> {
    const name = streamName(this.token, generation);
    let info: StreamInfo;
    try {
      info = await this.#manager.streams.info(name);
    } catch (cause) {
      if (refusalIn(cause) === 'missing') return false;
      throw cause;
    }
    const { config, state } = info;
    const { replicas = config.num_replicas } = limits;
    const bytesMax =
      limits.bytesMax === undefined
        ? config.max_bytes
        : await this.#roomOf(generation, limits.bytesMax);
    const fits = bytesMax >= state.bytes ? bytesMax : config.max_bytes;
    if (config.sealed || (fits === config.max_bytes && replicas === config.num_replicas))
      return true;
    await this.#manager.streams.update(name, {
      ...config,
      max_bytes: fits,
      num_replicas: replicas,
    });
    return true;
  }

  /** Gives a generation the room that removed ones have left; it never takes any away. */
  async raise(generation: number): Promise<void> {
    const name = streamName(this.token, generation);
    const { config } = await this.#manager.streams.info(name);
    const room = await this.#roomOf(generation);
    if (config.sealed || config.max_bytes < 0 || room <= config.max_bytes) return;
    await this.#manager.streams.update(name, { ...config, max_bytes: room });
  }

  /** Extent of a generation; undefined when it has no stream. */
  async extent(generation: number): Promise<StreamExtent | undefined> {
    const end = endSubject(this.token, generation);
    try {
      const { state, config } = await this.#manager.streams.info(
        streamName(this.token, generation),
        { subjects_filter: end },
      );
      this.#name = inputNameIn(config.description) ?? this.#name;
      // Whoever began it died before it let devices in; refused, it is for the next look.
      if (state.last_seq > 0) await this.#letIn(generation, config).catch(() => undefined);
      return {
        first: Math.max(1, state.first_seq),
        last: state.last_seq,
        bytes: state.bytes,
        bytesMax: config.max_bytes,
        end: state.subjects?.[end] === undefined ? undefined : await this.end(generation),
      };
    } catch (cause) {
      if (refusalIn(cause) === 'missing') return undefined;
      throw cause;
    }
  }

  /** Message that ended a generation; undefined while it is open or has no stream. */
  async end(generation: number): Promise<StoredMsg | undefined> {
    const subject = endSubject(this.token, generation);
    const last = await this.#get(generation, { last_by_subj: subject });
    if (last === undefined || isFromServer(last.header)) return last;
    // Somebody had an answer of JetStream stored there, which ends nothing. What was passed over once is passed
    // over at once the next time, unless the stream lost it.
    const passed = this.#passedEnds.get(generation) ?? 0;
    const known = passed === 0 ? undefined : await this.#get(generation, { seq: passed });
    let from = known?.subject === subject && !isFromServer(known.header) ? passed + 1 : 1;
    while (from <= last.seq) {
      const next = await this.#get(generation, { seq: from, next_by_subj: subject });
      if (next === undefined || isFromServer(next.header)) return next;
      this.#passedEnds.set(generation, next.seq);
      from = next.seq + 1;
    }
    return undefined;
  }

  /** Stored message; undefined when it is gone, or its stream. The leader answers, never a follower. */
  message(generation: number, seq: number): Promise<StoredMsg | undefined> {
    return this.#get(generation, { seq });
  }

  /** Where a generation ended, as the first message of the next one tells; undefined when that is gone. */
  async endedAt(generation: number): Promise<number | undefined> {
    const first = await this.message(generation + 1, 1);
    // A device may write any header.
    const isEntry = first !== undefined && storedKind(this.token, first.subject)?.kind === 'entry';
    const text = isEntry && isFromServer(first.header) ? first.header.get(endedHeader) : '';
    return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  }

  /**
   * Offers a message; `lastSeq` stores it only directly behind that one, `ended` notes with it where the
   * generation before ended.
   */
  async offer(
    generation: number,
    subject: string,
    bytes: Uint8Array,
    id: string,
    more: { readonly lastSeq?: number; readonly ended?: number } = {},
  ): Promise<Offered> {
    const { lastSeq, ended } = more;
    const expect = { streamName: streamName(this.token, generation) };
    const noted = headers();
    markFromServer(noted);
    if (ended !== undefined) noted.set(endedHeader, String(ended));
    try {
      const { seq } = await this.#client.publish(subject, bytes, {
        msgID: id,
        timeout: appendMsMax,
        expect: lastSeq === undefined ? expect : { ...expect, lastSequence: lastSeq },
        headers: noted,
      });
      return { tag: 'stored', seq };
    } catch (cause) {
      const refusal = refusalIn(cause);
      const error = streamFailure(cause);
      if (refusal === undefined || refusal === 'unknown') return { tag: 'unknown', error };
      return { tag: 'refused', refusal, error };
    }
  }

  /**
   * Lets no message in any more, and gives back the room that it does not take. Its end stands already: this
   * only keeps latecomers from being stored.
   */
  async seal(generation: number): Promise<void> {
    const name = streamName(this.token, generation);
    let { config, state } = await this.#manager.streams.info(name);
    if (!config.sealed) {
      // The type of an update does not know this one.
      const sealed = { ...config, sealed: true };
      ({ config, state } = await this.#manager.streams.update(name, sealed));
      // Its bytes are known only now that nothing more comes: below them NATS would drop messages.
      ({ config, state } = await this.#manager.streams.info(name));
    }
    if (config.max_bytes > state.bytes)
      await this.#manager.streams.update(name, { ...config, max_bytes: state.bytes });
  }

  /** Removes messages of a generation up to a number. */
  async purge(generation: number, upTo: number): Promise<void> {
    await this.#manager.streams.purge(streamName(this.token, generation), { seq: upTo + 1 });
  }

  /** Removes a whole generation. */
  async remove(generation: number): Promise<void> {
    try {
      await this.#manager.streams.delete(streamName(this.token, generation));
    } catch (cause) {
      if (refusalIn(cause) !== 'missing') throw cause;
    }
  }

  async #get(
    generation: number,
    query:
      | { readonly seq: number }
      | { readonly last_by_subj: string }
      | { readonly seq: number; readonly next_by_subj: string },
  ): Promise<StoredMsg | undefined> {
    try {
      const name = streamName(this.token, generation);
      return (await this.#manager.streams.getMessage(name, query)) ?? undefined;
    } catch (cause) {
      if (cause instanceof JetStreamApiError && cause.code === noMessageFound) return undefined;
      if (refusalIn(cause) === 'missing') return undefined;
      throw cause;
    }
  }
}

/** Failure for messages of the input that are not there. */
export const missingInput = (
  reason: string,
  generation: number,
  seq: number,
  found: number,
): TidemarkError =>
  new TidemarkError('storage-damaged', reason, { generation, first: seq, foundSeq: found });
