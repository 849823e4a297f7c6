import { decodeScope, scopeText, type Scope } from '@tidemark/filter';
import { isLeft, problemsError, TidemarkError, type SyncLog } from '@tidemark/model';
import type {
  Clock,
  Compression,
  Crypto,
  Entropy,
  Logger,
  Timer,
  Transport,
} from '@tidemark/ports';
import { scopeHashOf, startContentFingerprint } from '@tidemark/protocol';
import type { LocalReplica } from './local/local-replica.js';
import type { AnySchema, ClearPending, Replica } from './replica.js';
import type { IdentityOptions } from './run/identity.js';
import { MetDamage } from './run/met-damage.js';
import { newestValues } from './run/newest-values.js';
import { pendingAge } from './run/pending-age.js';
import type { ReplicaEvent } from './run/replica-event.js';
import { statusOf, type ReplicaStatus } from './run/replica-status.js';
import { userTables } from './run/scope-tables.js';
import { syncErrorList } from './run/sync-error-list.js';
import { listSyncLogs } from './run/sync-log-list.js';
import type { CompressionMode } from './run/run-context.js';
import { syncRunner } from './run/sync-runner.js';

const scanRecords = 1_000;

/** What a replica is built from: its local half, and the ports that runs need. */
export interface ReplicaOptions {
  readonly local: LocalReplica;
  readonly transport: Transport;
  /** What the replica holds; every user table whole when left out. */
  readonly scope?: Scope;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly timer: Timer;
  readonly crypto: Crypto;
  /** Unpacks pages; absent: they travel as they are. */
  readonly compression?: Compression;
  /** When pages travel packed: `auto` when left out. */
  readonly compress?: CompressionMode;
  readonly logger?: Logger;
  /** How the replica proves who it is; absent where the server never asks. */
  readonly identity?: IdentityOptions;
  readonly onEvent?: (event: ReplicaEvent) => void;
  /** Called at the end of `close`: frees what the replica was opened on. */
  readonly onClosed?: () => Promise<void>;
}

class Listeners<A> {
  readonly #logger: Logger | undefined;
  readonly #all = new Set<(value: A) => void>();

  constructor(logger: Logger | undefined) {
    this.#logger = logger;
  }

  add(listener: (value: A) => void): () => void {
    this.#all.add(listener);
    return () => void this.#all.delete(listener);
  }

  /** A listener that throws harms neither the others nor the replica. */
  tell(value: () => A): void {
    if (this.#all.size === 0) return;
    const told = value();
    for (const listener of [...this.#all]) {
      try {
        listener(told);
      } catch (cause) {
        this.#logger?.log('error', 'a listener threw', { reason: String(cause) });
      }
    }
  }
}

const checkedScope = (scope: Scope): Scope => {
  const decoded = decodeScope(scope);
  if (isLeft(decoded)) throw problemsError('invalid-scope', decoded.left);
  // A copy: what an application does with its own object later changes nothing here.
  return JSON.parse(JSON.stringify(decoded.right)) as Scope;
};

/** Notes the scope; a change of it makes the server ask for a repair. */
const adoptScope = async (local: LocalReplica, scope: Scope, crypto: Crypto): Promise<void> => {
  userTables(scope, local.schema());
  const text = scopeText(scope);
  const meta = local.meta();
  if (meta.scopeText === text) return;
  await local.updateMeta({ scopeText: text, scopeHash: scopeHashOf(scope, crypto.sha256) });
};

const contentFingerprintOf = async (
  local: LocalReplica,
  name: string,
  crypto: Crypto,
): Promise<string> => {
  const fingerprint = startContentFingerprint(crypto.sha256);
  let after: string | undefined;
  for (;;) {
    const page = await local.scanContents(name, {
      limit: scanRecords,
      ...(after === undefined ? {} : { after }),
    });
    for (const { id, fields } of page) fingerprint.addBytes(id, fields);
    after = page[page.length - 1]?.id;
    if (page.length < scanRecords) return fingerprint.digest();
  }
};

/** Rejects while operations are pending or parked. */
const refusePending = (local: LocalReplica): void => {
  const { pending, parked } = local.pendingCount();
  if (pending + parked > 0)
    throw new TidemarkError('pending-operations', 'operations would be lost', { pending, parked });
};

/**
 * Puts the public replica on its local half. Reports damage that was met at open as an event. Rejects with
 * `invalid-scope`.
 */
export const replicaOn = async <S extends AnySchema>(
  options: ReplicaOptions,
): Promise<Replica<S>> => {
  const { local, crypto, logger, clock, entropy, timer, transport } = options;
  const scope = checkedScope(options.scope ?? { tables: 'all' });
  await adoptScope(local, scope, crypto);
  const events = new Listeners<ReplicaEvent>(logger);
  const statuses = new Listeners<ReplicaStatus>(logger);
  if (options.onEvent !== undefined) events.add(options.onEvent);
  let lastLog: SyncLog | null = (await listSyncLogs(local, 1))[0] ?? null;
  const state = { closed: false };

  const moved = (): void => {
    if (!state.closed) statuses.tell(status);
  };
  const runner = syncRunner(
    {
      local,
      transport,
      scope,
      clock,
      entropy,
      timer,
      crypto,
      ...(logger === undefined ? {} : { logger }),
      ...(options.compression === undefined ? {} : { compression: options.compression }),
      ...(options.compress === undefined ? {} : { compress: options.compress }),
      ...(options.identity === undefined ? {} : { identity: options.identity }),
      emit: (event) => events.tell(() => event),
    },
    moved,
  );
  const age = pendingAge(local, clock, moved);
  const met = new MetDamage(moved);
  const status = (): ReplicaStatus =>
    statusOf({ local, runner, scope, met, lastLog: () => lastLog, oldestAt: age.oldestAt });
  const stopChanges = local.onChange(moved);
  await age.settled();

  const { damage } = local;
  if (damage.found.length > 0 || damage.newEpoch)
    events.tell(() => ({
      type: 'damage',
      found: damage.found,
      newEpoch: damage.newEpoch,
      lostFrom: damage.lostFrom,
      lost: damage.lost,
    }));

  const refuseClosed = (): void => {
    if (state.closed) throw new TidemarkError('replica-closed', 'the replica is closed', {});
  };
  const clear = async (wanted?: { readonly pending: ClearPending }): Promise<void> => {
    refuseClosed();
    const pending = wanted?.pending;
    if (pending !== 'refuse' && pending !== 'upload-first' && pending !== 'discard')
      throw new TidemarkError('invalid-option', 'pending: refuse, upload-first or discard', {});
    if (pending === 'refuse') refusePending(local);
    if (pending === 'upload-first') await runner.sync({ mode: 'foreground' });
    await runner.disconnect();
    const allow = pending === 'discard' ? {} : { allow: () => refusePending(local) };
    await local.clear({ log: true, ...allow });
    met.forget();
    await adoptScope(local, scope, crypto);
    lastLog = null;
    runner.forget();
    moved();
  };
  const replica = {
    create: local.create,
    update: local.update,
    delete: local.delete,
    increment: local.increment,
    editText: local.editText,
    transaction: local.transaction,
    get: met.watching(local.get),
    query: met.watching(local.query),
    count: met.watching(local.count),
    watch: local.watch,
    watchWith: local.watchWith,
    recordState: met.watching(local.recordState),
    pending: local.pending,
    sync: async (syncOptions?: Parameters<typeof runner.sync>[0]) => {
      refuseClosed();
      return runner.sync(syncOptions);
    },
    connect: (connectOptions?: Parameters<typeof runner.connect>[0]) => {
      refuseClosed();
      runner.connect(connectOptions);
    },
    disconnect: runner.disconnect,
    errors: syncErrorList(local),
    get status() {
      return status();
    },
    onStatus: (listener: (status: ReplicaStatus) => void) => statuses.add(listener),
    watchStatus: (signal?: Parameters<Replica['watchStatus']>[0]) =>
      newestValues(status, (changed) => statuses.add(changed), signal),
    onEvent: (listener: (event: ReplicaEvent) => void) => events.add(listener),
    logs: async (limit?: number) => {
      refuseClosed();
      return listSyncLogs(local, limit);
    },
    fingerprint: met.watching((table) => contentFingerprintOf(local, table, crypto)),
    clear,
    close: async () => {
      if (state.closed) return;
      state.closed = true;
      await runner.disconnect();
      stopChanges();
      age.stop();
      await local.close();
      await options.onClosed?.();
    },
  };
  // The local half knows names only at run time; the types of the schema are put on it here.
  return replica as unknown as Replica<S>;
};
