import { readReplicas, type Merger } from '@tidemark/merger';
import type { ServerStores } from './server-stores.js';

/** Replicas that are read for one look at a server. */
export const healthReplicasMax = 10_000;

/** What the server knows of a replica. */
export interface ReplicaHealth {
  readonly replica: string;
  readonly user: string;
  /** Operations merged so far, of the epoch in force. */
  readonly mergedTo: number;
  /** Operations that wait for a decision. */
  readonly parked: number;
  /** Server time (ms) of the newest envelope. */
  readonly receivedOn: number;
}

/** Health of a server beyond its status: what costs a look at input and store. */
export interface ServerHealth {
  /** Messages of the input that are not applied yet. */
  readonly lagMessages: number;
  /** Bytes of the input and their limit; undefined where it has none of its own. */
  readonly input: { readonly bytes: number; readonly bytesMax: number } | undefined;
  /** Replicas of devices by id, at most 10,000. */
  readonly replicas: readonly ReplicaHealth[];
}

/** Looks at input and replicas of a server. Rejects with `unreachable`. */
export const readHealth = async (
  merger: Merger,
  stores: Pick<ServerStores, 'input' | 'space'>,
): Promise<ServerHealth> => {
  const extent = await stores.input.extent();
  const { position } = merger.state();
  const lagMessages =
    extent.generation === position.generation
      ? Math.max(0, extent.last - position.seq)
      : extent.generation > position.generation
        ? extent.last
        : 0;
  const replicas = await readReplicas(merger.store, healthReplicasMax);
  return {
    lagMessages,
    input: stores.space(),
    replicas: replicas.map(({ replica, user, mergedTo, parked, receivedOn }) => ({
      replica,
      user,
      mergedTo,
      parked,
      receivedOn,
    })),
  };
};
