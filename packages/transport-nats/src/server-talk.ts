import type { ServerTalk } from '@tidemark/ports';
import type { NatsServerConnection } from './server-connection.js';
import { serversSubject, tenantToken } from './subjects.js';

/** Longest word between servers, bytes: longer ones are not said. */
export const serverWordBytesMax = 64 * 1024;

/** Opens the talk of a tenant's servers on NATS: a subject that no device may publish or hear. */
export const openServerTalk = (connection: NatsServerConnection, tenant: string): ServerTalk => {
  const { core } = connection;
  const subject = serversSubject(tenantToken(tenant));
  return {
    say: (word) => {
      if (!core.isClosed() && word.length <= serverWordBytesMax) core.publish(subject, word);
    },
    onWord: (callback) => {
      const subscription = core.subscribe(subject, {
        callback: (error, message) => {
          // The connection reads on into the same buffer: what is kept needs its own bytes.
          if (error === null) callback(new Uint8Array(message.data));
        },
      });
      return () => {
        if (!core.isClosed()) subscription.unsubscribe();
      };
    },
  };
};
