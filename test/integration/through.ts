import type { Link, Transport } from '@tidemark/ports';

/** The same transport, with every call and envelope passed through a hand. */
export const through = (
  inner: Transport,
  hand: {
    readonly publish?: (link: Link, envelope: Uint8Array) => Promise<void>;
    readonly request?: (
      link: Link,
      ...call: Parameters<Link['request']>
    ) => ReturnType<Link['request']>;
  },
): Transport => ({
  open: async (caller, signal) => {
    const link = await inner.open(caller, signal);
    const { publish, request } = hand;
    return {
      ...link,
      publish: publish === undefined ? link.publish : (bytes) => publish(link, bytes),
      request: request === undefined ? link.request : (...call) => request(link, ...call),
    };
  },
});
