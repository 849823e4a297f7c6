import {
  errorCatalogue,
  TidemarkError,
  utf8Decode,
  utf8Encode,
  type SyncLog,
} from '@tidemark/model';
import type { Caller, Clock, ServerStore } from '@tidemark/ports';
import { listLimit } from './list-limit.js';
import { logKey } from './notes.js';
import type { ServerEvent } from './server-event.js';

/** Sync logs that the server keeps; the oldest go first. */
export const syncLogsMax = 10_000;
/** Bytes of one sync log. */
export const syncLogBytesMax = 64 * 1024;
const countPage = 1_000;
const first = 'log/';
const end = 'log0';

/** Sync log as the server keeps it. */
export interface KeptSyncLog {
  readonly receivedMs: number;
  readonly log: SyncLog;
}

/** Book of the sync logs that replicas sent. */
export interface SyncLogBook {
  readonly add: (caller: Caller, log: SyncLog) => Promise<void>;
  /** Newest first. */
  readonly list: (limit: number) => Promise<readonly KeptSyncLog[]>;
}

/** What a log tells of its run. Texts that a device chose freely do not get into it. */
const runEvent = (log: SyncLog): ServerEvent => ({
  type: 'run',
  replica: log.replica,
  user: log.user,
  run: /^[\w.:-]{1,128}$/.test(log.run) ? log.run : 'other',
  mode: log.mode,
  result: log.result,
  error: log.error === null || Object.hasOwn(errorCatalogue, log.error) ? log.error : 'other',
  durationMs: Math.max(0, log.endedOn - log.startedOn),
  uploadedOperations: log.uploadedOperations,
  downloadedBytes: log.downloadedBytes,
  pendingOperations: log.pendingOperations,
  parked: log.parked,
});

/** Builds the book of a store. `onEvent` is told of each log that was added. */
export const createSyncLogBook = (
  store: ServerStore,
  clock: Clock,
  onEvent: (event: ServerEvent) => void,
): SyncLogBook => {
  let kept: number | undefined;
  const count = async (): Promise<number> => {
    let total = 0;
    for (let gt = first; ;) {
      const page = await store.scanEntries('sync-logs', { gt, lt: end, limit: countPage });
      total += page.length;
      const last = page[page.length - 1];
      if (last === undefined || page.length < countPage) return total;
      gt = last.key;
    }
  };
  return {
    add: async (caller, log) => {
      if (log.replica !== caller.replica || log.user !== caller.user)
        throw new TidemarkError('malformed-message', 'the sync log is of another replica');
      const receivedMs = clock.nowMs();
      const value = utf8Encode(JSON.stringify({ receivedMs, log }));
      if (value.length > syncLogBytesMax || log.run.length > 128)
        throw new TidemarkError('malformed-message', `a sync log exceeds ${syncLogBytesMax} bytes`);
      kept ??= await count();
      await store.putEntries([
        { space: 'sync-logs', key: logKey(receivedMs, caller.replica, log.run), value },
      ]);
      kept += 1;
      onEvent(runEvent(log));
      const over = kept - syncLogsMax;
      if (over <= 0) return;
      const oldest = await store.scanEntries('sync-logs', { gt: first, lt: end, limit: over });
      await store.putEntries(
        oldest.map(({ key }) => ({ space: 'sync-logs' as const, key, value: null })),
      );
      kept -= oldest.length;
    },
    list: async (limit) => {
      const found = await store.scanEntries('sync-logs', {
        gt: first,
        lt: end,
        limit: listLimit(limit, syncLogsMax),
        reverse: true,
      });
      return found.map(({ value }) => JSON.parse(utf8Decode(value)) as KeptSyncLog);
    },
  };
};
