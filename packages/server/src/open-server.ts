import {
  destructiveChanges,
  problemsError,
  TidemarkError,
  toHex,
  type SyncErrorState,
  type Customization,
  type TypedSchema,
} from '@tidemark/model';
import type { TableSelection } from '@tidemark/filter';
import {
  createFellows,
  openMerger,
  type AuthenticateHook,
  type ChangesSince,
  type CheckpointManifest,
  type Explanation,
  type HorizonLimits,
  type PreparedLimits,
  type IdentityDesk,
  type KeptSyncLog,
  type Merger,
  type MergerOptions,
  type MergerStatus,
  type Protocols,
  type ResolveInput,
  type ResolveResult,
  type ServerChange,
  type ServerEvent,
  type SyncErrorView,
  type ValidateHook,
} from '@tidemark/merger';
import type { AbortSignalLike, CheckpointFolder, Clock, Logger, Timer } from '@tidemark/ports';
import { openCheckpointFolder } from '@tidemark/store-level/node';
import { createLocalTransport, type LocalTransport } from '@tidemark/transport-local';
import { openNatsCheckpoints, openServerTalk, serveTenant } from '@tidemark/transport-nats/server';
import { nodeCompression, nodeCrypto } from '@tidemark/crypto-node';
import { nodeTimer, systemClock, systemEntropy, waitingTimer } from './node-effects.js';
import { fingerprintTable, getRecord, queryRecords, type ServerQuery } from './server-reads.js';
import { readHealth, type ServerHealth } from './server-health.js';
import { openRenewingMerger, type RenewingMerger } from './renewing-merger.js';
import { createSpaceKeeper, type SpaceKeeper } from './space-keeper.js';
import { openScratchStore } from './scratch-store.js';
import { switchService, type SwitchedService } from './switched-service.js';
import { openServerStores, type ServerPlace, type ServerStores } from './server-stores.js';
import type {
  ForeignRow,
  LooseOperation,
  ServerRecord,
  TableName,
  Tables,
  WriteInput,
  Writer,
} from './server-types.js';
import { reportForeign } from './server-foreign.js';
import { checkUser, writeOperations, type WriteResult } from './server-writes.js';

/** Options of `openServer`. */
export type ServerOptions<T extends Tables> = ServerPlace & {
  readonly tenant: string;
  /** Published when its version is greater than the one in force. */
  readonly schema: TypedSchema<T>;
  /** Refuses transactions of devices; must be deterministic. */
  readonly validate?: ValidateHook;
  /**
   * `required`: from now on replicas enrol, and sign what they send. There is no way back: a tenant that once
   * demanded it demands it for ever, whether this option is given or not.
   */
  readonly identities?: 'required';
  /** Says which user a token stands for, when it is none of the one-time tokens; see `oidcAuthenticator`. */
  readonly authenticate?: AuthenticateHook;
  readonly checkpoints?: {
    /**
     * Folder outside of the server's own, or an implementation of the port; `{ in: 'nats' }` is an
     * object store of NATS that all servers of the tenant share.
     */
    readonly folder: string | CheckpointFolder | { readonly in: 'nats' };
    readonly keep?: number;
    readonly everyOps?: number;
    readonly trimInput?: boolean;
  };
  /** `refuse` rejects with `input-mismatch` where a new incarnation would begin. */
  readonly newIncarnation?: 'refuse';
  readonly horizon?: Partial<HorizonLimits>;
  /** How tables are prepared for first fills. */
  readonly prepared?: Partial<PreparedLimits>;
  /**
   * Versions of the protocol that devices may speak: this program's own and the one before when left out.
   * A greater `oldest` ends what older devices may do: they say `protocol-too-old` and keep their edits.
   */
  readonly protocols?: Protocols;
  readonly logger?: Logger;
  readonly onEvent?: (event: ServerEvent) => void;
  readonly clock?: Clock;
  readonly timer?: Timer;
};

/** Server of one tenant in this process; with NATS, other processes reach it and may serve it, too. */
export interface Server<T extends Tables> {
  /** Transport for replicas in this process. */
  readonly transport: LocalTransport;
  /**
   * Writes as the server: operations always apply. Up to 1,000 operations and about 768 KB are one
   * transaction; more become several, in order. Resolves when all are applied. Rejects with coded errors
   * before anything of the transaction at hand is stored; `details.stored` counts the operations before it that are
   * stored, `details.storedBehind` those behind it that were on their way.
   */
  readonly write: (
    input: WriteInput<T>,
    options: { readonly user: string },
  ) => Promise<WriteResult>;
  /** Reports rows of a system of record; each is merged as its own transaction. Rejects before any is stored. */
  readonly foreign: (backend: string, rows: readonly ForeignRow<T>[]) => Promise<void>;
  /** Publishes a customization. Rejects with `destructive-change` and every problem. */
  readonly publish: (
    schema: TypedSchema<Tables>,
    options: { readonly user: string },
  ) => Promise<void>;
  /** Changes of records, at least once, resumable; see `ServerChange`. */
  readonly changes: (options?: {
    readonly since?: ChangesSince;
    readonly signal?: AbortSignalLike;
  }) => AsyncGenerator<ServerChange>;
  /** Ledger of a record or field, oldest entry first. */
  readonly explain: (
    table: TableName<T>,
    id: string,
    field?: string,
    limit?: number,
  ) => Promise<readonly Explanation[]>;
  readonly errors: {
    readonly list: (options?: {
      readonly state?: SyncErrorState;
      readonly after?: string;
      readonly limit?: number;
    }) => Promise<readonly SyncErrorView[]>;
    readonly get: (id: string) => Promise<SyncErrorView | undefined>;
    readonly resolve: (id: string, input: ResolveInput) => Promise<ResolveResult>;
  };
  /** Who may do what: enrolment, revocation, and whether signatures are demanded. */
  readonly identities: IdentityDesk;
  /** Sync logs, newest first. */
  readonly syncLogs: (limit?: number) => Promise<readonly KeptSyncLog[]>;
  readonly get: <N extends TableName<T>>(
    table: N,
    id: string,
  ) => Promise<ServerRecord<T[N]> | undefined>;
  /** Records in id order, at most 10,000. */
  readonly query: <N extends TableName<T>>(
    table: N,
    query?: ServerQuery,
  ) => Promise<readonly ServerRecord<T[N]>[]>;
  /** Writes a checkpoint; undefined without a folder, or when the newest is of this version. */
  readonly checkpoint: () => Promise<CheckpointManifest | undefined>;
  /** Content fingerprint of a table, as a device with this selection of it has it. Compare at rest. */
  readonly fingerprint: (table: TableName<T>, selection?: TableSelection) => Promise<string>;
  /** Resolves when everything that was sent so far is applied. */
  readonly settle: () => Promise<void>;
  /** Health. Throws `unreachable` while the server finds its place in the input again. */
  readonly status: () => MergerStatus;
  /** Looks at the input and the replicas: for metrics. Rejects with `unreachable`. */
  readonly health: () => Promise<ServerHealth>;
  /** False while replicas are not answered: the server finds its place again, or its state is in doubt. */
  readonly isReady: () => boolean;
  /** Customization in force; version 0 before the first. */
  readonly customization: () => Customization;
  /** Stops answering replicas and waits for calls in flight, at most 5 s. Everything else works on. */
  readonly stopServing: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const syncLogsDefault = 100;
const tenantLengthMax = 255;
/** Bytes of the name by which the servers of a tenant know each other, and replicas call one of them. */
const fellowIdBytes = 12;

const collect = async <T extends Tables>(
  fill: (writer: Writer<T>) => void | Promise<void>,
): Promise<readonly LooseOperation[]> => {
  const ops: LooseOperation[] = [];
  await fill({
    put: (table, id, fields) => ops.push({ kind: 'put', table, id, fields: fields as never }),
    patch: (table, id, fields) => ops.push({ kind: 'patch', table, id, fields: fields as never }),
    delete: (table, id) => ops.push({ kind: 'delete', table, id }),
    increment: (table, id, by) => ops.push({ kind: 'increment', table, id, by: by as never }),
  } as Writer<T>);
  return ops;
};

const publish = async (
  merger: Merger,
  schema: TypedSchema<Tables>,
  user: string,
): Promise<void> => {
  checkUser(user);
  const problems = destructiveChanges(merger.schema().customization, schema.customization);
  if (problems.length > 0) throw problemsError('destructive-change', problems);
  await merger.publish(schema.customization, user);
};

const publishAtOpen = async (merger: Merger, schema: TypedSchema<Tables>): Promise<void> => {
  const current = merger.schema().customization;
  const next = schema.customization;
  if (next.version > current.version) return publish(merger, schema, 'server');
  // An older program may run against a newer customization; one version must mean one thing.
  if (next.version === current.version && JSON.stringify(next) !== JSON.stringify(current))
    throw new TidemarkError(
      'destructive-change',
      `version ${next.version} of the schema was published with another content`,
    );
};

/** The door over an open renewing.current(). */
const doorOf = <T extends Tables>(
  renewing: RenewingMerger,
  stores: ServerStores,
  more: Pick<Server<T>, 'transport' | 'stopServing' | 'close' | 'isReady'>,
): Server<T> => ({
  ...more,
  write: async (input, { user }) =>
    writeOperations(
      renewing.current(),
      user,
      typeof input === 'function' ? await collect(input) : (input as Iterable<LooseOperation>),
    ),
  foreign: (backend, rows) =>
    reportForeign(renewing.current(), backend, rows as readonly ForeignRow<Tables>[]),
  publish: (schema, { user }) => publish(renewing.current(), schema, user),
  changes: (options = {}) => renewing.current().changes(options.since ?? null, options.signal),
  explain: (table, id, field, limit) =>
    renewing.current().explain({
      table,
      id,
      ...(field === undefined ? {} : { field }),
      ...(limit === undefined ? {} : { limit }),
    }),
  errors: {
    list: (options = {}) => renewing.current().syncErrors(options),
    get: (id) => renewing.current().syncError(id),
    resolve: async (id, input) => {
      checkUser(input.user);
      return renewing.current().resolve(id, input);
    },
  },
  identities: {
    required: () => renewing.current().identities.required(),
    require: (by) => renewing.current().identities.require(by),
    createToken: (wanted) => renewing.current().identities.createToken(wanted),
    revoke: (wanted) => renewing.current().identities.revoke(wanted),
    census: () => renewing.current().identities.census(),
    list: (after) => renewing.current().identities.list(after),
    get receiptKeys() {
      return renewing.current().identities.receiptKeys;
    },
  },
  syncLogs: (limit = syncLogsDefault) => renewing.current().syncLogs(limit),
  get: (table, id) => getRecord(renewing.current(), table, id) as never,
  query: (table, query = {}) => queryRecords(renewing.current(), table, query) as never,
  checkpoint: () => renewing.current().checkpoint(),
  fingerprint: (table, selection = {}) => fingerprintTable(renewing.current(), table, selection),
  settle: async () => {
    await renewing.current().settle();
  },
  status: () => renewing.current().status(),
  health: async () => readHealth(renewing.current(), stores),
  customization: () => renewing.current().schema().customization,
});

const checkpointFolderOf = (
  options: ServerPlace & { readonly tenant: string },
  folder: string | CheckpointFolder | { readonly in: 'nats' },
  { connection }: ServerStores,
): CheckpointFolder => {
  if (typeof folder === 'string') return openCheckpointFolder(folder);
  if (!('in' in folder)) return folder;
  if (connection === undefined || !('nats' in options))
    throw new TidemarkError('invalid-option', 'checkpoints in NATS need a server on NATS');
  const { tenant, nats } = options;
  const { replicas } = nats;
  return openNatsCheckpoints({
    connection,
    tenant,
    ...(replicas === undefined ? {} : { replicas }),
  });
};

const mergerOptions = <T extends Tables>(
  options: ServerOptions<T>,
  stores: ServerStores,
  { clock, timer }: { readonly clock: Clock; readonly timer: Timer },
  onEvent: (event: ServerEvent) => void,
): MergerOptions => {
  const { checkpoints, validate, authenticate, horizon, logger, newIncarnation } = options;
  return {
    tenant: options.tenant,
    store: stores.store,
    input: stores.input,
    cursorKey: stores.cursorKey,
    crypto: nodeCrypto,
    compression: nodeCompression,
    clock,
    timer,
    entropy: systemEntropy,
    crdt: async () => {
      // Automerge is loaded at the first text field only.
      const { loadAutomergeCrdt } = await import('@tidemark/crdt-automerge');
      return loadAutomergeCrdt({ hash: nodeCrypto.sha256 });
    },
    onEvent,
    ...(validate === undefined ? {} : { validate }),
    ...(authenticate === undefined ? {} : { authenticate }),
    ...(horizon === undefined ? {} : { horizon }),
    ...(options.prepared === undefined ? {} : { prepared: options.prepared }),
    ...(newIncarnation === undefined ? {} : { newIncarnation }),
    ...(options.protocols === undefined ? {} : { protocols: options.protocols }),
    ...(logger === undefined ? {} : { logger }),
    ...(checkpoints === undefined
      ? {}
      : {
          checkpoints: {
            ...checkpoints,
            folder: checkpointFolderOf(options, checkpoints.folder, stores),
          },
        }),
  };
};

/** No device opens a replica of a tenant with another name. */
const requireTenant = (tenant: unknown): void => {
  if (typeof tenant !== 'string' || tenant === '' || tenant.length > tenantLengthMax)
    throw new TidemarkError(
      'invalid-option',
      `tenant is a text of 1 to ${tenantLengthMax} characters`,
      {
        option: 'tenant',
      },
    );
};

/**
 * Opens the server of a tenant in this process. Close it before the process ends; a killed one loses
 * nothing that was acknowledged.
 *
 * Rejects with `folder-in-use`, `newer-format`, `storage-damaged`, `store-missing`, `checkpoint-invalid`,
 * `wrong-tenant`, `destructive-change`, `invalid-option`.
 */
export const openServer = async <const T extends Tables>(
  options: ServerOptions<T>,
): Promise<Server<T>> => {
  const clock = options.clock ?? systemClock;
  const timer = options.timer ?? nodeTimer;
  const { tenant, logger } = options;
  requireTenant(tenant);
  let alarm = 0;
  let keeper: SpaceKeeper | undefined;
  const onEvent = (event: ServerEvent): void => {
    options.onEvent?.(event);
    if (event.type !== 'input-space') return;
    alarm = event.alarmPercent;
    keeper?.note(alarm);
  };
  const isLooking = options.newIncarnation === 'refuse';
  const stores = await openServerStores(options, { tenant, clock, timer, onEvent, isLooking });
  const { connection } = stores;
  const ownName = toHex(systemEntropy.bytes(fellowIdBytes));
  const fellows =
    connection === undefined
      ? undefined
      : createFellows(openServerTalk(connection, tenant), clock, ownName);
  let isReady = false;
  let switched: SwitchedService | undefined;
  try {
    const renewing = await openRenewingMerger({
      clock,
      timer,
      onEvent,
      onReady: (ready) => {
        isReady = ready;
        void switched?.set(ready);
      },
      open: (tell, isReopened) =>
        openMerger({
          ...mergerOptions(options, stores, { clock, timer }, tell),
          isReopened,
          ...(fellows === undefined || !('folder' in options)
            ? {}
            : { fellows, scratch: () => openScratchStore(options.folder, nodeCrypto.sha256) }),
        }),
    });
    if (options.checkpoints?.trimInput === true) {
      keeper = createSpaceKeeper({
        timer,
        free: () => renewing.current().checkpoint(),
        look: () => stores.input.extent(),
        onEvent,
      });
      keeper.note(alarm);
    }
    try {
      await renewing.settle();
      await publishAtOpen(renewing.current(), options.schema as TypedSchema<Tables>);
      if (options.identities === 'required') await renewing.current().identities.require('server');
      const transport = createLocalTransport({
        service: renewing.service,
        timer: options.timer ?? waitingTimer,
      });
      if (connection !== undefined) {
        switched = switchService(() =>
          serveTenant({
            connection,
            tenant,
            service: renewing.service,
            name: ownName,
            generation: async () => (await stores.input.extent()).generation,
            timer,
            ...(logger === undefined ? {} : { logger }),
            ...(options.protocols === undefined ? {} : { protocols: options.protocols }),
          }),
        );
        // Whoever is told that the server is open finds it served.
        await switched.set(isReady);
      }
      const stopServing = async (): Promise<void> => {
        transport.setService(null);
        await switched?.close();
      };
      const close = async (): Promise<void> => {
        await stopServing();
        await keeper?.close();
        await renewing.close();
        fellows?.leave();
        await stores.close();
      };
      return doorOf<T>(renewing, stores, {
        transport,
        stopServing,
        close,
        isReady: () => isReady,
      });
    } catch (cause) {
      await keeper?.close();
      await renewing.close();
      throw cause;
    }
  } catch (cause) {
    fellows?.close();
    await stores.close();
    throw cause;
  }
};
