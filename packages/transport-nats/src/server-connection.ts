import type { NatsConnection } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import type { Entropy } from '@tidemark/ports';
import { dialPauseMs } from './back-off.js';
import { connectOptions } from './connect-options.js';
import { connectionFailure } from './failure.js';
import { checkPlace, type NatsPlace } from './nats-transport.js';

/** Connection of a server to NATS: all tenants of a process may share it. */
export interface NatsServerConnection {
  /** Connection of nats-core; only this package looks inside. */
  readonly core: NatsConnection;
  /** Version of nats-server, as it tells it. */
  readonly version: () => string;
  /** False while the connection is lost: it comes back by itself. */
  readonly isConnected: () => boolean;
  /** Calls back whenever the connection was lost and is there again. Returns the way to stop. */
  readonly onReconnected: (callback: () => void) => () => void;
  readonly close: () => Promise<void>;
}

/**
 * Connects a server. The connection comes back by itself for ever, with pauses that double up to 5 s and
 * are drawn at random. Rejects with `unreachable` or `denied` when the first try fails.
 */
export const connectServer = async (
  place: NatsPlace,
  entropy: Entropy,
): Promise<NatsServerConnection> => {
  checkPlace(place);
  let failures = 0;
  const core = await connect({
    ...connectOptions(place),
    reconnect: true,
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => {
      failures += 1;
      return dialPauseMs(failures, entropy);
    },
  }).catch((cause: unknown) => {
    throw connectionFailure(cause);
  });
  const listeners = new Set<() => void>();
  let isConnected = true;
  const watch = async (): Promise<void> => {
    for await (const status of core.status()) {
      if (status.type === 'disconnect' || status.type === 'reconnect')
        isConnected = status.type === 'reconnect';
      if (status.type !== 'reconnect') continue;
      failures = 0;
      for (const listener of [...listeners]) listener();
    }
  };
  void watch();
  return {
    core,
    version: () => core.info?.version ?? '',
    isConnected: () => isConnected && !core.isClosed(),
    onReconnected: (callback) => {
      listeners.add(callback);
      return () => listeners.delete(callback);
    },
    close: () => core.close(),
  };
};
