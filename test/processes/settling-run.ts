import type { SyncLog } from '@tidemark/node';

/** Runs that a slow machine may need until the receipt of the last operation is there. */
const runsMax = 10;

/** What of a replica is needed to run. */
export interface Runner {
  readonly sync: () => Promise<SyncLog>;
}

/**
 * Runs until a run ends in something else than `pending`, at most `runsMax` times: a run waits only so
 * long for its receipt, which says something about the machine and nothing about what was promised.
 */
export const settlingRun = async (replica: Runner): Promise<SyncLog> => {
  let log = await replica.sync();
  for (let runs = 1; runs < runsMax && log.result === 'pending'; runs += 1)
    log = await replica.sync();
  return log;
};
