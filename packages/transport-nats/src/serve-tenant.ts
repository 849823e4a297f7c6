import type { Msg } from '@nats-io/nats-core';
import { TidemarkError } from '@tidemark/model';
import type { Caller, Logger, Service, Timer } from '@tidemark/ports';
import { messageBytesMax, type Protocols } from '@tidemark/protocol';
import { Abort } from './abort.js';
import { encodeFailure, nameServer, respondTo, userOf, workingHeaders } from './answer.js';
import { encodeHello } from './hello.js';
import type { NatsServerConnection } from './server-connection.js';
import {
  askOf,
  asksOfTenant,
  mayAnswerOn,
  noDevice,
  tenantToken,
  tickSubject,
} from './subjects.js';

/** Calls that one tenant's server works on at once; others wait their turn. */
export const callsInFlightMax = 256;
/** Calls that wait their turn at most; more are answered by `timeout`, to try again. */
export const callsWaitingMax = 4_096;
/** Bytes of calls that one tenant's server works on, or that wait, at once. */
export const callBytesInFlightMax = 32 * 1024 * 1024;
/** Shortest time between two ticks, ms: windows applied meanwhile share the next one. */
export const tickPauseMs = 20;
/** Time between the signs that a server works on a call, ms. */
export const workingMs = 1_000;
/** Longest wait for calls in flight when serving ends, ms. */
export const drainMsMax = 5_000;

/** What serving a tenant works with. */
export interface ServeTenantOptions {
  readonly connection: NatsServerConnection;
  readonly tenant: string;
  readonly service: Service;
  /** Name by which replicas may call this server and no other: hexadecimal; NATS chooses for all calls when left out. */
  readonly name?: string;
  /** Generation of the input that takes envelopes now. */
  readonly generation: () => Promise<number>;
  readonly timer: Timer;
  readonly logger?: Logger;
  /** Versions of the protocol that devices may speak. */
  readonly protocols?: Protocols;
}

/** A call, read out of the buffer into which the connection reads on. */
interface Call {
  readonly message: Msg;
  readonly asked: ReturnType<typeof askOf>;
  readonly user: string;
  readonly body: Uint8Array;
}

/** A tenant that is being served. */
export interface ServedTenant {
  /** Calls in flight, those that wait their turn included. */
  readonly calls: () => number;
  /** Stops taking calls and waits for those in flight, at most 5 s. */
  readonly close: () => Promise<void>;
}

class TickPublisher {
  readonly #publish: () => void;
  readonly #timer: Timer;
  readonly #stopped = new Abort();
  #pausing = false;
  #wanted = false;

  constructor(publish: () => void, timer: Timer) {
    this.#publish = publish;
    this.#timer = timer;
  }

  readonly tick = (): void => {
    this.#wanted = true;
    if (!this.#pausing && !this.#stopped.aborted) void this.#run();
  };

  stop(): void {
    this.#stopped.abort();
  }

  async #run(): Promise<void> {
    this.#pausing = true;
    while (this.#wanted && !this.#stopped.aborted) {
      this.#wanted = false;
      this.#publish();
      await this.#timer.sleep(tickPauseMs, this.#stopped);
    }
    this.#pausing = false;
  }
}

class TenantServer implements ServedTenant {
  readonly #options: ServeTenantOptions;
  readonly #running = new Set<Promise<void>>();
  readonly #stopListening: () => Promise<void>;
  /** Calls that wait until one of those that are worked on is answered, in their order. */
  readonly #waiting: (() => void)[] = [];
  #working = 0;
  #bytes = 0;

  constructor(options: ServeTenantOptions) {
    this.#options = options;
    const { core } = options.connection;
    const token = tenantToken(options.tenant);
    const ticks = new TickPublisher(() => {
      if (!core.isClosed()) core.publish(tickSubject(token));
    }, options.timer);
    const stopTicks = options.service.onTick(ticks.tick);
    const callback = (error: Error | null, message: Msg): void => {
      if (error === null) this.#take(message);
    };
    // One server of the group gets each call; which one is left to NATS. What names this one is its own.
    const subscriptions = asksOfTenant(token).map((subject) =>
      core.subscribe(subject, { queue: 'servers', callback }),
    );
    const { name } = options;
    if (name !== undefined)
      for (const subject of asksOfTenant(token, name))
        subscriptions.push(core.subscribe(subject, { callback }));
    this.#stopListening = async () => {
      stopTicks();
      ticks.stop();
      if (core.isClosed()) return;
      // A call that NATS handed over before it heard of the end is answered: its caller would wait in vain.
      if (options.connection.isConnected())
        await Promise.allSettled(subscriptions.map((subscription) => subscription.drain()));
      else for (const subscription of subscriptions) subscription.unsubscribe();
    };
  }

  readonly calls = (): number => this.#running.size;

  readonly close = async (): Promise<void> => {
    const over = new Abort();
    const { timer } = this.#options;
    const drain = async (): Promise<void> => {
      await this.#stopListening();
      await Promise.allSettled([...this.#running]);
    };
    await Promise.race([drain(), timer.sleep(drainMsMax, over)]);
    over.abort();
  };

  #take(message: Msg): void {
    const asked = askOf(message.subject);
    // Nobody is told: whoever names another subject than its own inbox wants the answer to do harm there.
    if (!mayAnswerOn(message.reply ?? '', asked?.device ?? noDevice)) return;
    const bytes = message.data.length;
    const isFull =
      this.#running.size >= callsInFlightMax + callsWaitingMax ||
      (this.#bytes > 0 && this.#bytes + bytes > callBytesInFlightMax);
    if (isFull) return this.#fail(message, new TidemarkError('timeout', 'the server is busy'));
    this.#bytes += bytes;
    // What waits, or is answered later, needs its own bytes.
    const body = new Uint8Array(message.data);
    const call = { message, asked, user: userOf(message.headers), body };
    const running: Promise<void> = this.#answer(call).finally(() => {
      this.#bytes -= bytes;
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  /** Resolves when a call may be worked on. */
  #turn(): Promise<void> | undefined {
    if (this.#working >= callsInFlightMax)
      return new Promise((resolve) => this.#waiting.push(resolve));
    this.#working += 1;
    return undefined;
  }

  /** Gives the turn of a call to the one that has waited longest. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#working -= 1;
    else next();
  }

  async #answer(call: Call): Promise<void> {
    const { message } = call;
    const done = new Abort();
    // Whoever waits his turn, too, hears that the server lives.
    void this.#tellWorking(message, done);
    await this.#turn();
    try {
      const answer = await this.#ask(call);
      if (answer.length > messageBytesMax)
        throw new TidemarkError('malformed-message', 'an answer exceeds the size of a message');
      if (!this.#options.connection.core.isClosed()) respondTo(message, answer, this.#options.name);
    } catch (cause) {
      if (!(cause instanceof TidemarkError))
        this.#options.logger?.log('error', 'an endpoint failed', { reason: String(cause) });
      this.#fail(message, cause);
    } finally {
      done.abort();
      this.#leave();
    }
  }

  /** Tells the caller, who may wait long, that its server is alive. */
  async #tellWorking(message: Msg, done: Abort): Promise<void> {
    const { timer, connection } = this.#options;
    for (;;) {
      await timer.sleep(workingMs, done);
      if (done.aborted || connection.core.isClosed()) return;
      message.respond(new Uint8Array(0), { headers: workingHeaders() });
    }
  }

  async #ask({ asked, user, body }: Call): Promise<Uint8Array> {
    const { tenant, service, generation, protocols } = this.#options;
    if (asked === undefined)
      throw new TidemarkError('malformed-message', 'there is no such endpoint');
    if (asked.ask === 'hello') return encodeHello({ generation: await generation() }, protocols);
    const { replica, device } = asked;
    const caller: Caller = {
      tenant,
      replica,
      user,
      ...(device === noDevice ? {} : { device }),
    };
    return service.answer(caller, asked.ask, body);
  }

  #fail(message: Msg, cause: unknown): void {
    const { body, headers } = encodeFailure(cause);
    nameServer(headers, this.#options.name);
    if (!this.#options.connection.core.isClosed()) message.respond(body, { headers });
  }
}

/**
 * Serves a tenant's replicas over NATS. Several servers may serve one tenant: each call goes to one of
 * them. Envelopes do not come this way: they go into the input.
 */
export const serveTenant = async (options: ServeTenantOptions): Promise<ServedTenant> => {
  const served = new TenantServer(options);
  // Calls that come after this resolved find the subscription.
  await options.connection.core.flush();
  return served;
};
