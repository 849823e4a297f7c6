import type { NatsPlace } from '@tidemark/node';
import { UsageError } from '../failure.js';

const isLoopback = (address: string): boolean => {
  const host = new URL(address.includes('://') ? address : `nats://${address}`).hostname;
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
};

/** Refuses NATS beyond this machine without encryption and credentials. Throws UsageError. */
export const checkExposure = (place: NatsPlace, isInsecure: boolean): void => {
  const beyond = place.servers.filter((address) => !isLoopback(address));
  if (isInsecure || beyond.length === 0) return;
  const isSecret =
    place.credentials !== undefined || place.token !== undefined || place.password !== undefined;
  // Where certificates are given, no connection is opened without encryption, whatever the address.
  const isEncrypted =
    place.tls !== undefined || beyond.every((address) => /^(tls|wss):\/\//.test(address));
  if (isSecret && isEncrypted) return;
  throw new UsageError(
    `NATS at ${beyond.join(', ')} is beyond this machine, and ${isEncrypted ? 'no credentials are set' : 'it is not reached by tls://'}`,
    'Use tls:// and nats.credentials, or give --insecure if only your own devices reach it.',
  );
};
