import { isLeft, TidemarkError, type TidemarkError as Failure } from '@tidemark/model';
import type { AbortSignalLike, Caller, Clock, Endpoint, Link, Transport } from '@tidemark/ports';
import { decodeMessage, encodeMessage, type MessageName, type Messages } from '@tidemark/protocol';
import type { Identity } from './identity.js';
import type { LinkSpeed } from './link-speed.js';

/** State of the link, as the status shows it. */
export type ConnectionState = 'offline' | 'connecting' | 'online';

/**
 * Holds the link of a replica: opens it when needed, forgets it when it is lost.
 *
 * A link belongs to one identity: after the replica took a new id the old link is closed.
 */
export interface LinkHolder {
  readonly state: () => ConnectionState;
  readonly open: (signal: AbortSignalLike) => Promise<void>;
  /** Link that is open. Throws `unreachable` when there is none. */
  readonly link: () => Link;
  /** Makes a call on the open link, signed where the server wants that. */
  readonly call: (
    endpoint: Endpoint,
    body: Uint8Array,
    signal: AbortSignalLike,
  ) => Promise<Uint8Array>;
  /** Gives the bytes of an answer back to the link that they came by. */
  readonly release: (answer: Uint8Array) => void;
  readonly identity: Identity;
  readonly close: () => Promise<void>;
}

/** Parts of a holder. */
export interface LinkHolderParts {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Told how long calls take. */
  readonly speed: LinkSpeed;
  readonly caller: () => Caller;
  /** Called whenever the state changes. */
  readonly moved: () => void;
  readonly identity: Identity;
}

/** Builds a holder. */
export const linkHolder = (parts: LinkHolderParts): LinkHolder => {
  const { transport, clock, speed, caller, moved, identity } = parts;
  let current: { readonly link: Link; readonly replica: string } | null = null;
  let opening = false;
  const close = async (): Promise<void> => {
    const { link } = current ?? {};
    current = null;
    moved();
    await link?.close();
  };
  const link = (): Link => {
    if (current === null) throw new TidemarkError('unreachable', 'the link was lost');
    return current.link;
  };
  return {
    identity,
    call: async (endpoint, body, signal) => {
      const begunMs = clock.nowMs();
      const answer = await identity.call(link(), endpoint, body, signal);
      speed.answered(clock.nowMs() - begunMs);
      return answer;
    },
    state: () => (current !== null ? 'online' : opening ? 'connecting' : 'offline'),
    open: async (signal) => {
      const who = caller();
      if (current?.replica === who.replica) return;
      if (current !== null) await close();
      opening = true;
      moved();
      try {
        const link = await transport.open(who, signal);
        current = { link, replica: who.replica };
        speed.opened();
        link.onLost(() => {
          if (current?.link !== link) return;
          current = null;
          moved();
        });
      } finally {
        opening = false;
        moved();
      }
    },
    link,
    // Bytes of a link that was lost are unknown to the next one, which leaves them alone.
    release: (answer) => current?.link.release?.(answer),
    close,
  };
};

/** Request endpoints with the names of their messages. */
const messagesOf = {
  resume: ['ResumeRequest', 'ResumeAnswer'],
  grant: ['GrantRequest', 'GrantAnswer'],
  customization: ['CustomizationRequest', 'CustomizationAnswer'],
  pull: ['PullRequest', 'PullAnswer'],
  compare: ['CompareRequest', 'CompareAnswer'],
} as const satisfies Readonly<
  Record<Exclude<Endpoint, 'sync-log' | 'enroll'>, readonly [MessageName, MessageName]>
>;

type Asked = keyof typeof messagesOf;

/** Answer of the server with the bytes that came with it. */
export interface Answer<E extends Asked> {
  readonly message: Messages[(typeof messagesOf)[E][1]];
  readonly tail: Uint8Array;
  readonly bytes: number;
  /** Tells that nobody reads the tail any more. */
  readonly release: () => void;
}

/** Asks the server. Rejects with what the transport or the server says, or `malformed-message`. */
export const ask = async <E extends Asked>(
  links: Pick<LinkHolder, 'call' | 'identity' | 'release'>,
  endpoint: E,
  message: Messages[(typeof messagesOf)[E][0]],
  signal: AbortSignalLike,
): Promise<Answer<E>> => {
  const [requestName, answerName] = messagesOf[endpoint];
  const body = encodeMessage<MessageName>(requestName, message);
  const bytes = await links.call(endpoint, body, signal);
  const decoded = decodeMessage(answerName, bytes);
  if (isLeft<Failure, unknown>(decoded)) throw decoded.left;
  // Nothing of an answer is used whose receipt somebody else made.
  if ('receipt' in decoded.right.message)
    links.identity.checkReceipt(decoded.right.message.receipt);
  return {
    message: decoded.right.message as Messages[(typeof messagesOf)[E][1]],
    tail: decoded.right.tail,
    bytes: bytes.length,
    release: () => links.release(bytes),
  };
};
