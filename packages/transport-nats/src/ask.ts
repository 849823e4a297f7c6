import type { MsgHdrs, NatsConnection } from '@nats-io/nats-core';
import { TidemarkError } from '@tidemark/model';
import type { AbortSignalLike, Timer } from '@tidemark/ports';
import { messageBytesMax } from '@tidemark/protocol';
import { Abort } from './abort.js';
import { announcedBytes, isWorking, type WholeAnswer } from './answer.js';
import { AnswerPieces } from './answer-pieces.js';
import type { AnswerRooms } from './answer-rooms.js';
import { noRespondersFailure } from './failure.js';

/** Longest wait for the answer to a call, ms, while the server says that it works on it. */
export const requestMsMax = 60_000;
/** Silence after which a server counts as gone, ms: a working one speaks every second. */
export const silenceMsMax = 4_000;
/**
 * Bytes that arrive on the connection within that time and are a sign of life, whatever they belong to: the
 * answer waits behind them. Ticks hold none.
 */
export const aliveBytesMin = 4 * 1024;

/** One call of a server. */
export interface AskParts {
  readonly connection: NatsConnection;
  readonly timer: Timer;
  readonly inbox: string;
  readonly subject: string;
  readonly body: Uint8Array;
  readonly headers: MsgHdrs;
  /** Where a long answer is put together. */
  readonly rooms: AnswerRooms;
  /** Ends the call early; nobody waits for it any more. */
  readonly until: readonly (AbortSignalLike | undefined)[];
}

/** Tells whether an answer came too slowly: another server would be no faster. */
export const isSlow = ({ details }: TidemarkError): boolean =>
  typeof details['bytes'] === 'number' && details['bytes'] > 0;

/**
 * Calls a server and waits for its answer. The server that got the call may be killed: then its signs of
 * work stop, and the call rejects with `timeout` long before a slow one would.
 */
export const askServer = (parts: AskParts): Promise<WholeAnswer> =>
  new Promise((resolve, reject) => {
    const { connection, timer, inbox, subject, body, headers, rooms, until } = parts;
    const over = new Abort();
    let heard = 0;
    const pieces = new AnswerPieces(rooms);
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
        if (pieces.bytes + message.data.length > messageBytesMax)
          return fail(new TidemarkError('malformed-message', 'an answer is too long'));
        const announced = announcedBytes(message);
        pieces.add(message.data, announced);
        if (announced !== undefined) return;
        leave();
        resolve({ headers: message.headers, data: pieces.whole() });
      },
    });
    for (const signal of until) signal?.addEventListener('abort', onAbort);
    const watch = async (): Promise<void> => {
      for (let waitedMs = 0; waitedMs < requestMsMax; waitedMs += silenceMsMax) {
        const before = { heard, inBytes: connection.stats().inBytes };
        await timer.sleep(silenceMsMax, over);
        if (over.aborted) return;
        const arrived = connection.stats().inBytes - before.inBytes;
        if (heard === before.heard && arrived < aliveBytesMin) break;
      }
      fail(
        new TidemarkError('timeout', 'the server did not answer in time', {
          bytes: pieces.bytes,
        }),
      );
    };
    connection.publish(subject, body, { reply: inbox, headers });
    void watch();
  });
