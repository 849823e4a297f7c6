import { TidemarkError, toHex, type ErrorCode, type SyncLog, type SyncMode } from '@tidemark/model';
import {
  advanceRun,
  encodeMessage,
  endPhases,
  startRun,
  type SyncPhase,
  type SyncRunCommand,
  type SyncRunEvent,
  type SyncRunState,
} from '@tidemark/protocol';
import type { AbortSignalLike } from '@tidemark/ports';
import { agreeOnLog } from './agree-on-log.js';
import { awaitReceipt } from './await-receipt.js';
import { backOffMs, retryPauseMsMax } from './back-off.js';
import { cleanUp } from './clean-up.js';
import { customize, type WaitingCustomization } from './customize.js';
import { pullPage } from './download.js';
import type { LinkHolder } from './link-holder.js';
import type { LinkSpeed } from './link-speed.js';
import { PagesAhead } from './page-ahead.js';
import type { PageSize } from './page-size.js';
import { repair } from './repair.js';
import { noCounters, tableLogs, type RunContext, type RunPorts } from './run-context.js';
import { keepSyncLog } from './sync-log-list.js';
import { upload } from './upload.js';

/** Random bytes of the id of a run. */
const runIdBytes = 8;

/** A run under way: what the status shows of it. */
export interface ActiveRun {
  readonly id: string;
  readonly state: () => SyncRunState;
  readonly context: RunContext;
  /** Log for a caller that left the run to others. */
  readonly cancelledLog: () => SyncLog;
}

/** What a run left behind. */
export interface FinishedRun {
  readonly log: SyncLog;
  readonly error: { readonly code: ErrorCode; readonly message: string } | null;
  readonly waiting: WaitingCustomization | null;
}

/** What a run is started with. */
export interface RunOptions {
  readonly ports: RunPorts;
  readonly links: LinkHolder;
  readonly pageSize: PageSize;
  readonly speed: LinkSpeed;
  readonly mode: SyncMode;
  readonly signal: AbortSignalLike;
  readonly moved: () => void;
  readonly started: (run: ActiveRun) => void;
}

class SyncRunDriver {
  readonly #context: RunContext;
  readonly #id: string;
  readonly #startedOn: number;
  readonly #phases = new Map<SyncPhase, number>();
  #state: SyncRunState;
  #phaseBegan: number;
  #error: { readonly code: ErrorCode; readonly message: string } | null = null;
  #waiting: WaitingCustomization | null = null;
  #log: SyncLog | null = null;

  constructor({ ports, links, pageSize, speed, mode, signal, moved }: RunOptions) {
    this.#context = {
      ports,
      links,
      pageSize,
      speed,
      ahead: new PagesAhead(),
      mode,
      signal,
      moved,
      counters: noCounters(),
      target: ports.local.logEnd().lastIndex,
      receipt: null,
      offsetMs: 0,
      customizationVersion: 0,
    };
    this.#id = toHex(ports.entropy.bytes(runIdBytes));
    this.#startedOn = ports.clock.nowMs();
    this.#phaseBegan = this.#startedOn;
    this.#state = startRun(mode).state;
  }

  active(): ActiveRun {
    return {
      id: this.#id,
      state: () => this.#state,
      context: this.#context,
      cancelledLog: () => ({ ...this.#buildLog(), result: 'cancelled', error: 'aborted' }),
    };
  }

  async run(): Promise<FinishedRun> {
    let command = startRun(this.#context.mode).command;
    while (command !== null) {
      const event = await this.#execute(command);
      const step = advanceRun(this.#state, event);
      this.#enter(step.state);
      command = step.command;
    }
    if (!endPhases.includes(this.#state.phase) || this.#log === null)
      throw new Error('a run stopped without an end');
    return { log: this.#log, error: this.#error, waiting: this.#waiting };
  }

  #enter(state: SyncRunState): void {
    const now = this.#context.ports.clock.nowMs();
    const before = this.#state.phase;
    const spent = Math.max(0, now - this.#phaseBegan);
    this.#phases.set(before, (this.#phases.get(before) ?? 0) + spent);
    this.#phaseBegan = now;
    this.#state = state;
    if (before !== state.phase) this.#context.moved();
  }

  /** Carries a command out; its end, good or bad, is one event. Bugs are thrown. */
  async #execute(command: SyncRunCommand): Promise<SyncRunEvent> {
    const { signal } = this.#context;
    if (signal.aborted && command.type !== 'log') return { type: 'abort' };
    try {
      return await this.#carryOut(command);
    } catch (cause) {
      if (!(cause instanceof TidemarkError)) throw cause;
      if (signal.aborted && command.type !== 'log') return { type: 'abort' };
      const { code, recovery, message } = cause;
      if (command.type !== 'log') this.#error = { code, message };
      if (code === 'unreachable' || code === 'timeout')
        await this.#context.links.close().catch(() => undefined);
      this.#context.ports.logger?.log('warn', 'a step of a sync run failed', {
        run: this.#id,
        step: command.type,
        code,
      });
      return { type: 'failure', code, recovery };
    }
  }

  async #carryOut(command: SyncRunCommand): Promise<SyncRunEvent> {
    const context = this.#context;
    const { timer, entropy } = context.ports;
    switch (command.type) {
      case 'open-link':
        await context.links.open(context.signal);
        return { type: 'linked' };
      case 'agree-on-log':
        await agreeOnLog(context);
        return { type: 'agreed' };
      case 'upload':
        return { type: 'uploaded', operations: await upload(context) };
      case 'await-receipt':
        return { type: 'receipt', complete: await awaitReceipt(context, command.timeoutMs) };
      case 'customize':
        this.#waiting = await customize(context);
        return { type: 'customized', waits: this.#waiting !== null };
      case 'pull': {
        const outcome = await pullPage(context);
        return { type: outcome };
      }
      case 'repair':
        await repair(context);
        return { type: 'repaired' };
      case 'clean-up':
        await cleanUp(context);
        return { type: 'cleaned' };
      case 'log':
        await this.#writeLog();
        return { type: 'logged' };
      case 'sleep':
        await timer.sleep(backOffMs(command.attempt, retryPauseMsMax, entropy), context.signal);
        return { type: 'slept' };
    }
  }

  #buildLog(): SyncLog {
    const { ports, counters, mode } = this.#context;
    const { local, clock } = ports;
    const meta = local.meta();
    const { pending, parked } = local.pendingCount();
    const result = this.#state.result ?? 'failed';
    return {
      run: this.#id,
      replica: meta.replica,
      user: meta.user,
      mode,
      startedOn: this.#startedOn,
      endedOn: Math.max(this.#startedOn, clock.nowMs()),
      // Parked operations are decided, but they wait for a person: only the status speaks of synced.
      result,
      error: this.#state.error,
      uploadedOperations: counters.uploadedOperations,
      uploadedBytes: counters.uploadedBytes,
      downloadedBytes: counters.downloadedBytes,
      pages: counters.pages,
      passes: counters.passes,
      serverReads: counters.serverReads,
      tables: tableLogs(
        counters,
        (table) => local.schema().tablesById.get(table)?.name ?? String(table),
      ),
      pendingOperations: pending,
      parked,
      phases: Object.fromEntries(this.#phases),
    };
  }

  /** Keeps the log here; sends it if a link is open. A failure to send changes nothing. */
  async #writeLog(): Promise<void> {
    const { links, ports, signal } = this.#context;
    if (this.#state.error === null) this.#error = null;
    const log = this.#buildLog();
    this.#log = log;
    await keepSyncLog(ports.local, log);
    if (links.state() !== 'online' || signal.aborted || links.identity.needsAuth()) return;
    await links.call('sync-log', encodeMessage('SyncLog', log), signal);
  }
}

/** Drives one run from its start to its end. Resolves also when the run failed; bugs reject. */
export const driveRun = (options: RunOptions): Promise<FinishedRun> => {
  const driver = new SyncRunDriver(options);
  options.started(driver.active());
  return driver.run();
};
