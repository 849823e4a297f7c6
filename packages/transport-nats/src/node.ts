export { tcpTransport, type TcpOptions } from './tcp-transport.js';
export {
  publishBytesInFlightMax,
  type NatsEffects,
  type NatsPlace,
  type NatsTransport,
} from './nats-transport.js';
