import type { Clock } from '@tidemark/ports';
import type { LocalChange, LocalReplica } from '../local/local-replica.js';

/** Time of the oldest pending operation, kept current as operations come and go. */
export interface PendingAge {
  readonly oldestAt: () => number | null;
  /** Resolves when what is known now has been read. */
  readonly settled: () => Promise<void>;
  readonly stop: () => void;
}

/**
 * Follows the oldest pending operation. It is read from the log again only when operations left, so an
 * edit costs nothing; `changed` is called when the time moved.
 */
export const pendingAge = (local: LocalReplica, clock: Clock, changed: () => void): PendingAge => {
  let oldest: { readonly index: number; readonly at: number; readonly exact: boolean } | null =
    null;
  let reading: Promise<void> = Promise.resolve();
  let queued = false;
  const isCurrent = (): boolean => {
    const { pending } = local.pendingCount();
    if (pending === 0) return oldest === null;
    return oldest !== null && oldest.index > local.meta().mergedTo;
  };
  const read = async (): Promise<void> => {
    queued = false;
    if (isCurrent() && oldest?.exact !== false) return;
    const { mergedTo } = local.meta();
    if (local.pendingCount().pending === 0) oldest = null;
    else {
      const [first] = await local.pending({ after: mergedTo, limit: 1 });
      oldest = first === undefined ? null : { index: first.index, at: first.editedAt, exact: true };
    }
    changed();
  };
  const refresh = (change?: LocalChange): void => {
    if (queued || (isCurrent() && oldest?.exact !== false)) return;
    // The first pending operation was made just now; its own time is read after.
    if (change?.kind === 'edit' && oldest === null)
      oldest = { index: local.meta().mergedTo + 1, at: clock.nowMs(), exact: false };
    queued = true;
    // A store that was closed meanwhile has nothing to tell any more.
    reading = reading.then(read).catch(() => undefined);
  };
  const stop = local.onChange(refresh);
  refresh();
  return {
    oldestAt: () => (isCurrent() ? (oldest?.at ?? null) : null),
    settled: async () => {
      refresh();
      await reading;
    },
    stop,
  };
};
