import type { NatsConnection } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import { TidemarkError } from '@tidemark/model';
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
  /**
   * Resolves when the connection has ended for good: with why, or with undefined when it was closed. Then its
   * process can serve no more.
   */
  readonly ended: Promise<TidemarkError | undefined>;
  readonly close: () => Promise<void>;
}

/**
 * Connects a server. The connection comes back by itself for ever, also after NATS refused the credential, with
 * pauses that double up to 5 s and are drawn at random. Rejects with `unreachable` or `denied` when the first try fails.
 */
export const connectServer = async (
  place: NatsPlace,
  entropy: Entropy,
): Promise<NatsServerConnection> => {
  checkPlace(place);
  let dials = 0;
  let pauseMs = dialPauseMs(1, entropy);
  const core = await connect({
    ...connectOptions(place),
    reconnect: true,
    maxReconnectAttempts: -1,
    // A credential that NATS refuses today may be the right one again tomorrow.
    ignoreAuthErrorAbort: true,
    // Asked for several times before each dial.
    reconnectDelayHandler: () => pauseMs,
  }).catch((cause: unknown) => {
    throw connectionFailure(cause);
  });
  const listeners = new Set<() => void>();
  let isConnected = true;
  let reconnects = 0;
  const connected = (): void => {
    dials = 0;
    pauseMs = dialPauseMs(1, entropy);
    isConnected = true;
    for (const listener of [...listeners]) listener();
  };
  const watch = async (): Promise<void> => {
    for await (const status of core.status()) {
      if (status.type === 'disconnect') isConnected = false;
      if (status.type === 'reconnecting') {
        dials += 1;
        pauseMs = dialPauseMs(dials + 1, entropy);
      }
      if (status.type !== 'reconnect') continue;
      // A refused credential shows as a connection, too: only an answer proves that NATS took it.
      reconnects += 1;
      const reconnect = reconnects;
      core.flush().then(
        () => {
          if (reconnect === reconnects) connected();
        },
        () => undefined,
      );
    }
  };
  void watch();
  let isClosing = false;
  const ended = core
    .closed()
    .then((cause): TidemarkError | undefined =>
      isClosing
        ? undefined
        : new TidemarkError(
            'unreachable',
            'the connection to NATS has ended',
            {},
            cause ?? undefined,
          ),
    );
  return {
    core,
    version: () => core.info?.version ?? '',
    isConnected: () => isConnected && !core.isClosed(),
    onReconnected: (callback) => {
      listeners.add(callback);
      return () => listeners.delete(callback);
    },
    ended,
    close: () => {
      isClosing = true;
      return core.close();
    },
  };
};
