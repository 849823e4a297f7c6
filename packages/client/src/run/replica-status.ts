import type { ErrorCode, SyncLog } from '@tidemark/model';
import { syncErrorsTable } from '@tidemark/model';
import type { SyncPhase } from '@tidemark/protocol';
import type { LocalReplica } from '../local/local-replica.js';
import { tableMeta } from '../local/replica-meta.js';
import type { ConnectionState } from './link-holder.js';
import type { MetDamage } from './met-damage.js';
import type { SyncProgress } from './run-context.js';
import { userTables } from './scope-tables.js';
import { progressOfRun, type SyncRunner } from './sync-runner.js';
import type { Scope } from '@tidemark/filter';

/** What a replica knows of itself, true at the moment it is read. Times in ms. */
export interface ReplicaStatus {
  /** `needs-auth`: the server asks who this is; edits go on, sync waits for credentials. */
  readonly connection: ConnectionState | 'needs-auth';
  /** True between `connect` and `disconnect`. */
  readonly live: boolean;
  /** Phase of the run under way; `idle` between runs. */
  readonly phase: SyncPhase | 'idle';
  /** Operations that no receipt covers yet, and when the oldest was made; null when there is none. */
  readonly pending: { readonly operations: number; readonly oldestAt: number | null };
  /** Operations that wait for a person. */
  readonly parked: number;
  /** Server time to which each table is current; null before its first download. */
  readonly asOf: Readonly<Record<string, number | null>>;
  /** True for tables that are downloaded whole and not known to be damaged. */
  readonly hydrated: Readonly<Record<string, boolean>>;
  readonly progress: SyncProgress | null;
  readonly lastRun: SyncLog | null;
  readonly customization: {
    readonly version: number;
    /** Newer one that could not be applied: it waits for a foreground run, or was refused. */
    readonly waiting: {
      readonly version: number;
      readonly reason: 'foreground' | 'refused';
    } | null;
  };
  /**
   * Why the last run or the last attempt to connect failed, or damage that a read met (the next opening repairs
   * it); null when nothing did.
   */
  readonly error: { readonly code: ErrorCode; readonly message: string } | null;
  /**
   * True only when nothing is pending or parked, a receipt that the image contains covers the last operation, and
   * no read met damage.
   */
  readonly synced: boolean;
  /** The log up to `to` is in a checkpoint; `complete` when that is all of it. */
  readonly archived: { readonly to: number; readonly complete: boolean };
  readonly replica: string;
  readonly epoch: number;
  readonly incarnation: number;
}

/** Everything that the status is derived from; nothing of it is kept twice. */
export interface StatusSources {
  readonly local: LocalReplica;
  readonly runner: SyncRunner;
  readonly scope: Scope;
  readonly met: MetDamage;
  readonly lastLog: () => SyncLog | null;
  readonly oldestAt: () => number | null;
}

const currentError = ({ met, runner }: StatusSources): ReplicaStatus['error'] => {
  const refused = met.error() ?? runner.connectError();
  if (refused !== null) return { code: refused.code, message: refused.message };
  return runner.last()?.error ?? null;
};

/** Derives the status from log, image state and run. */
export const statusOf = (sources: StatusSources): ReplicaStatus => {
  const { local, runner, scope, met } = sources;
  const meta = local.meta();
  const run = runner.active();
  const { pending, parked } = local.pendingCount();
  const { lastIndex } = local.logEnd();
  const asOf: Record<string, number | null> = {};
  const hydrated: Record<string, boolean> = {};
  for (const { id, name } of userTables(scope, local.schema())) {
    const table = tableMeta(meta, id);
    asOf[name] = table.state === 'current' ? table.asOfMs : null;
    hydrated[name] = table.state === 'current' && !table.repair && !met.isIn(name);
  }
  // The sync errors of an operation come with the image: before that nobody can say it is not parked.
  const contained = tableMeta(meta, syncErrorsTable).mergedTo >= lastIndex;
  return {
    connection: runner.links.identity.needsAuth() ? 'needs-auth' : runner.links.state(),
    live: runner.live(),
    phase: run?.state().phase ?? 'idle',
    pending: { operations: pending, oldestAt: pending === 0 ? null : sources.oldestAt() },
    parked,
    asOf,
    hydrated,
    progress: run === null ? null : progressOfRun(run),
    lastRun: runner.last()?.log ?? sources.lastLog(),
    customization: {
      version: local.schema().customization.version,
      waiting: runner.last()?.waiting ?? null,
    },
    error: currentError(sources),
    synced:
      pending === 0 &&
      parked === 0 &&
      meta.mergedTo >= lastIndex &&
      contained &&
      !meta.awaitsGrant &&
      met.error() === null,
    archived: { to: meta.archivedTo, complete: meta.archivedTo >= lastIndex },
    replica: meta.replica,
    epoch: meta.epoch,
    incarnation: meta.incarnation,
  };
};
