export { tcpTransport, type TcpOptions } from './tcp-transport.js';
export {
  publishBytesInFlightMax,
  type NatsEffects,
  type NatsPlace,
  type NatsTls,
  type NatsTransport,
} from './nats-transport.js';
