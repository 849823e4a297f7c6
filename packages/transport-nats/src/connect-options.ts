import { credsAuthenticator, type ConnectionOptions } from '@nats-io/nats-core';
import { utf8Encode } from '@tidemark/model';
import type { NatsPlace } from './nats-transport.js';
import { inboxPrefixOf } from './subjects.js';

/** Time after which an address that does not answer is given up, ms. */
export const dialMsMax = 5_000;
/** Pause between pings that find a dead connection, ms; two unanswered ones end it. */
const pingMs = 10_000;

/** A connection that was asked to be encrypted is never opened without. */
const tlsOptions = ({ servers, tls }: NatsPlace): Pick<ConnectionOptions, 'tls'> => {
  if (tls === undefined && !servers.some((one) => one.startsWith('tls://'))) return {};
  const { ca, certificate, key } = tls ?? {};
  return {
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(certificate === undefined ? {} : { cert: certificate }),
      ...(key === undefined ? {} : { key }),
    },
  };
};

/** Options that all connections share. */
export const connectOptions = (place: NatsPlace): ConnectionOptions => {
  const { servers, name, user, password, token, credentials, device } = place;
  const inboxPrefix =
    place.inboxPrefix ?? (device === undefined ? undefined : inboxPrefixOf(device));
  return {
    servers: [...servers],
    timeout: dialMsMax,
    pingInterval: pingMs,
    maxPingOut: 2,
    ignoreClusterUpdates: true,
    ...(name === undefined ? {} : { name }),
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { pass: password }),
    ...(token === undefined ? {} : { token }),
    ...(credentials === undefined
      ? {}
      : { authenticator: credsAuthenticator(utf8Encode(credentials)) }),
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    ...tlsOptions(place),
  };
};

/** Options of a device's connection: it never reconnects by itself, the replica's runs decide when. */
export const deviceOptions = (place: NatsPlace): ConnectionOptions => ({
  ...connectOptions(place),
  reconnect: false,
});
