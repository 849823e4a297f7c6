import { TidemarkError, type ErrorCode } from '@tidemark/model';
import type { Caller, Endpoint, Link, Transport } from '@tidemark/ports';

/**
 * Channel between two processes with `serialization: 'advanced'`, so that bytes travel as bytes. A
 * ChildProcess fits on the parent's side, `process` on the child's.
 */
export interface Channel {
  readonly send?: ((message: object) => boolean) | undefined;
  readonly on: (event: 'message', listener: (message: unknown) => void) => unknown;
  readonly once: (event: 'disconnect', listener: () => void) => unknown;
}

type Call =
  | {
      readonly ipc: 'publish';
      readonly id: number;
      readonly caller: Caller;
      readonly body: Uint8Array;
    }
  | {
      readonly ipc: 'request';
      readonly id: number;
      readonly caller: Caller;
      readonly endpoint: Endpoint;
      readonly body: Uint8Array;
    };
type Reply =
  | { readonly ipc: 'answer'; readonly id: number; readonly body: Uint8Array }
  | {
      readonly ipc: 'error';
      readonly id: number;
      readonly code: ErrorCode;
      readonly message: string;
    }
  | { readonly ipc: 'tick' };

const isMessage = (message: unknown): message is Call | Reply =>
  typeof message === 'object' && message !== null && 'ipc' in message;

const bytesOf = (body: Uint8Array): Uint8Array => new Uint8Array(body);

/** Time in ms that one wait for a tick takes at most before the next begins. */
const tickWaitMs = 60_000;

/**
 * Answers the calls of the process at the other end of the channel over a transport of this process. Each
 * caller gets a link of its own, opened at its first call.
 */
export const serveChannel = (channel: Channel, transport: Transport): void => {
  let open = true;
  const links = new Map<string, Promise<Link>>();
  const send = (message: Reply): void => {
    if (open) channel.send?.(message);
  };
  const forwardTicks = async (link: Link): Promise<void> => {
    // A lost link ends the wait with a failure; the next call opens another.
    while (open) if (await link.waitForTick(tickWaitMs)) send({ ipc: 'tick' });
  };
  const linkOf = (caller: Caller): Promise<Link> => {
    const key = JSON.stringify(caller);
    const known = links.get(key);
    if (known !== undefined) return known;
    const opening = transport.open(caller);
    links.set(key, opening);
    opening.then(
      (link) => {
        link.onLost(() => links.delete(key));
        forwardTicks(link).catch(() => undefined);
      },
      () => links.delete(key),
    );
    return opening;
  };
  channel.once('disconnect', () => {
    open = false;
    for (const link of links.values())
      link.then(
        (one) => one.close(),
        () => undefined,
      );
  });
  const answer = async (message: Call): Promise<Uint8Array> => {
    const link = await linkOf(message.caller);
    if (message.ipc === 'request') return link.request(message.endpoint, bytesOf(message.body));
    await link.publish(bytesOf(message.body));
    return new Uint8Array(0);
  };
  channel.on('message', (message) => {
    if (!isMessage(message)) return;
    if (message.ipc !== 'publish' && message.ipc !== 'request') return;
    const { id } = message;
    answer(message).then(
      (body) => send({ ipc: 'answer', id, body }),
      (error: unknown) =>
        send(
          error instanceof TidemarkError
            ? { ipc: 'error', id, code: error.code, message: error.message }
            : { ipc: 'error', id, code: 'unreachable', message: String(error) },
        ),
    );
  });
};

/** Transport to the service at the other end of the channel. Links are lost when the channel closes. */
export const channelTransport = (channel: Channel): Transport => {
  let nextId = 0;
  let open = true;
  const waiting = new Map<
    number,
    { resolve: (body: Uint8Array) => void; reject: (error: unknown) => void }
  >();
  const ticks = new Set<() => void>();
  const lost = new Set<() => void>();
  const unreachable = (): TidemarkError =>
    new TidemarkError('unreachable', 'the server process is gone');
  channel.once('disconnect', () => {
    open = false;
    for (const { reject } of waiting.values()) reject(unreachable());
    waiting.clear();
    for (const callback of lost) callback();
  });
  channel.on('message', (message) => {
    if (!isMessage(message)) return;
    if (message.ipc === 'tick') for (const callback of ticks) callback();
    if (message.ipc !== 'answer' && message.ipc !== 'error') return;
    const call = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.ipc === 'answer') call?.resolve(bytesOf(message.body));
    else call?.reject(new TidemarkError(message.code, message.message));
  });
  type NewCall = Call extends infer C ? (C extends Call ? Omit<C, 'id'> : never) : never;
  const call = (message: NewCall): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      if (!open) return reject(unreachable());
      nextId += 1;
      waiting.set(nextId, { resolve, reject });
      channel.send?.({ ...message, id: nextId });
    });
  const openLink = (caller: Caller): Link => ({
    publish: async (body) => {
      await call({ ipc: 'publish', caller, body });
    },
    request: (endpoint, body) => call({ ipc: 'request', caller, endpoint, body }),
    waitForTick: (ms, signal) =>
      new Promise((resolve) => {
        const end = (ticked: boolean): void => {
          clearTimeout(timer);
          ticks.delete(onTick);
          resolve(ticked);
        };
        const onTick = (): void => end(true);
        const timer = setTimeout(() => end(false), ms);
        ticks.add(onTick);
        signal?.addEventListener('abort', () => end(false));
      }),
    onLost: (callback) => {
      lost.add(callback);
    },
    close: async () => undefined,
  });
  return {
    open: (caller) => (open ? Promise.resolve(openLink(caller)) : Promise.reject(unreachable())),
  };
};
