import { TidemarkError, type SyncLog, type SyncMode } from '@tidemark/model';
import type { AbortSignalLike, Link } from '@tidemark/ports';
import { abortSource, type AbortSource } from './abort-source.js';
import { backOffMs, livePauseMsMax } from './back-off.js';
import { Identity } from './identity.js';
import { linkHolder, type LinkHolder } from './link-holder.js';
import { LinkSpeed } from './link-speed.js';
import { PageSize } from './page-size.js';
import type { RunPorts, SyncProgress } from './run-context.js';
import { driveRun, type ActiveRun, type FinishedRun } from './sync-run-driver.js';

/** Quiet time after a local edit before a live replica syncs, ms: edits close together share a run. */
export const editDebounceMs = 200;
/** Runs under way that one call waits for before it joins what there is. */
const waitsMax = 4;
/** Longest time between two runs of a live replica, ms. */
export const livePeriodMs = 60_000;

/** Options of a run. */
export interface SyncOptions {
  /** `foreground` when left out. */
  readonly mode?: SyncMode;
  readonly signal?: AbortSignalLike;
  readonly onProgress?: (progress: SyncProgress) => void;
}

/** Options of a live replica. */
export interface ConnectOptions {
  /** Longest time between two runs in ms; a minute when left out. */
  readonly periodMs?: number;
}

/** Runs of a replica: at most one at a time. */
export interface SyncRunner {
  /**
   * Starts a run, or joins the one under way if that uploads everything that is in the log now and does
   * all that the mode asks for; else it waits for its turn. Resolves with the log, also when it failed. A
   * signal cancels the caller's part: the run itself only when nobody else waits for it.
   */
  readonly sync: (options?: SyncOptions) => Promise<SyncLog>;
  /** Keeps the replica live: runs now, after edits, when the server moves, and periodically. */
  readonly connect: (options?: ConnectOptions) => void;
  /** Stops being live: cancels the run under way and closes the link. */
  readonly disconnect: () => Promise<void>;
  readonly active: () => ActiveRun | null;
  readonly last: () => FinishedRun | null;
  readonly live: () => boolean;
  /** Why a live replica could not reach the server last; null once it could. */
  readonly connectError: () => TidemarkError | null;
  /** Forgets the last run: the replica was cleared. */
  readonly forget: () => void;
  readonly links: LinkHolder;
}

/** Progress of a run as people see it. */
export const progressOfRun = ({ context: { counters } }: ActiveRun): SyncProgress => ({
  uploadedOperations: counters.uploadedOperations,
  operationsToUpload: counters.operationsToUpload,
  downloadedBytes: counters.downloadedBytes,
  pages: counters.pages,
  table: counters.table,
  done: counters.done,
  total: counters.total,
});

class Runner {
  readonly links: LinkHolder;
  readonly #ports: RunPorts;
  readonly #moved: () => void;
  /** Outlives the runs: the next one goes on with what the link carried. */
  readonly #pageSize = new PageSize();
  readonly #speed = new LinkSpeed();
  #active: ActiveRun | null = null;
  #running: Promise<SyncLog> | null = null;
  #cancel: AbortSource | null = null;
  /** Callers that wait for the run under way. */
  readonly #parties = new Set<object>();
  #progress: ((progress: SyncProgress) => void)[] = [];
  #last: FinishedRun | null = null;
  #live: AbortSource | null = null;
  #loop: Promise<void> = Promise.resolve();
  #wake: AbortSource | null = null;
  #edited = false;
  #connectError: TidemarkError | null = null;
  /** Pause of a live replica after a failure. */
  #nap: AbortSource | null = null;

  constructor(ports: RunPorts, moved: () => void) {
    this.#ports = ports;
    this.#moved = moved;
    const { local } = ports;
    this.links = linkHolder({
      transport: ports.transport,
      clock: ports.clock,
      speed: this.#speed,
      caller: () => {
        const { tenant, replica, user } = local.meta();
        return { tenant, replica, user };
      },
      moved: () => {
        moved();
        if (this.links.state() === 'offline') this.#wake?.abort();
      },
      identity: new Identity({
        local,
        crypto: ports.crypto,
        timer: ports.timer,
        emit: ports.emit,
        options: ports.identity,
        moved,
        wake: () => this.#nap?.abort(),
        ...(ports.logger === undefined ? {} : { logger: ports.logger }),
      }),
    });
    local.onChange(({ kind }) => {
      if (kind !== 'edit') return;
      this.#edited = true;
      this.#wake?.abort();
    });
  }

  active(): ActiveRun | null {
    return this.#active;
  }

  last(): FinishedRun | null {
    return this.#last;
  }

  live(): boolean {
    return this.#live !== null;
  }

  forget(): void {
    this.#last = null;
    this.#connectError = null;
  }

  connectError(): TidemarkError | null {
    return this.#connectError;
  }

  async sync(options: SyncOptions = {}): Promise<SyncLog> {
    const { mode = 'foreground', signal, onProgress } = options;
    if (mode !== 'foreground' && mode !== 'background')
      throw new TidemarkError('invalid-option', 'mode is "foreground" or "background"', {});
    for (let waits = 0; waits < waitsMax && !this.#covers(mode); waits += 1)
      await this.#running?.catch(() => undefined);
    if (onProgress !== undefined) this.#progress.push(onProgress);
    const running = this.#running ?? this.#begin(mode);
    const party = {};
    this.#parties.add(party);
    const left = abortSource();
    const leave = (): void => {
      this.#parties.delete(party);
      // The run belongs to everybody who waits for it: the last one to leave cancels it.
      if (this.#parties.size === 0) this.#cancel?.abort();
      else left.abort();
    };
    if (signal?.aborted === true) leave();
    else signal?.addEventListener('abort', leave);
    try {
      return await this.#logOrLeft(running, left.signal);
    } finally {
      this.#parties.delete(party);
      signal?.removeEventListener('abort', leave);
      this.#progress = this.#progress.filter((one) => one !== onProgress);
    }
  }

  /** Whether a call may join what runs, or begin: the run uploads all that the call can mean. */
  #covers(mode: SyncMode): boolean {
    const run = this.#active;
    if (this.#running === null || run === null) return true;
    const { context } = run;
    const isEnough = context.mode === 'foreground' || mode === 'background';
    return isEnough && context.target >= this.#ports.local.logEnd().lastIndex;
  }

  /** Log of the run, or of what the caller saw of it when it left others to it. */
  #logOrLeft(running: Promise<SyncLog>, left: AbortSignalLike): Promise<SyncLog> {
    return new Promise((resolve, reject) => {
      running.then(resolve, reject);
      const leave = (): void => {
        const run = this.#active;
        if (run !== null) resolve(run.cancelledLog());
      };
      if (left.aborted) leave();
      else left.addEventListener('abort', leave);
    });
  }

  #begin(mode: SyncMode): Promise<SyncLog> {
    this.#cancel = abortSource();
    this.#parties.clear();
    const running = this.#run(mode, this.#cancel.signal);
    this.#running = running;
    return running;
  }

  async #run(mode: SyncMode, signal: AbortSignalLike): Promise<SyncLog> {
    const moved = (): void => {
      const run = this.#active;
      if (run !== null) for (const tell of this.#progress) this.#tell(tell, run);
      this.#moved();
    };
    try {
      const finished = await driveRun({
        ports: this.#ports,
        links: this.links,
        pageSize: this.#pageSize,
        speed: this.#speed,
        mode,
        signal,
        moved,
        started: (run) => {
          this.#active = run;
        },
      });
      this.#last = finished;
      return finished.log;
    } finally {
      this.#active = null;
      this.#running = null;
      this.#cancel = null;
      if (this.#live === null) await this.links.close().catch(() => undefined);
      this.#moved();
    }
  }

  #tell(listener: (progress: SyncProgress) => void, run: ActiveRun): void {
    try {
      listener(progressOfRun(run));
    } catch (cause) {
      this.#ports.logger?.log('error', 'onProgress threw', { reason: String(cause) });
    }
  }

  connect({ periodMs = livePeriodMs }: ConnectOptions = {}): void {
    if (this.#live !== null) return;
    if (!Number.isSafeInteger(periodMs) || periodMs < 1)
      throw new TidemarkError('invalid-option', 'periodMs is a positive integer', {});
    const live = abortSource();
    this.#live = live;
    this.#loop = this.#keepLive(live.signal, periodMs).catch((cause: unknown) => {
      // A bug: the replica stays usable, but it is not live any more.
      this.#ports.logger?.log('error', 'the live loop stopped', { reason: String(cause) });
      if (this.#live === live) this.#live = null;
      this.#moved();
    });
  }

  async #keepLive(signal: AbortSignalLike, periodMs: number): Promise<void> {
    const { timer, entropy } = this.#ports;
    let failures = 0;
    const isOver = (): boolean => signal.aborted;
    while (!isOver()) {
      const failed = !(await this.#liveRound(signal, periodMs));
      failures = failed ? failures + 1 : 0;
      if (isOver()) return;
      if (failed) {
        const nap = abortSource(signal);
        this.#nap = nap;
        await timer.sleep(backOffMs(failures, livePauseMsMax, entropy), nap.signal);
        nap.release();
        this.#nap = null;
      } else if (this.#edited) await timer.sleep(editDebounceMs, signal);
    }
  }

  /** One run and the wait for the next reason to run; false when the run failed. */
  async #liveRound(signal: AbortSignalLike, periodMs: number): Promise<boolean> {
    this.#connectError = null;
    let link: Link;
    try {
      await this.links.open(signal);
      // A process that slept meanwhile finds that it is lost again.
      link = this.links.link();
    } catch (cause) {
      if (!(cause instanceof TidemarkError)) throw cause;
      this.#connectError = cause;
      this.#moved();
      return false;
    }
    this.#edited = false;
    const wake = abortSource(signal);
    this.#wake = wake;
    // The wait begins before the run, so that a tick in between starts the next run.
    const tick = link.waitForTick(periodMs, wake.signal).catch(() => false);
    try {
      const { result } = await this.sync({ mode: 'background' });
      if (result === 'failed' || result === 'blocked') return false;
      if (this.#edited) wake.abort();
      await tick;
      return true;
    } finally {
      this.#wake = null;
      wake.abort();
      wake.release();
      await tick;
    }
  }

  async disconnect(): Promise<void> {
    const live = this.#live;
    this.#live = null;
    live?.abort();
    this.#cancel?.abort();
    await this.#running?.catch(() => undefined);
    await this.#loop;
    await this.links.close().catch(() => undefined);
    this.#moved();
  }
}

/** Builds the runner of a replica; `moved` is called whenever the status may have changed. */
export const syncRunner = (ports: RunPorts, moved: () => void): SyncRunner => {
  const runner = new Runner(ports, moved);
  return {
    sync: (options) => runner.sync(options),
    connect: (options) => runner.connect(options),
    disconnect: () => runner.disconnect(),
    active: () => runner.active(),
    last: () => runner.last(),
    live: () => runner.live(),
    connectError: () => runner.connectError(),
    forget: () => runner.forget(),
    links: runner.links,
  };
};
