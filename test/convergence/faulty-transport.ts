import { TidemarkError } from '@tidemark/model';
import type { Caller, Link, Transport } from '@tidemark/ports';
import { createLocalTransport, type LocalTransport } from '@tidemark/transport-local';
import type { VirtualTime } from './virtual-time.js';

/** What happens to the call after `calls` more: the link is lost before it, or after the server's work. */
export interface PlannedFault {
  calls: number;
  readonly moment: 'before' | 'after';
  /** The server stays out of reach until the transport is set online again. */
  readonly isLasting?: boolean;
}

/** Transport of one device whose link is lost at a planned call. */
export interface FaultyTransport extends Transport {
  readonly local: LocalTransport;
  /** Plans the next loss; null lets every call through. */
  readonly plan: (fault: PlannedFault | null) => void;
}

/** Builds the transport of one device. It is without a server until `local.setService`. */
export const createFaultyTransport = (time: VirtualTime): FaultyTransport => {
  const local = createLocalTransport({ service: null, timer: time.timer });
  let planned: PlannedFault | null = null;
  const lose = (): never => {
    if (planned?.isLasting === true) local.setOnline(false);
    planned = null;
    local.disconnectAll();
    throw new TidemarkError('unreachable', 'the link was cut by plan');
  };
  const call = async <A>(run: () => Promise<A>): Promise<A> => {
    const isDue = planned !== null && planned.calls <= 0;
    if (planned !== null) planned.calls -= 1;
    if (!isDue || planned === null) return run();
    if (planned.moment === 'before') return lose();
    await run();
    return lose();
  };
  return {
    local,
    plan: (fault) => {
      planned = fault;
    },
    open: async (caller: Caller, signal) => {
      const link: Link = await local.open(caller, signal);
      return {
        ...link,
        publish: (envelope, within) => call(() => link.publish(envelope, within)),
        request: (endpoint, body, within) => call(() => link.request(endpoint, body, within)),
      };
    },
  };
};
