import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core';
import { TidemarkError, toHex, utf8Decode } from '@tidemark/model';
import type {
  AbortSignalLike,
  Caller,
  Clock,
  Endpoint,
  Entropy,
  Link,
  Timer,
} from '@tidemark/ports';
import { messageBytesMax } from '@tidemark/protocol';
import { Abort, aborted, isAborted, orAborted } from './abort.js';
import { AnswerRooms } from './answer-rooms.js';
import { askServer, isSlow } from './ask.js';
import { callHeaders, headersOf, readAnswer, serverOf, type WholeAnswer } from './answer.js';
import { dialPauseMs } from './back-off.js';
import type { ByteWindow } from './byte-window.js';
import { connectionFailure, isNoResponders, refusalFailure, refusalOf } from './failure.js';
import { probeMsMax, probesMax, type ServerChoice } from './server-choice.js';
import { decodeHello } from './hello.js';
import {
  askSubject,
  opsSubject,
  streamName,
  tenantToken,
  tickSubject,
  type Ask,
} from './subjects.js';

/** Longest wait for the word that an envelope is stored, ms. */
export const storedMsMax = 10_000;
/** Times that one envelope is offered to the input before the call fails. */
export const publishTriesMax = 4;
/** Servers that one call asks when they are behind, or fall silent. */
export const serversAskedMax = 3;
/** Random bytes that name one envelope while it is offered. */
const messageIdBytes = 12;

const lost = (): TidemarkError =>
  new TidemarkError('unreachable', 'the link to the server is lost');

/** Parts of a link. */
export interface DeviceLinkParts {
  readonly connection: NatsConnection;
  readonly caller: Caller;
  /** Which server to call, as all links of the transport have learned it. */
  readonly choice: ServerChoice;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly entropy: Entropy;
  /** Bounds the bytes that wait for the server's word, over all links of the connection. */
  readonly window: ByteWindow;
  /** Device that the connection's credential is of; `-` for none. */
  readonly device: string;
  /** Subject of a new inbox for one answer. */
  readonly inbox: () => string;
  readonly onEnded: () => void;
}

type Stored =
  | { readonly tag: 'stored' }
  | { readonly tag: 'elsewhere' }
  | { readonly tag: 'failed'; readonly error: Error };

const readPubAck = (message: Msg): Stored => {
  let json: unknown;
  try {
    json = JSON.parse(utf8Decode(message.data));
  } catch {
    json = undefined;
  }
  if (typeof json !== 'object' || json === null)
    return { tag: 'failed', error: new TidemarkError('malformed-message', 'no word of the input') };
  if ('error' in json && typeof json.error === 'object' && json.error !== null) {
    const { err_code: code = 0, description = '' } = json.error as {
      readonly err_code?: number;
      readonly description?: string;
    };
    const refusal = refusalOf(code, description);
    return refusal === 'other-generation' || refusal === 'missing'
      ? { tag: 'elsewhere' }
      : { tag: 'failed', error: refusalFailure(refusal, code) };
  }
  return { tag: 'stored' };
};

/** One replica's link over a connection that others may share. */
export class DeviceLink implements Link {
  readonly #parts: DeviceLinkParts;
  readonly #token: string;
  readonly #lostListeners = new Set<() => void>();
  readonly #waiters = new Set<() => void>();
  readonly #ended = new Abort();
  readonly #rooms = new AnswerRooms();
  #subscription: Subscription | undefined;
  #generation = 0;
  #ticks = 0;

  constructor(parts: DeviceLinkParts) {
    this.#parts = parts;
    this.#token = tenantToken(parts.caller.tenant);
  }

  /** Listens for ticks and asks which generation takes envelopes. */
  async open(signal: AbortSignalLike | undefined): Promise<void> {
    this.#subscription = this.#parts.connection.subscribe(tickSubject(this.#token), {
      callback: () => {
        this.#ticks += 1;
        this.#wake();
      },
    });
    // The server sees the subscription first: no tick after this answer is missed.
    await this.#hello(signal);
  }

  readonly request = (
    endpoint: Endpoint,
    body: Uint8Array,
    signal?: AbortSignalLike,
  ): Promise<Uint8Array> => {
    // Bytes are copied before anything waits: the caller may write into them. A Buffer's slice copies none.
    const bytes = new Uint8Array(body);
    return this.#whileOpen(bytes, signal, () => this.#askAny(endpoint, bytes, signal));
  };

  readonly release = (answer: Uint8Array): void => this.#rooms.give(answer);

  readonly publish = (envelope: Uint8Array, signal?: AbortSignalLike): Promise<void> => {
    const bytes = new Uint8Array(envelope);
    return this.#whileOpen(bytes, signal, () =>
      this.#parts.window.run(bytes.length, () => this.#store(bytes, signal)),
    );
  };

  readonly waitForTick = async (ms: number, signal?: AbortSignalLike): Promise<boolean> => {
    if (this.#ended.aborted) throw lost();
    if (isAborted(signal)) throw aborted();
    const before = this.#ticks;
    let over = false;
    const sleeper = new Abort();
    await new Promise<void>((resolve) => {
      const end = (): void => {
        over = true;
        this.#waiters.delete(end);
        signal?.removeEventListener('abort', end);
        sleeper.abort();
        resolve();
      };
      this.#waiters.add(end);
      signal?.addEventListener('abort', end);
      void this.#parts.timer.sleep(ms, sleeper).then(() => {
        if (!over) end();
      });
    });
    if (this.#ended.aborted) throw lost();
    if (isAborted(signal)) throw aborted();
    return this.#ticks > before;
  };

  readonly onLost = (callback: () => void): void => {
    if (this.#ended.aborted) callback();
    else this.#lostListeners.add(callback);
  };

  readonly close = (): Promise<void> => {
    this.end();
    return Promise.resolve();
  };

  /** Ends the link; calls in flight reject with `unreachable`. */
  end(): void {
    if (this.#ended.aborted) return;
    this.#ended.abort();
    if (!this.#parts.connection.isClosed()) this.#subscription?.unsubscribe();
    this.#wake();
    for (const listener of this.#lostListeners) listener();
    this.#lostListeners.clear();
    this.#parts.onEnded();
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  async #whileOpen<A>(
    bytes: Uint8Array,
    signal: AbortSignalLike | undefined,
    work: () => Promise<A>,
  ): Promise<A> {
    if (this.#ended.aborted) throw lost();
    if (isAborted(signal)) throw aborted();
    if (bytes.length > messageBytesMax)
      throw new TidemarkError('malformed-message', `a message exceeds ${messageBytesMax} bytes`);
    try {
      const running = orAborted(work(), signal);
      return await orAborted(running, this.#ended);
    } catch (cause) {
      if (isAborted(signal)) throw aborted();
      if (this.#ended.aborted) throw lost();
      throw connectionFailure(cause);
    }
  }

  /** Calls servers until one answers. Every call may be made twice. */
  async #askAny(
    ask: Ask,
    body: Uint8Array,
    signal: AbortSignalLike | undefined,
  ): Promise<Uint8Array> {
    for (let asked = 1; ; asked += 1) {
      try {
        return await this.#ask(ask, body, signal);
      } catch (cause) {
        const mayAskAgain =
          cause instanceof TidemarkError &&
          (cause.code === 'behind' || (cause.code === 'timeout' && !isSlow(cause)));
        if (!mayAskAgain || asked >= serversAskedMax || this.#ended.aborted) throw cause;
        if (this.#parts.choice.isOpen) await this.#probe(signal);
      }
    }
  }

  /** Looks for a server that answers: the next call names it. What answers too late, or not, costs nothing more. */
  async #probe(signal: AbortSignalLike | undefined): Promise<void> {
    const { choice, timer } = this.#parts;
    const over = new Abort();
    const probes = Array.from({ length: probesMax }, async () => {
      const body = new Uint8Array(0);
      const { headers } = await this.#askOne('hello', body, [signal, this.#ended, over]);
      const from = serverOf(headers);
      if (from === undefined) throw lost();
      choice.answered(from);
    });
    await Promise.race([Promise.any(probes).catch(() => undefined), timer.sleep(probeMsMax, over)]);
    over.abort();
  }

  async #ask(ask: Ask, body: Uint8Array, signal: AbortSignalLike | undefined): Promise<Uint8Array> {
    const { choice, clock } = this.#parts;
    const server = choice.next(clock.nowMs());
    if (server === undefined) return this.#askAt(undefined, ask, body, signal);
    try {
      return await this.#askAt(server, ask, body, signal);
    } catch (cause) {
      // It is gone: that cost no time. Or a server that knows no names took the call for one of no endpoint.
      const isOther = cause instanceof TidemarkError && cause.code === 'malformed-message';
      if (!isOther && !isNoResponders(cause)) throw cause;
      choice.avoid(server);
      return this.#askAt(undefined, ask, body, signal);
    }
  }

  /** Calls the named server, or any. */
  async #askAt(
    server: string | undefined,
    ask: Ask,
    body: Uint8Array,
    signal: AbortSignalLike | undefined,
  ): Promise<Uint8Array> {
    const { choice, clock } = this.#parts;
    const until = [signal, this.#ended];
    const message = await this.#askOne(ask, body, until, server).catch((cause: unknown) => {
      if (cause instanceof TidemarkError && cause.code === 'timeout' && !isSlow(cause))
        choice.silent(clock.nowMs());
      throw cause;
    });
    const from = serverOf(message.headers);
    choice.answered(from);
    try {
      return readAnswer(message);
    } catch (cause) {
      if (cause instanceof TidemarkError && (cause.code === 'behind' || cause.code === 'timeout'))
        choice.avoid(from);
      throw cause;
    }
  }

  #askOne(
    ask: Ask,
    body: Uint8Array,
    until: readonly (AbortSignalLike | undefined)[],
    server?: string,
  ): Promise<WholeAnswer> {
    const { connection, caller, timer, inbox, device } = this.#parts;
    return askServer({
      connection,
      timer,
      inbox: inbox(),
      subject: askSubject(this.#token, ask, device, caller.replica, server),
      body,
      headers: callHeaders(caller.user),
      rooms: this.#rooms,
      until,
    });
  }

  async #hello(signal: AbortSignalLike | undefined): Promise<void> {
    const answer = await orAborted(this.#askAny('hello', new Uint8Array(0), signal), signal);
    this.#generation = decodeHello(answer).generation;
  }

  /**
   * Offers an envelope to the input until it says that it is stored. The id is of this call only: an
   * envelope that the server skipped must be stored again when it is offered again.
   */
  async #store(bytes: Uint8Array, signal: AbortSignalLike | undefined): Promise<void> {
    const { timer, entropy } = this.#parts;
    const id = toHex(entropy.bytes(messageIdBytes));
    let failure: Error = lost();
    for (let tried = 0; tried < publishTriesMax; tried += 1) {
      if (tried > 0) await timer.sleep(dialPauseMs(tried, entropy), this.#ended);
      if (this.#ended.aborted) throw lost();
      if (isAborted(signal)) throw aborted();
      const outcome = await this.#offer(bytes, id);
      if (outcome.tag === 'stored') return;
      if (outcome.tag === 'failed') {
        if (outcome.error instanceof TidemarkError && outcome.error.code !== 'timeout')
          throw outcome.error;
        failure = outcome.error;
      } else await this.#hello(signal);
    }
    throw failure;
  }

  async #offer(bytes: Uint8Array, id: string): Promise<Stored> {
    const { connection, caller, device } = this.#parts;
    const generation = this.#generation;
    const named = headersOf(caller.user);
    named.set('Nats-Msg-Id', id);
    named.set('Nats-Expected-Stream', streamName(this.#token, generation));
    try {
      return readPubAck(
        await connection.request(
          opsSubject(this.#token, generation, device, caller.replica),
          bytes,
          { timeout: storedMsMax, headers: named },
        ),
      );
    } catch (cause) {
      // Nobody stores this subject: the generation is gone, or its stream has no leader for now.
      if (isNoResponders(cause)) return { tag: 'elsewhere' };
      return { tag: 'failed', error: connectionFailure(cause) };
    }
  }
}
