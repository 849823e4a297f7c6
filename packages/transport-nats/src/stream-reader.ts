import { AckPolicy, DeliverPolicy, type JetStreamManager } from '@nats-io/jetstream';
import { createInbox, type Msg, type NatsConnection } from '@nats-io/nats-core';
import { TidemarkError } from '@tidemark/model';
import type { Timer } from '@tidemark/ports';
import { Abort } from './abort.js';
import { isFromServer } from './answer.js';
import { isNoResponders, noRespondersFailure } from './failure.js';
import { streamName } from './subjects.js';

/** Messages that one pull asks for at most. */
export const pullMessagesMax = 1_000;
/** Bytes that one pull asks for at most: larger windows stall the delivery. */
export const pullBytesMax = 4 * 1024 * 1024;
const pullBytesMin = 64 * 1024;
/** Silence in the middle of a pull after which the rest is given up, ms. */
export const pullMsMax = 5_000;
/** Time after which NATS forgets a reader that does not pull, ms. */
export const readerIdleMsMax = 300_000;
const nanosPerMs = 1_000_000;

/** Message as it lies in a stream. */
export interface StreamMessage {
  readonly seq: number;
  readonly atMs: number;
  readonly subject: string;
  readonly user: string;
  /** False: a device stored it, or had it stored. */
  readonly fromServer: boolean;
  readonly bytes: Uint8Array;
}

/** Sequence number and time in the reply subject of a delivered message. */
const deliveryOf = (reply: string): { readonly seq: number; readonly atMs: number } => {
  const tokens = reply.split('.');
  // $JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>, and with domain and
  // account in front of the stream in newer servers.
  const shift = tokens.length >= 11 ? 2 : 0;
  const seq = Number(tokens[5 + shift]);
  const atMs = Number((tokens[7 + shift] ?? '').slice(0, -6));
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(atMs))
    throw new TidemarkError('malformed-message', 'NATS delivered a message without its place');
  return { seq, atMs };
};

interface Pulled {
  readonly messages: readonly StreamMessage[];
  /** The next message alone is larger than what was asked for. */
  readonly isTooLarge: boolean;
}

/** Reads one stream forwards, through a consumer of its own that NATS keeps in memory. */
export class StreamReader {
  readonly #connection: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #timer: Timer;
  readonly #userOf: (message: Msg) => string;
  readonly #token: string;
  readonly generation: number;
  #consumer: string | undefined;
  /** Number from which the next pull delivers; 0 when that is not known: then a new consumer is made. */
  #next = 0;
  #kept: StreamMessage[] = [];

  constructor(parts: {
    readonly connection: NatsConnection;
    readonly manager: JetStreamManager;
    readonly timer: Timer;
    readonly token: string;
    readonly generation: number;
    readonly userOf: (message: Msg) => string;
  }) {
    this.#connection = parts.connection;
    this.#manager = parts.manager;
    this.#timer = parts.timer;
    this.#token = parts.token;
    this.generation = parts.generation;
    this.#userOf = parts.userOf;
  }

  /**
   * Messages from `from` on that the stream has now: none at its end. What is delivered and not wanted yet
   * is kept for the next call, at most one pull of it.
   */
  async read(
    from: number,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly StreamMessage[]> {
    if (this.#kept[0] !== undefined && this.#kept[0].seq !== from) this.#kept = [];
    if (this.#kept.length === 0) this.#kept = [...(await this.#pull(from, bounds))];
    let bytes = 0;
    let count = 0;
    for (const message of this.#kept) {
      bytes += message.bytes.length;
      if (count >= bounds.maxMessages || (count > 0 && bytes > bounds.maxBytes)) break;
      count += 1;
    }
    return this.#kept.splice(0, count);
  }

  /** Forgets what was delivered: the stream may be another one after a lost connection. */
  forget(): void {
    this.#kept = [];
    this.#consumer = undefined;
  }

  /** Removes the consumer. */
  async close(): Promise<void> {
    const consumer = this.#consumer;
    this.forget();
    if (consumer === undefined || this.#connection.isClosed()) return;
    const stream = streamName(this.#token, this.generation);
    await this.#manager.consumers.delete(stream, consumer).catch(() => false);
  }

  async #pull(
    from: number,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly StreamMessage[]> {
    const batch = Math.min(bounds.maxMessages, pullMessagesMax);
    const bytes = Math.min(Math.max(bounds.maxBytes, pullBytesMin), pullBytesMax);
    for (let tried = 0; ; tried += 1) {
      try {
        if (this.#consumer === undefined || this.#next !== from) await this.#startAt(from);
        const first = await this.#fetch({ batch, max_bytes: bytes, no_wait: true });
        if (first.messages.length > 0 || !first.isTooLarge) return first.messages;
        return (await this.#fetch({ batch: 1, no_wait: true })).messages;
      } catch (cause) {
        this.forget();
        // NATS forgot the reader, which was idle or lived in a server that is gone.
        if (tried > 0 || !isNoResponders(cause)) throw cause;
      }
    }
  }

  async #startAt(from: number): Promise<void> {
    await this.close();
    const info = await this.#manager.consumers.add(streamName(this.#token, this.generation), {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: Math.max(1, from),
      mem_storage: true,
      num_replicas: 1,
      inactive_threshold: readerIdleMsMax * nanosPerMs,
    });
    this.#consumer = info.name;
    this.#next = from;
  }

  #fetch(request: {
    readonly batch: number;
    readonly max_bytes?: number;
    readonly no_wait: true;
  }): Promise<Pulled> {
    const stream = streamName(this.#token, this.generation);
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${this.#consumer ?? ''}`;
    return new Promise((resolve, reject) => {
      const messages: StreamMessage[] = [];
      const inbox = createInbox();
      let isOver = false;
      const late = new Abort();
      const leave = (): void => {
        isOver = true;
        late.abort();
        if (!this.#connection.isClosed()) subscription.unsubscribe();
      };
      const end = (isTooLarge: boolean): void => {
        if (isOver) return;
        leave();
        const last = messages.at(-1);
        if (last !== undefined) this.#next = last.seq + 1;
        resolve({ messages, isTooLarge });
      };
      const fail = (cause: Error): void => {
        if (isOver) return;
        leave();
        reject(cause);
      };
      const subscription = this.#connection.subscribe(inbox, {
        callback: (error, message) => {
          if (error !== null) return fail(error);
          const status = message.headers?.code ?? 0;
          if (status === 0) {
            messages.push(this.#messageOf(message));
            if (messages.length >= request.batch) end(false);
            return undefined;
          }
          if (status === 503) return fail(noRespondersFailure());
          if (status === 409 && /consumer (deleted|is)/i.test(message.headers?.description ?? ''))
            return fail(noRespondersFailure());
          return end(status === 409);
        },
      });
      this.#connection.publish(subject, JSON.stringify(request), { reply: inbox });
      const watch = async (): Promise<void> => {
        for (let before = -1; before < messages.length;) {
          before = messages.length;
          await this.#timer.sleep(pullMsMax, late);
          if (isOver) return;
        }
        if (messages.length === 0)
          return fail(new TidemarkError('timeout', 'NATS delivered nothing in time'));
        end(false);
        // What is still on its way counts as delivered there, and nobody waits for it here.
        this.#next = 0;
      };
      void watch();
    });
  }

  #messageOf(message: Msg): StreamMessage {
    return {
      ...deliveryOf(message.reply ?? ''),
      subject: message.subject,
      user: this.#userOf(message),
      fromServer: isFromServer(message.headers),
      bytes: new Uint8Array(message.data),
    };
  }
}
