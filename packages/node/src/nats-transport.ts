import type { Clock, Entropy, Timer } from '@tidemark/ports';
import { tcpTransport, type NatsPlace, type NatsTransport } from '@tidemark/transport-nats/node';
import { systemClock, systemEntropy, systemTimer } from './node-effects.js';

/** Options of `natsTransport`: where NATS is; clock, chance and timer of the system when left out. */
export interface NatsTransportOptions extends NatsPlace {
  readonly clock?: Clock;
  readonly entropy?: Entropy;
  readonly timer?: Timer;
}

/**
 * Builds the way to servers behind NATS, over TCP or TLS. Replicas of one process may share it. Nothing is
 * dialled before the first sync. Throws `invalid-option` when it names no server.
 */
export const natsTransport = (options: NatsTransportOptions): NatsTransport =>
  tcpTransport({
    ...options,
    clock: options.clock ?? systemClock,
    entropy: options.entropy ?? systemEntropy,
    timer: options.timer ?? systemTimer,
  });
