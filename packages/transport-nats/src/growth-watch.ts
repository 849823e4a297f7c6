import { AckPolicy, DeliverPolicy, type JetStreamManager } from '@nats-io/jetstream';
import { createInbox, type NatsConnection, type Subscription } from '@nats-io/nats-core';
import type { Clock, Timer } from '@tidemark/ports';
import { Abort } from './abort.js';
import { streamName } from './subjects.js';
import { TurnQueue } from './turn-queue.js';

/** Time between the signs of life that NATS sends while a stream does not grow, ms. */
export const watchHeartbeatMs = 5_000;
/** Silence after which the watch of a stream is made anew, ms. */
export const watchSilenceMsMax = 12_000;
const checkMs = 2_000;
const nanosPerMs = 1_000_000;

/** Parts of a watch. */
export interface GrowthWatchParts {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly token: string;
  readonly generation: () => number;
  /** Called when something may have been stored. */
  readonly onGrown: () => void;
}

/**
 * Tells that a stream grew, after the messages are stored. NATS sends their headers only; a lost watch is
 * made anew, and until then it calls back at each try, so that growth is noticed late but never missed.
 */
export class GrowthWatch {
  readonly #parts: GrowthWatchParts;
  readonly #stopped = new Abort();
  readonly #turns = new TurnQueue();
  #subscription: Subscription | undefined;
  #consumer: { readonly generation: number; readonly name: string } | undefined;
  #heardAtMs = 0;

  constructor(parts: GrowthWatchParts) {
    this.#parts = parts;
    void this.#keep();
  }

  /** Looks at once whether the watch is still the right one: the connection or the generation changed. */
  readonly renew = (): void => {
    this.#heardAtMs = 0;
    void this.#startInTurn();
  };

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#turns.run(() => this.#forget());
  }

  /** Starts that ran side by side would leave the watch of one of them behind. */
  #startInTurn(): Promise<void> {
    return this.#turns.run(async () => {
      if (!this.#stopped.aborted) await this.#start();
    });
  }

  async #keep(): Promise<void> {
    const { clock, timer } = this.#parts;
    while (!this.#stopped.aborted) {
      const silentMs = clock.nowMs() - this.#heardAtMs;
      const isOther = this.#consumer?.generation !== this.#parts.generation();
      if (silentMs > watchSilenceMsMax || silentMs < 0 || isOther) await this.#startInTurn();
      await timer.sleep(checkMs, this.#stopped);
    }
  }

  async #start(): Promise<void> {
    const { connection, manager, clock, token, generation, onGrown } = this.#parts;
    const watched = generation();
    this.#heardAtMs = clock.nowMs();
    try {
      await this.#forget();
      if (this.#stopped.aborted) return;
      const inbox = createInbox();
      const subscription = connection.subscribe(inbox, {
        callback: (error, message) => {
          if (error !== null) return;
          this.#heardAtMs = clock.nowMs();
          // A status is a sign of life, everything else a message.
          if ((message.headers?.code ?? 0) === 0) onGrown();
        },
      });
      this.#subscription = subscription;
      const info = await manager.consumers.add(streamName(token, watched), {
        ack_policy: AckPolicy.None,
        deliver_policy: DeliverPolicy.New,
        deliver_subject: inbox,
        headers_only: true,
        idle_heartbeat: watchHeartbeatMs * nanosPerMs,
        mem_storage: true,
        num_replicas: 1,
        inactive_threshold: 2 * watchSilenceMsMax * nanosPerMs,
      });
      this.#consumer = { generation: watched, name: info.name };
    } catch {
      // NATS is away, or the stream: the next look tries again.
      this.#heardAtMs = 0;
    }
    // What was stored before the watch began is not told by it.
    if (!this.#stopped.aborted) onGrown();
  }

  async #forget(): Promise<void> {
    const { connection, manager, token } = this.#parts;
    const consumer = this.#consumer;
    this.#consumer = undefined;
    if (connection.isClosed()) return;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    if (consumer === undefined) return;
    const stream = streamName(token, consumer.generation);
    await manager.consumers.delete(stream, consumer.name).catch(() => false);
  }
}
