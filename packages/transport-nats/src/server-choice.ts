/** Time for which calls go to a server that answers, after another one fell silent, ms. */
export const avoidSilentMs = 60_000;
/** Calls by which a device looks for a server that answers, after a silence: NATS chooses for each. */
export const probesMax = 6;
/** Longest wait for the first answer to them, ms. */
export const probeMsMax = 2_000;
/** Tenants whose servers a transport remembers. */
export const choicesMax = 64;

/**
 * Remembers which server of a tenant answered last. NATS hands each call to any server of the group, also to one
 * that is paused and looks alive to it: after a silence calls go to the one that answered, for a bounded time.
 */
export class ServerChoice {
  #answered: string | undefined;
  #silentAtMs: number | undefined;

  /** Server to call; undefined leaves it to NATS. */
  next(nowMs: number): string | undefined {
    if (this.#silentAtMs === undefined) return undefined;
    if (Math.abs(nowMs - this.#silentAtMs) < avoidSilentMs) return this.#answered;
    // The paused one may be back: it gets its share of calls again.
    this.#silentAtMs = undefined;
    return undefined;
  }

  /** A server answered; undefined for one that does not tell its name. */
  answered(server: string | undefined): void {
    this.#answered = server;
  }

  /** Nothing came. Which server is paused nobody knows: it may be the one that answered last. */
  silent(nowMs: number): void {
    this.#silentAtMs = nowMs;
    this.#answered = undefined;
  }

  /** Whether a server fell silent lately, and none has answered since. */
  get isOpen(): boolean {
    return this.#silentAtMs !== undefined && this.#answered === undefined;
  }

  /** A server is gone, or could not answer: the next call goes to any. */
  avoid(server: string | undefined): void {
    if (this.#answered === server) this.#answered = undefined;
  }
}

/** Choices of a transport by tenant, the newest ones. */
export class ServerChoices {
  readonly #choices = new Map<string, ServerChoice>();

  of(tenant: string): ServerChoice {
    const known = this.#choices.get(tenant);
    if (known !== undefined) return known;
    const choice = new ServerChoice();
    this.#choices.set(tenant, choice);
    for (const oldest of this.#choices.keys()) {
      if (this.#choices.size <= choicesMax) break;
      this.#choices.delete(oldest);
    }
    return choice;
  }
}
