import type { Hash } from '@tidemark/model';
import type { StoreDamage } from '@tidemark/ports';
import type { Database } from './database.js';
import { checkLog } from './log-check.js';
import { decodeLogNote, type LogExtent } from './level-op-log.js';
import { printRanges, type RingState } from './ordinal-ring.js';

/** What a replica's database is checked by. */
export interface ReplicaCheck {
  readonly database: Database;
  readonly ring: RingState;
  readonly extent: LogExtent;
  readonly hash: Hash;
  readonly identityRestored: boolean;
  /** Ordinal that is known to have been written before; 0 when nothing is known. */
  readonly ordinalBefore: number;
}

/**
 * Finds the damage of a replica's database: batches missing among the newest ones (`image`, for each may
 * have held rows), operations missing in or at the end of the log, and a lost tail of batches.
 */
export const checkReplica = async (check: ReplicaCheck): Promise<readonly StoreDamage[]> => {
  const { database, ring, extent, hash, ordinalBefore } = check;
  const damage: StoreDamage[] = [];
  if (check.identityRestored) damage.push({ kind: 'image', where: 'identity', count: 1 });
  if (ring.lostCount > 0) {
    const where = `batches ${printRanges(ring.lost)}`;
    damage.push({ kind: 'image', where, count: ring.lostCount });
  }
  if (ordinalBefore > ring.head) {
    const where = `batches ${ring.head + 1}..${ordinalBefore}`;
    damage.push({ kind: 'log-tail', where, count: ordinalBefore - ring.head });
  }
  damage.push(...(await checkLog(database, extent, decodeLogNote(ring.note), hash)));
  return damage;
};
