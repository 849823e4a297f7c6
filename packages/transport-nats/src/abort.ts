import { TidemarkError } from '@tidemark/model';
import type { AbortSignalLike } from '@tidemark/ports';

/** Failure of a call that was cancelled. */
export const aborted = (): TidemarkError => new TidemarkError('aborted', 'the call was cancelled');

/** Tells whether a signal has fired. */
export const isAborted = (signal: AbortSignalLike | undefined): boolean => signal?.aborted === true;

/** Smallest AbortSignalLike that its owner can fire. */
export class Abort implements AbortSignalLike {
  aborted = false;
  readonly #listeners = new Set<() => void>();
  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.add(listener);
  }
  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.delete(listener);
  }
  abort(): void {
    if (this.aborted) return;
    this.aborted = true;
    for (const listener of [...this.#listeners]) listener();
    this.#listeners.clear();
  }
}

/** Waits for a promise, but rejects with `aborted` as soon as the signal fires. */
export const orAborted = <A>(work: Promise<A>, signal: AbortSignalLike | undefined): Promise<A> => {
  if (signal === undefined) return work;
  if (signal.aborted) {
    work.catch(() => undefined);
    return Promise.reject(aborted());
  }
  return new Promise((resolve, reject) => {
    const leave = (): void => signal.removeEventListener('abort', onAbort);
    const onAbort = (): void => {
      leave();
      reject(aborted());
    };
    signal.addEventListener('abort', onAbort);
    work.then(
      (value) => {
        leave();
        resolve(value);
      },
      (cause: unknown) => {
        leave();
        reject(cause instanceof Error ? cause : new Error(String(cause)));
      },
    );
  });
};
