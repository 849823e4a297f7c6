import { TidemarkError } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';
import type { Settings } from '../config/settings.js';
import { inputPlaceOf, managedNatsFolder } from './input-place.js';
import { runningNats } from './nats-program.js';
import { natsPlaceOf } from './open-folder.js';

/** Where checkpoints lie: a folder, or null for the object store of NATS. */
export type CheckpointPlace = string | null;

/**
 * Where the checkpoints of the configured server lie, once it is open. As long as its input lies in its folder
 * there is no NATS that could hold them.
 */
export const checkpointPlaceOf = async (settings: Settings): Promise<CheckpointPlace> => {
  const folder = settings.needed('checkpoints.folder');
  if (settings.text('checkpoints.in') !== 'nats') return folder;
  if (settings.list('nats.servers') !== undefined) return null;
  const place = await inputPlaceOf(settings);
  return place === 'managed' || place === 'nats' ? null : folder;
};

/**
 * Does some work on the checkpoints at a place. `nats`: addresses that a running server told; without, NATS is the
 * configured one or the nats-server of the folder, which must run. Rejects with `unreachable`.
 */
export const withCheckpoints = async <A>(
  settings: Settings,
  place: CheckpointPlace,
  addresses: readonly string[] | null,
  work: (checkpoints: CheckpointFolder) => Promise<A>,
): Promise<A> => {
  if (place !== null) {
    const { openCheckpointFolder } = await import('@tidemark/store-level/node');
    return work(openCheckpointFolder(place));
  }
  const known = settings.list('nats.servers') ?? addresses ?? undefined;
  const url = known === undefined ? await runningNats(managedNatsFolder(settings)) : undefined;
  const nats = await natsPlaceOf(settings, known ?? (url === undefined ? url : [url]));
  if (nats === undefined)
    throw new TidemarkError('unreachable', 'the NATS that holds the checkpoints does not run');
  const { connectServer, openNatsCheckpoints } = await import('@tidemark/server');
  const { systemEntropy } = await import('@tidemark/node');
  const connection = await connectServer(nats, systemEntropy);
  try {
    const tenant = settings.needed('tenant');
    const replicas = settings.count('nats.replicas');
    const more = replicas === undefined ? {} : { replicas };
    return await work(openNatsCheckpoints({ connection, tenant, ...more }));
  } finally {
    await connection.close();
  }
};

/** The place in words. */
export const showCheckpointPlace = (place: CheckpointPlace): string => place ?? 'NATS';
