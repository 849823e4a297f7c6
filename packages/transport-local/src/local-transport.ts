import { TidemarkError } from '@tidemark/model';
import type { AbortSignalLike, Caller, Link, Service, Timer, Transport } from '@tidemark/ports';
import { messageBytesMax } from '@tidemark/protocol';

/** Transport within one process, with switches that tests use to cut it. */
export interface LocalTransport extends Transport {
  /** Loses all open links; calls in flight reject with `unreachable`, whatever the server makes of them. */
  readonly disconnectAll: () => void;
  /** False loses all links and refuses new ones until it is true again. */
  readonly setOnline: (online: boolean) => void;
  /** Serves another service from now on, as after a restart of the server; null loses all links. */
  readonly setService: (service: Service | null) => void;
  /** Number of open links. */
  readonly openLinks: () => number;
}

/** Options of `createLocalTransport`. */
export interface LocalTransportOptions {
  readonly service: Service | null;
  readonly timer: Timer;
}

const unreachable = (): TidemarkError =>
  new TidemarkError('unreachable', 'the link to the server is lost');
const isAborted = (signal: AbortSignalLike | undefined): boolean => signal?.aborted === true;
const aborted = (): TidemarkError => new TidemarkError('aborted', 'the call was cancelled');

/** Failures of the service reach the caller with their code; a bug of the server is not its business. */
const asAnswer = (cause: unknown): TidemarkError =>
  cause instanceof TidemarkError
    ? cause
    : new TidemarkError('unreachable', 'the server failed', {}, cause);

class OpenLink {
  readonly #caller: Caller;
  readonly #timer: Timer;
  readonly #onClosed: (link: OpenLink) => void;
  readonly #lostListeners = new Set<() => void>();
  readonly #waiters = new Set<() => void>();
  #service: Service | null;
  #ticks = 0;
  #stopTicks: () => void;

  constructor(service: Service, caller: Caller, timer: Timer, onClosed: (link: OpenLink) => void) {
    this.#service = service;
    this.#caller = caller;
    this.#timer = timer;
    this.#onClosed = onClosed;
    this.#stopTicks = service.onTick(() => {
      this.#ticks += 1;
      this.#wake();
    });
  }

  link(): Link {
    return {
      publish: (envelope, signal) =>
        this.#call(envelope, signal, (service, bytes) => service.publish(this.#caller, bytes)),
      request: async (endpoint, body, signal) => {
        const answer = await this.#call(body, signal, (service, bytes) =>
          service.answer(this.#caller, endpoint, bytes),
        );
        // Bytes are copied both ways: neither side may see what the other writes later.
        return answer.slice();
      },
      waitForTick: (ms, signal) => this.#waitForTick(ms, signal),
      onLost: (callback) => {
        if (this.#service === null) callback();
        else this.#lostListeners.add(callback);
      },
      close: () => {
        this.end();
        return Promise.resolve();
      },
    };
  }

  /** Ends the link for both sides; calls back those who wanted to know. */
  end(): void {
    if (this.#service === null) return;
    this.#service = null;
    this.#stopTicks();
    this.#stopTicks = () => undefined;
    this.#wake();
    this.#onClosed(this);
    for (const listener of this.#lostListeners) listener();
    this.#lostListeners.clear();
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  #call<A>(
    body: Uint8Array,
    signal: AbortSignalLike | undefined,
    run: (service: Service, bytes: Uint8Array) => Promise<A>,
  ): Promise<A> {
    const service = this.#service;
    if (service === null) return Promise.reject(unreachable());
    if (isAborted(signal)) return Promise.reject(aborted());
    if (body.length > messageBytesMax)
      return Promise.reject(
        new TidemarkError('malformed-message', `a message exceeds ${messageBytesMax} bytes`),
      );
    return new Promise<A>((resolve, reject) => {
      const leave = (): void => {
        signal?.removeEventListener('abort', onAbort);
        this.#waiters.delete(onWake);
      };
      const onAbort = (): void => {
        leave();
        reject(aborted());
      };
      const onWake = (): void => {
        if (this.#service !== null) return;
        leave();
        reject(unreachable());
      };
      signal?.addEventListener('abort', onAbort);
      this.#waiters.add(onWake);
      run(service, body.slice()).then(
        (answer) => {
          leave();
          resolve(answer);
        },
        (cause: unknown) => {
          leave();
          reject(asAnswer(cause));
        },
      );
    });
  }

  async #waitForTick(ms: number, signal: AbortSignalLike | undefined): Promise<boolean> {
    if (this.#service === null) throw unreachable();
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
      void this.#timer.sleep(ms, sleeper).then(() => {
        if (!over) end();
      });
    });
    if (this.#service === null) throw unreachable();
    if (isAborted(signal)) throw aborted();
    return this.#ticks > before;
  }
}

/** Smallest AbortSignalLike that its owner can fire. */
class Abort implements AbortSignalLike {
  aborted = false;
  readonly #listeners = new Set<() => void>();
  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.add(listener);
  }
  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.delete(listener);
  }
  abort(): void {
    this.aborted = true;
    for (const listener of this.#listeners) listener();
  }
}

/**
 * Builds the transport of a server in the same process: the embedded default.
 *
 * It keeps the contract of every transport: bytes are copied, errors keep their code, calls end when the
 * signal fires or the link is lost, at the latest when the service answers.
 */
export const createLocalTransport = (options: LocalTransportOptions): LocalTransport => {
  const { timer } = options;
  let service = options.service;
  let online = true;
  const links = new Set<OpenLink>();
  const disconnectAll = (): void => {
    for (const link of [...links]) link.end();
  };
  return {
    open: (caller, signal) => {
      if (isAborted(signal)) return Promise.reject(aborted());
      if (!online || service === null) return Promise.reject(unreachable());
      const opened = new OpenLink(service, { ...caller }, timer, (ended) => links.delete(ended));
      links.add(opened);
      return Promise.resolve(opened.link());
    },
    disconnectAll,
    setOnline: (next) => {
      online = next;
      if (!next) disconnectAll();
    },
    setService: (next) => {
      service = next;
      disconnectAll();
    },
    openLinks: () => links.size,
  };
};
