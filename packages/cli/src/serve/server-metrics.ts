import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { ServerEvent } from '@tidemark/server';
import { LastRuns, pendingSeries } from './replica-series.js';
import type { TenantLook } from './tenant-look.js';

/** Upper ends of the classes of run durations, s. */
const durationClasses = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

interface Shown {
  readonly help: string;
  readonly of: (look: TenantLook) => number | undefined;
}

/** Values that are read at each look; those that only grow are counters. */
const gauges: Readonly<Record<string, Shown>> = {
  tidemark_ready: {
    help: '1 when the tenant is served and its fold works, else 0',
    of: (look) => (look.isReady ? 1 : 0),
  },
  tidemark_merge_lag_messages: {
    help: 'Messages of the input that are not applied yet',
    of: ({ health }) => health?.lagMessages,
  },
  tidemark_last_input_timestamp_seconds: {
    help: 'Greatest time of the input that is applied',
    of: ({ status }) => status && status.now / 1_000,
  },
  tidemark_incarnation: {
    help: 'Incarnation of the server',
    of: ({ status }) => status?.incarnation,
  },
  tidemark_version: { help: 'Newest version of the incarnation', of: ({ status }) => status?.n },
  tidemark_customization_version: {
    help: 'Version of the customization in force',
    of: ({ status }) => status?.customizationVersion,
  },
  tidemark_checkpoint_lag_versions: {
    help: 'Versions since the newest checkpoint; all of them when there is none',
    of: ({ status }) => status && status.n - (status.checkpoint?.n ?? 0),
  },
  tidemark_replicas: {
    help: 'Replicas of devices that the server knows',
    of: ({ health }) => health?.replicas,
  },
  tidemark_parked_operations: {
    help: 'Operations that wait for a decision',
    of: ({ health }) => health?.parked,
  },
  tidemark_open_sync_errors: {
    help: 'Sync errors that wait for a person, counted up to 1,000',
    of: ({ status }) => status?.openErrors,
  },
  tidemark_stream_bytes: { help: 'Bytes of the input', of: ({ health }) => health?.inputBytes },
  tidemark_stream_bytes_max: {
    help: 'Bytes that the input may take',
    of: ({ health }) => health?.inputBytesMax,
  },
  tidemark_store_bytes: { help: 'Bytes of the store on disk', of: (look) => look.storeBytes },
};

const totals: Readonly<Record<string, Shown>> = {
  tidemark_operations_total: {
    help: 'Operations applied since the store began',
    of: ({ status }) => status?.counts['operations'],
  },
  tidemark_transactions_total: {
    help: 'Transactions applied since the store began',
    of: ({ status }) => status?.counts['transactions'],
  },
  tidemark_sync_errors_total: {
    help: 'Sync errors made since the store began',
    of: ({ status }) => status?.counts['syncErrors'],
  },
  tidemark_quarantined_total: {
    help: 'Messages that were not what they claimed, since the store began',
    of: ({ status }) => status?.counts['quarantined'],
  },
};

/**
 * Metrics of a server in the text format of Prometheus. Labels are the tenant, the replica (bounded), the
 * result of a run and codes: never a user, a value or a token.
 */
export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #runs = new Map<string, LastRuns>();
  readonly #gauges = new Map<string, Gauge<'tenant'>>();
  readonly #totals = new Map<string, Counter<'tenant'>>();
  readonly #pending: Gauge<'tenant' | 'replica'>;
  readonly #durations: Histogram<'tenant' | 'result'>;
  readonly #rewinds: Counter<'tenant'>;
  readonly #damage: Counter<'tenant'>;
  readonly #digests: Counter<'tenant'>;
  readonly #refused: Counter<'tenant' | 'code'>;
  readonly #alarm: Gauge<'tenant'>;

  constructor() {
    const registers = [this.#registry];
    const tenant = ['tenant'] as const;
    for (const [name, { help }] of Object.entries(gauges))
      this.#gauges.set(name, new Gauge({ name, help, labelNames: tenant, registers }));
    for (const [name, { help }] of Object.entries(totals))
      this.#totals.set(name, new Counter({ name, help, labelNames: tenant, registers }));
    this.#pending = new Gauge({
      name: 'tidemark_pending_operations',
      help: 'Operations that a replica had not uploaded at the end of its newest run',
      labelNames: ['tenant', 'replica'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'tidemark_run_duration_seconds',
      help: 'Durations of sync runs, as devices tell them',
      labelNames: ['tenant', 'result'],
      buckets: durationClasses,
      registers,
    });
    this.#rewinds = new Counter({
      name: 'tidemark_rewinds_total',
      help: 'Incarnations that began: input or store were lost, put back or moved',
      labelNames: tenant,
      registers,
    });
    this.#damage = new Counter({
      name: 'tidemark_damage_total',
      help: 'Damages of the store that were met',
      labelNames: tenant,
      registers,
    });
    this.#digests = new Counter({
      name: 'tidemark_digest_differences_total',
      help: 'Times that another server came to another state from the same input',
      labelNames: tenant,
      registers,
    });
    this.#refused = new Counter({
      name: 'tidemark_refused_calls_total',
      help: 'Calls of replicas that were refused',
      labelNames: ['tenant', 'code'],
      registers,
    });
    this.#alarm = new Gauge({
      name: 'tidemark_stream_alarm_percent',
      help: 'Share of the space of the input whose alarm is raised; 0 when none is',
      labelNames: tenant,
      registers,
    });
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Type of the text that `scrape` gives. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Begins the series of a tenant, so that they are there before anything happens. */
  begin(tenant: string): void {
    this.#rewinds.inc({ tenant }, 0);
    this.#damage.inc({ tenant }, 0);
    this.#digests.inc({ tenant }, 0);
    this.#alarm.set({ tenant }, 0);
    this.#runs.set(tenant, new LastRuns());
  }

  /** Takes note of an event of a tenant's server. */
  note(tenant: string, event: ServerEvent, nowMs: number): void {
    if (event.type === 'run') {
      this.#durations.observe({ tenant, result: event.result }, event.durationMs / 1_000);
      this.noteRun(tenant, event.replica, event.pendingOperations, nowMs);
    } else if (event.type === 'incarnation-folded') this.#rewinds.inc({ tenant });
    else if (event.type === 'damage') this.#damage.inc({ tenant });
    else if (event.type === 'digest-differs') this.#digests.inc({ tenant });
    else if (event.type === 'refused') this.#refused.inc({ tenant, code: event.code });
    else if (event.type === 'input-space') this.#alarm.set({ tenant }, event.alarmPercent);
  }

  /** Takes note of what a run left, also of one before this server started. */
  noteRun(tenant: string, replica: string, pending: number, endedOnMs: number): void {
    this.#runs.get(tenant)?.note({ replica, pending, endedOnMs });
  }

  /** The text, made of what was looked at now. */
  async scrape(looks: readonly TenantLook[]): Promise<string> {
    for (const [name, { of }] of Object.entries(gauges)) {
      const gauge = this.#gauges.get(name);
      gauge?.reset();
      for (const look of looks) {
        const value = of(look);
        if (value !== undefined) gauge?.set({ tenant: look.tenant }, value);
      }
    }
    for (const [name, { of }] of Object.entries(totals)) {
      const counter = this.#totals.get(name);
      counter?.reset();
      for (const look of looks) {
        const value = of(look);
        if (value !== undefined) counter?.inc({ tenant: look.tenant }, value);
      }
    }
    this.#pending.reset();
    for (const { tenant, replica, pending } of pendingSeries(this.#runs))
      this.#pending.set({ tenant, replica }, pending);
    return this.#registry.metrics();
  }
}
