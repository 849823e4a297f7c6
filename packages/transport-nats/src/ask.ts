import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/nats-core';
import { TidemarkError } from '@tidemark/model';
import type { AbortSignalLike, Timer } from '@tidemark/ports';
import { Abort } from './abort.js';
import { isWorking } from './answer.js';
import { noRespondersFailure } from './failure.js';

/** Longest wait for the answer to a call, ms, while the server says that it works on it. */
export const requestMsMax = 60_000;
/** Silence after which a server counts as gone, ms: a working one speaks every second. */
export const silenceMsMax = 4_000;

/** One call of a server. */
export interface AskParts {
  readonly connection: NatsConnection;
  readonly timer: Timer;
  readonly inbox: string;
  readonly subject: string;
  readonly body: Uint8Array;
  readonly headers: MsgHdrs;
  /** Ends the call early; nobody waits for it any more. */
  readonly until: readonly (AbortSignalLike | undefined)[];
}

/**
 * Calls a server and waits for its answer. The server that got the call may be killed: then its signs of
 * work stop, and the call rejects with `timeout` long before a slow one would.
 */
export const askServer = (parts: AskParts): Promise<Msg> =>
  new Promise((resolve, reject) => {
    const { connection, timer, inbox, subject, body, headers, until } = parts;
    const over = new Abort();
    let heard = 0;
    const leave = (): void => {
      over.abort();
      for (const signal of until) signal?.removeEventListener('abort', onAbort);
      if (!connection.isClosed()) subscription.unsubscribe();
    };
    const fail = (cause: Error): void => {
      if (over.aborted) return;
      leave();
      reject(cause);
    };
    const onAbort = (): void => fail(new TidemarkError('aborted', 'the call was cancelled'));
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (over.aborted) return;
        if (error !== null) return fail(error);
        if (message.headers?.code === 503 && message.data.length === 0)
          return fail(noRespondersFailure());
        heard += 1;
        if (isWorking(message)) return;
        leave();
        resolve(message);
      },
    });
    for (const signal of until) signal?.addEventListener('abort', onAbort);
    const watch = async (): Promise<void> => {
      for (let waitedMs = 0; waitedMs < requestMsMax; waitedMs += silenceMsMax) {
        const before = heard;
        await timer.sleep(silenceMsMax, over);
        if (over.aborted) return;
        if (heard === before) break;
      }
      fail(new TidemarkError('timeout', 'the server did not answer in time'));
    };
    connection.publish(subject, body, { reply: inbox, headers });
    void watch();
  });
