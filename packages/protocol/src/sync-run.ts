import type { ErrorCode, Recovery, SyncMode, SyncResult } from '@tidemark/model';

/**
 * Where a sync run is. The order of a good run:
 *
 * connecting -> authenticating -> uploading -> awaiting-receipt -> customizing -> downloading
 *   -> cleaning-up -> logging -> settled
 *
 * `downloading` may turn to `repairing` and back. A failure that may pass goes to `backing-off` and back
 * to `connecting`; others, and cancelling, go through `logging` to `blocked`, `failed` or `cancelled`.
 */
export type SyncPhase =
  | 'connecting'
  | 'authenticating'
  | 'uploading'
  | 'awaiting-receipt'
  | 'customizing'
  | 'downloading'
  | 'repairing'
  | 'cleaning-up'
  | 'logging'
  | 'backing-off'
  | 'settled'
  | 'blocked'
  | 'failed'
  | 'cancelled';

/** Phases in which a run has ended. */
export const endPhases: readonly SyncPhase[] = ['settled', 'blocked', 'failed', 'cancelled'];

/** State of a run. `result` and `error` are set once the end is known. */
export interface SyncRunState {
  readonly phase: SyncPhase;
  readonly mode: SyncMode;
  /** Failed attempts so far; a download that moved forward sets it back to 0. */
  readonly attempt: number;
  /** Repairs by difference that this run has begun; never set back. */
  readonly repairs: number;
  /** True while operations that were uploaded still wait for their receipt. */
  readonly unconfirmed: boolean;
  /** True when a customization waits that this run may not apply. */
  readonly customizationWaits: boolean;
  readonly result: SyncResult | null;
  readonly error: ErrorCode | null;
}

/** What happened. The driver reports each command's end as one of these. */
export type SyncRunEvent =
  | { readonly type: 'linked' }
  | { readonly type: 'agreed' }
  | { readonly type: 'uploaded'; readonly operations: number }
  | { readonly type: 'receipt'; readonly complete: boolean }
  | { readonly type: 'customized'; readonly waits: boolean }
  | { readonly type: 'page' }
  | { readonly type: 'rehydrate' }
  | { readonly type: 'downloaded' }
  | { readonly type: 'repaired' }
  | { readonly type: 'cleaned' }
  | { readonly type: 'logged' }
  | { readonly type: 'slept' }
  | { readonly type: 'failure'; readonly code: ErrorCode; readonly recovery: Recovery }
  | { readonly type: 'abort' };

/** What the driver is to do next. Commands are data; each ends in one event. */
export type SyncRunCommand =
  | { readonly type: 'open-link' }
  | { readonly type: 'agree-on-log' }
  | { readonly type: 'upload' }
  | { readonly type: 'await-receipt'; readonly timeoutMs: number }
  | { readonly type: 'customize' }
  | { readonly type: 'pull' }
  | { readonly type: 'repair' }
  | { readonly type: 'clean-up' }
  | { readonly type: 'log' }
  | { readonly type: 'sleep'; readonly attempt: number };

/** Next state and the command that belongs to it; null when the run has ended or goes on unchanged. */
export interface SyncRunStep {
  readonly state: SyncRunState;
  readonly command: SyncRunCommand | null;
}

/** Attempts after which a run fails. */
export const runAttemptsMax = 5;
/** Repairs by difference after which a run fails: a server that asks again and again is no help. */
export const runRepairsMax = 3;
/** Longest wait for a receipt while nothing is merged, ms; a background run does not wait. */
export const receiptWaitMs = 2_000;

/** Starts a run. */
export const startRun = (mode: SyncMode): SyncRunStep => ({
  state: {
    phase: 'connecting',
    mode,
    attempt: 0,
    repairs: 0,
    unconfirmed: false,
    customizationWaits: false,
    result: null,
    error: null,
  },
  command: { type: 'open-link' },
});

const go = (
  state: SyncRunState,
  phase: SyncPhase,
  command: SyncRunCommand | null,
  change: Partial<SyncRunState> = {},
): SyncRunStep => ({ state: { ...state, ...change, phase }, command });

const stay = (state: SyncRunState): SyncRunStep => ({ state, command: null });

const end = (state: SyncRunState, result: SyncResult, error: ErrorCode | null): SyncRunStep =>
  go(state, 'logging', { type: 'log' }, { result, error });

const repair = (state: SyncRunState, code: ErrorCode): SyncRunStep =>
  state.repairs < runRepairsMax
    ? go(state, 'repairing', { type: 'repair' }, { repairs: state.repairs + 1 })
    : end(state, 'failed', code);

const fail = (state: SyncRunState, code: ErrorCode, recovery: Recovery): SyncRunStep => {
  switch (recovery) {
    case 'retry-later': {
      const attempt = state.attempt + 1;
      if (attempt >= runAttemptsMax) return end({ ...state, attempt }, 'failed', code);
      return go(state, 'backing-off', { type: 'sleep', attempt }, { attempt });
    }
    case 'rehydrate':
      // Only a download can be repaired by difference.
      return state.phase === 'downloading' ? repair(state, code) : end(state, 'failed', code);
    case 'upgrade':
    case 'ask-user':
    case 'ask-operator':
      return end(state, 'blocked', code);
    case 'rebase':
    case 'split':
    case 'quarantine':
      return end(state, 'failed', code);
  }
};

const finalPhase = (result: SyncResult | null): SyncPhase => {
  switch (result) {
    case 'blocked':
    case 'failed':
    case 'cancelled':
      return result;
    case 'synced':
    case 'pending':
    case null:
      return 'settled';
  }
};

const onward = (state: SyncRunState, event: SyncRunEvent): SyncRunStep => {
  switch (state.phase) {
    case 'connecting':
      return event.type === 'linked'
        ? go(state, 'authenticating', { type: 'agree-on-log' })
        : stay(state);
    case 'authenticating':
      return event.type === 'agreed' ? go(state, 'uploading', { type: 'upload' }) : stay(state);
    case 'uploading':
      if (event.type !== 'uploaded') return stay(state);
      return go(
        state,
        'awaiting-receipt',
        { type: 'await-receipt', timeoutMs: state.mode === 'foreground' ? receiptWaitMs : 0 },
        { unconfirmed: event.operations > 0 },
      );
    case 'awaiting-receipt':
      return event.type === 'receipt'
        ? go(state, 'customizing', { type: 'customize' }, { unconfirmed: !event.complete })
        : stay(state);
    case 'customizing':
      return event.type === 'customized'
        ? go(state, 'downloading', { type: 'pull' }, { customizationWaits: event.waits })
        : stay(state);
    case 'downloading':
      if (event.type === 'page') return go(state, 'downloading', { type: 'pull' }, { attempt: 0 });
      if (event.type === 'rehydrate') return repair(state, 'invalid-cursor');
      return event.type === 'downloaded'
        ? go(state, 'cleaning-up', { type: 'clean-up' })
        : stay(state);
    case 'repairing':
      return event.type === 'repaired' ? go(state, 'downloading', { type: 'pull' }) : stay(state);
    case 'cleaning-up':
      return event.type === 'cleaned'
        ? end(state, state.unconfirmed ? 'pending' : 'synced', null)
        : stay(state);
    case 'logging':
      return event.type === 'logged' ? go(state, finalPhase(state.result), null) : stay(state);
    case 'backing-off':
      return event.type === 'slept' ? go(state, 'connecting', { type: 'open-link' }) : stay(state);
    case 'settled':
    case 'blocked':
    case 'failed':
    case 'cancelled':
      return stay(state);
  }
};

/**
 * Advances a run: a pure function of state and event. Events that do not belong to the phase change
 * nothing. A failure while logging does not change the result. Every run ends: retries are bounded by
 * `runAttemptsMax` without progress, repairs by `runRepairsMax`, and pages by the server's guarantee that every pull ends.
 */
export const advanceRun = (state: SyncRunState, event: SyncRunEvent): SyncRunStep => {
  if (endPhases.includes(state.phase)) return stay(state);
  if (state.phase === 'logging') {
    const over = event.type === 'logged' || event.type === 'failure';
    return over ? onward(state, { type: 'logged' }) : stay(state);
  }
  if (event.type === 'abort') return end(state, 'cancelled', 'aborted');
  if (event.type === 'failure') return fail(state, event.code, event.recovery);
  return onward(state, event);
};
