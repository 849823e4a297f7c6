import { wsconnect, type WsConnectionOptions } from '@nats-io/nats-core';
import { deviceOptions } from './connect-options.js';
import {
  checkPlace,
  createNatsTransport,
  type NatsEffects,
  type NatsPlace,
  type NatsTransport,
} from './nats-transport.js';

/** Part of a WebSocket that is used; the browser's own has it. */
export interface WebSocketLike {
  binaryType: string;
  readonly close: () => void;
  readonly send: (data: Uint8Array) => void;
}

/** Options of a transport over WebSocket. */
export interface WebSocketOptions extends NatsPlace, NatsEffects {
  /** Makes a WebSocket where the runtime has none, such as Node 20. */
  readonly webSocket?: (url: string) => WebSocketLike;
}

type SocketFactory = NonNullable<WsConnectionOptions['wsFactory']>;

const withoutTls = ({ tls: _tls, ...place }: WebSocketOptions): NatsPlace => place;

/** Builds a transport over WebSocket, for browsers. Nothing is dialled before the first link. */
export const webSocketTransport = (options: WebSocketOptions): NatsTransport => {
  checkPlace(options);
  const { webSocket } = options;
  const factory: SocketFactory | undefined =
    webSocket &&
    ((url) => {
      const socket = webSocket(url) as unknown as Awaited<ReturnType<SocketFactory>>['socket'];
      return Promise.resolve({ socket, encrypted: url.startsWith('wss:') });
    });
  return createNatsTransport({
    clock: options.clock,
    timer: options.timer,
    entropy: options.entropy,
    device: options.device,
    inboxPrefix: options.inboxPrefix,
    dial: () =>
      wsconnect({
        // Which authorities are trusted is the browser's matter.
        ...deviceOptions(withoutTls(options)),
        ...(factory === undefined ? {} : { wsFactory: factory }),
      }),
  });
};
