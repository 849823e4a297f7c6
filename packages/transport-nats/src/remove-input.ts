import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsServerConnection } from './server-connection.js';
import { streamFailure } from './stream-store.js';
import { streamGeneration, streamName, tenantToken } from './subjects.js';

/**
 * Removes the whole input of a tenant, all its generations; resolves with the names of the streams. What
 * devices had uploaded and no store or checkpoint holds is gone then. Rejects with `unreachable`, `denied`.
 */
export const removeInput = async (
  connection: NatsServerConnection,
  tenant: string,
): Promise<readonly string[]> => {
  try {
    const manager = await jetstreamManager(connection.core, { checkAPI: false });
    const token = tenantToken(tenant);
    const generations: number[] = [];
    for await (const name of manager.streams.names(`tm.${token}.in.>`)) {
      const generation = streamGeneration(token, name);
      if (generation !== undefined) generations.push(generation);
    }
    const names = generations.sort((a, b) => a - b).map((one) => streamName(token, one));
    for (const name of names) await manager.streams.delete(name);
    return names;
  } catch (cause) {
    throw streamFailure(cause);
  }
};
