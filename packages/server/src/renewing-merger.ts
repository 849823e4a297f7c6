import { TidemarkError } from '@tidemark/model';
import type { Merger, ServerEvent } from '@tidemark/merger';
import type { Clock, Service, Timer } from '@tidemark/ports';

/** First pause before a merger whose opening failed is opened again, ms; each further one doubles. */
export const renewPauseMsFirst = 500;
/** Longest pause before a merger is opened again, ms. */
export const renewPauseMsMax = 30_000;

/** Time after which a merger that was opened again counts as settled, ms: its next renewal waits no longer. */
export const renewSettledMs = 60_000;

/** Longest time that an opening waits for a merger that finds its place anew, ms. */
export const settleMsMax = 60_000;
const settleEveryMs = 100;

/** A merger that is opened anew when the input under it is no longer the one that it folded. */
export interface RenewingMerger {
  /** Merger in force. Throws `unreachable` while a new one opens. */
  readonly current: () => Merger;
  /**
   * Resolves when everything is applied that the input holds now, also when the merger is opened anew
   * meanwhile. Rejects with the last failure after `settleMsMax`.
   */
  readonly settle: () => Promise<void>;
  /** Service that outlives every single merger. */
  readonly service: Service;
  readonly close: () => Promise<void>;
}

/** What a renewing merger works with. */
export interface RenewingMergerOptions {
  /**
   * Opens a merger on the stores, which stay open. Its events go to `onEvent`; `isReopened` tells that one
   * was open on them before.
   */
  readonly open: (onEvent: (event: ServerEvent) => void, isReopened: boolean) => Promise<Merger>;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly onEvent: (event: ServerEvent) => void;
  /** Told when the merger begins and ceases to answer. */
  readonly onReady: (isReady: boolean) => void;
}

/** Failures of the fold after which opening the merger again finds out how to go on. */
const renewedAfter: readonly string[] = ['input-mismatch', 'state-differs'];

const opening = (): TidemarkError =>
  new TidemarkError('unreachable', 'the server is finding its place in the input again');

class Renewal {
  readonly #options: RenewingMergerOptions;
  readonly #ticks = new Set<() => void>();
  #merger: Merger | undefined;
  #isClosed = false;
  #isOut = false;
  #renewedAtMs = 0;
  #pauseMs = renewPauseMsFirst;
  #renewing: Promise<void> | undefined;
  /** The merger opened last has met what only opening it again mends. */
  #isStale = false;
  #openings = 0;
  #wasOpen = false;
  #stopTicks: () => void = () => undefined;

  constructor(options: RenewingMergerOptions) {
    this.#options = options;
  }

  readonly service: Service = {
    publish: (caller, envelope) => this.#service().publish(caller, envelope),
    answer: async (caller, endpoint, body) => this.#service().answer(caller, endpoint, body),
    onTick: (callback) => {
      this.#ticks.add(callback);
      return () => this.#ticks.delete(callback);
    },
  };

  readonly current = (): Merger => {
    if (this.#merger === undefined) throw opening();
    return this.#merger;
  };

  async open(): Promise<void> {
    this.#openings += 1;
    const opened = this.#openings;
    this.#isStale = false;
    let isOpen = false;
    const merger = await this.#options.open((event) => {
      this.#options.onEvent(event);
      if (event.type !== 'fold-failed' || !event.halted) return;
      // What it holds may be wrong, and nobody knows on which server: no one answers any more.
      if (event.code === 'fold-diverged') this.#takeOut();
      if (!renewedAfter.includes(event.code) || opened !== this.#openings) return;
      this.#isStale = true;
      if (isOpen) this.#renew();
    }, this.#wasOpen);
    isOpen = true;
    this.#wasOpen = true;
    this.#merger = merger;
    this.#stopTicks = merger.service.onTick(() => {
      for (const tick of [...this.#ticks]) tick();
    });
    if (this.#isStale) this.#renew();
    else if (!this.#isOut) this.#options.onReady(true);
  }

  async settle(): Promise<void> {
    const { timer } = this.#options;
    for (let waited = 0; ; waited += settleEveryMs) {
      try {
        await this.current().settle();
        return;
      } catch (cause) {
        const code = cause instanceof TidemarkError ? cause.code : '';
        const mayPass = code === 'unreachable' || renewedAfter.includes(code);
        if (!mayPass || this.#isOut || waited >= settleMsMax) throw cause;
        await timer.sleep(settleEveryMs);
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#renewing;
    const merger = this.#leave();
    await merger?.close();
  }

  #service(): Service {
    if (this.#isOut)
      throw new TidemarkError(
        'unreachable',
        'the server has left the service: its state is in doubt',
      );
    return this.current().service;
  }

  #takeOut(): void {
    this.#isOut = true;
    this.#options.onReady(false);
  }

  #leave(): Merger | undefined {
    const merger = this.#merger;
    if (merger !== undefined) this.#options.onReady(false);
    this.#merger = undefined;
    this.#stopTicks();
    this.#stopTicks = () => undefined;
    return merger;
  }

  #renew(): void {
    this.#renewing ??= this.#reopenWhileStale();
  }

  /** A merger that failed while it was being opened again is opened once more by the same renewal. */
  async #reopenWhileStale(): Promise<void> {
    try {
      while (this.#isStale && !this.#isClosed) await this.#reopen();
    } finally {
      this.#renewing = undefined;
    }
  }

  async #reopen(): Promise<void> {
    const { clock, onEvent } = this.#options;
    const isSettled = Math.abs(clock.nowMs() - this.#renewedAtMs) > renewSettledMs;
    await this.#leave()?.close();
    if (isSettled) this.#pauseMs = renewPauseMsFirst;
    // An opening that only fails again must not spin.
    else await this.#pause();
    while (!this.#isClosed) {
      this.#renewedAtMs = clock.nowMs();
      try {
        return await this.open();
      } catch (cause) {
        const code = cause instanceof TidemarkError ? cause.code : 'invariant-violation';
        onEvent({ type: 'background-failed', work: 'opening the merger again', code });
        await this.#pause();
      }
    }
  }

  async #pause(): Promise<void> {
    await this.#options.timer.sleep(this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, renewPauseMsMax);
  }
}

/** Opens a merger that is opened anew by itself. Rejects as the first opening does. */
export const openRenewingMerger = async (
  options: RenewingMergerOptions,
): Promise<RenewingMerger> => {
  const renewal = new Renewal(options);
  await renewal.open();
  return {
    current: renewal.current,
    service: renewal.service,
    settle: () => renewal.settle(),
    close: () => renewal.close(),
  };
};
