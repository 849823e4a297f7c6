/** Runs work one after another, in the order of the calls; a failure does not stop what waits behind. */
export class TurnQueue {
  #last: Promise<unknown> = Promise.resolve();

  run<A>(work: () => Promise<A>): Promise<A> {
    const next = this.#last.then(work);
    this.#last = next.catch(() => undefined);
    return next;
  }
}
