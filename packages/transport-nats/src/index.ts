export {
  webSocketTransport,
  type WebSocketLike,
  type WebSocketOptions,
} from './web-socket-transport.js';
export {
  publishBytesInFlightMax,
  type NatsEffects,
  type NatsPlace,
  type NatsTls,
  type NatsTransport,
} from './nats-transport.js';
