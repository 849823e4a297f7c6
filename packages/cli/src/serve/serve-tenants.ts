import type { NatsPlace } from '@tidemark/node';
import { TidemarkError } from '@tidemark/model';
import type { NatsServerConnection } from '@tidemark/server';
import type { Settings } from '../config/settings.js';
import { LostNatsError } from '../failure.js';
import type { Output } from '../output.js';
import type { StartedNats } from '../server/nats-program.js';
import { endsWithin } from './bounded.js';
import {
  httpAddressOf,
  jsonAnswer,
  serveHttp,
  type HttpPaths,
  type ServedHttp,
} from './http-server.js';
import type { ServerLog } from './server-log.js';
import { ServerMetrics } from './server-metrics.js';
import { lookAt, lookKeptMs, type TenantLook } from './tenant-look.js';
import { TenantHost, type OpenTenant } from './tenant-host.js';

/** Runs that are read at the start, so that pending operations are known before the next run. */
export const runsReadMax = 1_000;
/** Longest wait at the end for the connection to NATS, ms. */
const connectionMsMax = 5_000;

/** What serving works with. */
export interface ServeTenantsOptions {
  readonly settings: Settings;
  readonly tenants: readonly Settings[];
  readonly place: NatsPlace;
  readonly started: StartedNats | undefined;
  readonly isMoving: boolean;
  readonly output: Output;
  readonly log: ServerLog;
  readonly signal: AbortSignal;
  /** Resolves when tenants that the server is to serve too were added to the configuration. */
  readonly newTenants?: (
    known: ReadonlySet<string>,
    signal: AbortSignal,
  ) => AsyncIterable<readonly Settings[]>;
  /** Users whose runs are in no line of the log, such as a demo device's. */
  readonly quietUser?: string;
  /** Work beside a tenant that is served; resolves with the way to end it. */
  readonly beside?: (
    tenant: string,
    open: OpenTenant,
    nats: NatsPlace,
  ) => Promise<() => Promise<void>>;
}

const untilStopped = async (
  signal: AbortSignal,
  started: StartedNats | undefined,
  connection: NatsServerConnection,
): Promise<string | undefined> => {
  const ended = new Promise<string>((resolve) => {
    void connection.ended.then((failure) => {
      if (failure !== undefined) resolve('the connection to NATS has ended');
    });
  });
  const stopped = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  // The wait alone would not keep the process alive.
  const alive = setInterval(() => undefined, 60_000);
  try {
    return await Promise.race([stopped, ended, ...(started === undefined ? [] : [started.gone])]);
  } finally {
    clearInterval(alive);
  }
};

const looksOf = (host: TenantHost): (() => Promise<readonly TenantLook[]>) => {
  let kept: Promise<readonly TenantLook[]> | undefined;
  let keptAtMs = 0;
  const none = (tenant: string): TenantLook => ({
    tenant,
    isReady: false,
    status: undefined,
    health: undefined,
    storeBytes: undefined,
  });
  return () => {
    const nowMs = Date.now();
    if (kept === undefined || Math.abs(nowMs - keptAtMs) > lookKeptMs) {
      keptAtMs = nowMs;
      kept = Promise.all(
        host
          .opened()
          .map(async ([tenant, open]) =>
            open === undefined ? none(tenant) : lookAt(tenant, open),
          ),
      );
    }
    return kept;
  };
};

const pathsOf = (
  host: TenantHost,
  metrics: ServerMetrics,
  connection: NatsServerConnection,
): HttpPaths => {
  const looks = looksOf(host);
  return {
    '/healthz': () => jsonAnswer(200, { status: 'ok' }),
    '/readyz': (query) => {
      const wanted = query.get('tenant');
      const tenants = host.states().filter(({ tenant }) => wanted === null || tenant === wanted);
      const nats = connection.isConnected();
      const isReady = nats && tenants.length > 0 && tenants.every(({ state }) => state === 'ready');
      return jsonAnswer(isReady ? 200 : 503, { ready: isReady, nats, tenants });
    },
    '/metrics': async () => ({
      status: 200,
      type: metrics.contentType,
      body: await metrics.scrape(await looks()),
    }),
  };
};

const startHttp = async (
  { settings, output }: ServeTenantsOptions,
  paths: HttpPaths,
): Promise<ServedHttp | undefined> => {
  const address = httpAddressOf(settings.needed('http'));
  if (address === undefined) return undefined;
  try {
    return await serveHttp(address, paths);
  } catch (cause) {
    // Who named the address wants it; the default one may be taken by another server of this machine.
    if (settings.sourceOf('http') !== 'default' || !(cause instanceof TidemarkError)) throw cause;
    output.warn(`${cause.message}; --http names another address, or off.`);
    return undefined;
  }
};

const readRuns = async (
  tenant: string,
  { server }: OpenTenant,
  metrics: ServerMetrics,
): Promise<void> => {
  for (const { log, receivedMs } of [...(await server.syncLogs(runsReadMax))].reverse())
    metrics.noteRun(tenant, log.replica, log.pendingOperations, receivedMs);
};

/** Serves tenants that are added to the configuration meanwhile. */
const takeUp = async (
  { newTenants, tenants, log }: ServeTenantsOptions,
  host: TenantHost,
  metrics: ServerMetrics,
  signal: AbortSignal,
): Promise<void> => {
  if (newTenants === undefined) return;
  const known = new Set(tenants.map((settings) => settings.needed('tenant')));
  for await (const added of newTenants(known, signal))
    for (const settings of added) {
      const tenant = settings.needed('tenant');
      known.add(tenant);
      log.namesTenants = true;
      log.tell('info', 'tenant-added', { tenant }, () => `${tenant} is new in the configuration`);
      metrics.begin(tenant);
      host.add(settings);
    }
};

/**
 * Serves tenants over one connection to NATS, with health and metrics, until the signal fires; then ends
 * gracefully. Rejects when no tenant can be opened, and with LostNatsError when NATS that was started ends by
 * itself, or the connection.
 */
export const serveTenants = async (options: ServeTenantsOptions): Promise<void> => {
  const { place, started, log, tenants, signal, isMoving } = options;
  const [{ connectServer }, { systemEntropy }] = await Promise.all([
    import('@tidemark/server'),
    import('@tidemark/node'),
  ]);
  const connection = await connectServer(place, systemEntropy);
  const metrics = new ServerMetrics();
  for (const settings of tenants) metrics.begin(settings.needed('tenant'));
  const host = new TenantHost({
    tenants,
    connection,
    nats: place.servers,
    isMoving,
    onEvent: (tenant, event) => {
      metrics.note(tenant, event, Date.now());
      if (event.type !== 'run' || event.user !== options.quietUser) log.event(tenant, event);
    },
    onOpen: async (tenant, open) => {
      await readRuns(tenant, open, metrics);
      const { state } = open.server.status();
      log.tell(
        'info',
        'ready',
        {
          tenant,
          folder: open.folder,
          nats: place.servers,
          natsVersion: connection.version(),
          startedNats: started !== undefined,
          incarnation: state.incarnation,
          n: state.n,
          customizationVersion: state.customizationVersion,
          pid: process.pid,
        },
        () =>
          `serving ${tenant} at ${place.servers.join(', ')} (nats-server ${connection.version()}), version ${state.incarnation}:${state.n}, customization ${state.customizationVersion}`,
      );
    },
    onFailed: (tenant, { code, message }, retryMs) =>
      log.tell(
        'error',
        'tenant-failed',
        { tenant, code, message, retryMs },
        () =>
          `${tenant} cannot be served: ${code}: ${message}; tried again in ${retryMs / 1_000} s`,
      ),
    onMoved: (tenant) =>
      log.tell(
        'info',
        'input-moved',
        { tenant },
        () =>
          `the input of ${tenant} moves from its folder to NATS; no device has synced yet, so nothing else changes`,
      ),
  });
  const besides: (() => Promise<void>)[] = [];
  const stopping = new AbortController();
  let adding: Promise<void> = Promise.resolve();
  let http: ServedHttp | undefined;
  try {
    http = await startHttp(options, pathsOf(host, metrics, connection));
    await host.start();
    const ready = host.states().filter(({ state }) => state === 'ready').length;
    const url = http?.url ?? null;
    log.tell('info', 'serving', { tenants: ready, failed: tenants.length - ready, http: url }, () =>
      [
        `serving ${ready} of ${tenants.length} tenant${tenants.length === 1 ? '' : 's'}`,
        ...(url === null ? [] : [`health and metrics at ${url}`]),
      ].join(', '),
    );
    for (const [tenant, open] of host.opened())
      if (open !== undefined && options.beside !== undefined)
        besides.push(await options.beside(tenant, open, place));
    adding = takeUp(options, host, metrics, stopping.signal);
    const lost = await untilStopped(signal, started, connection);
    stopping.abort();
    log.tell('info', 'stopping', {}, () => 'stopping; a second signal ends at once');
    for (const end of besides.splice(0)) await end();
    // What still asks a NATS that is gone fails at once then.
    if (lost !== undefined) await endsWithin(connectionMsMax, connection.close());
    await host.stop(
      (tenant, step) =>
        log.tell('warn', 'late', { tenant, step }, () => `${step} did not end in time`),
      lost !== undefined,
    );
    if (lost !== undefined) throw new LostNatsError(lost);
  } finally {
    stopping.abort();
    await adding;
    await http?.close();
    for (const end of besides) await end().catch(() => undefined);
    await endsWithin(connectionMsMax, connection.close());
  }
  log.tell('info', 'stopped', {}, () => 'stopped');
};
