import { jetstreamManager } from '@nats-io/jetstream';
import { toHex } from '@tidemark/model';
import type { Entropy } from '@tidemark/ports';
import type { NatsServerConnection } from './server-connection.js';
import { inputNameIn, streamFailure } from './stream-store.js';
import { streamGeneration, tenantToken } from './subjects.js';

const nameBytes = 12;

/** Name for an input that begins now. */
export const newInputName = (entropy: Entropy): string => toHex(entropy.bytes(nameBytes));

/** The input of a tenant that a NATS holds. */
export interface InputName {
  /** Random name that its first server gave it; undefined for one of a version that gave none. */
  readonly name: string | undefined;
}

/**
 * Looks which input of a tenant a NATS holds, and begins none; undefined when it holds none. Rejects with
 * `unreachable`, `timeout`, `denied`.
 */
export const readInputName = async (
  connection: NatsServerConnection,
  tenant: string,
): Promise<InputName | undefined> => {
  try {
    const manager = await jetstreamManager(connection.core, { checkAPI: false });
    const token = tenantToken(tenant);
    const newest = { generation: 0, name: '' };
    for await (const name of manager.streams.names(`tm.${token}.in.>`)) {
      const generation = streamGeneration(token, name) ?? 0;
      if (generation > newest.generation) Object.assign(newest, { generation, name });
    }
    if (newest.generation === 0) return undefined;
    const { config } = await manager.streams.info(newest.name);
    return { name: inputNameIn(config.description) };
  } catch (cause) {
    throw streamFailure(cause);
  }
};
