import { connect } from '@nats-io/transport-node';
import { deviceOptions } from './connect-options.js';
import {
  checkPlace,
  createNatsTransport,
  type NatsEffects,
  type NatsPlace,
  type NatsTransport,
} from './nats-transport.js';

/** Options of a transport over TCP. */
export type TcpOptions = NatsPlace & NatsEffects;

/** Builds a transport over TCP, for Node. Nothing is dialled before the first link. */
export const tcpTransport = (options: TcpOptions): NatsTransport => {
  checkPlace(options);
  return createNatsTransport({
    clock: options.clock,
    timer: options.timer,
    entropy: options.entropy,
    device: options.device,
    inboxPrefix: options.inboxPrefix,
    dial: () => connect(deviceOptions(options)),
  });
};
