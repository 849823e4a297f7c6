import { TidemarkError, utf8Decode, utf8Encode, type SyncLog } from '@tidemark/model';
import type { LocalReplica } from '../local/local-replica.js';

/** Sync logs that a replica keeps: the newest. */
export const syncLogsMax = 200;
const prefix = 'sync-log/';
const keyDigits = 15;

type Notes = Pick<LocalReplica, 'scanNotes' | 'writeNotes'>;

const keyOf = ({ startedOn, run }: SyncLog): string =>
  `${prefix}${String(startedOn).padStart(keyDigits, '0')}/${run}`;

/** Keeps a log and drops the oldest beyond `syncLogsMax`. */
export const keepSyncLog = async (notes: Notes, log: SyncLog): Promise<void> => {
  const kept = await notes.scanNotes(prefix, syncLogsMax + 1, true);
  const dropped = kept.slice(syncLogsMax - 1);
  await notes.writeNotes([
    { key: keyOf(log), value: utf8Encode(JSON.stringify(log)) },
    ...dropped.map(({ key }) => ({ key, value: null })),
  ]);
};

/** Sync logs, newest first. Rejects with `invalid-option`. */
export const listSyncLogs = async (
  notes: Pick<Notes, 'scanNotes'>,
  limit: number = syncLogsMax,
): Promise<readonly SyncLog[]> => {
  if (!Number.isSafeInteger(limit) || limit < 0)
    throw new TidemarkError('invalid-option', 'limit is a whole number from 0', {
      option: 'limit',
    });
  const kept = await notes.scanNotes(prefix, Math.min(limit, syncLogsMax), true);
  return kept.map(({ value }) => JSON.parse(utf8Decode(value)) as SyncLog);
};
