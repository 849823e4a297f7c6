import type { AbortSignalLike } from '@tidemark/ports';

/**
 * Iterates over the newest value of something: the current one at once, then one after each change. A
 * slow consumer skips what it missed, so nothing piles up.
 */
export const newestValues = <A>(
  read: () => Promise<A> | A,
  subscribe: (changed: () => void) => () => void,
  signal?: AbortSignalLike,
): AsyncIterable<A> => ({
  [Symbol.asyncIterator]: () => {
    let dirty = true;
    let over = signal?.aborted === true;
    let wake: (() => void) | null = null;
    const stir = (): void => {
      const waiting = wake;
      wake = null;
      waiting?.();
    };
    const unsubscribe = subscribe(() => {
      dirty = true;
      stir();
    });
    const end = (): void => {
      over = true;
      unsubscribe();
      signal?.removeEventListener('abort', end);
      stir();
    };
    signal?.addEventListener('abort', end);
    if (over) end();
    return {
      next: async (): Promise<IteratorResult<A, undefined>> => {
        while (!dirty && !over)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        if (over) return { done: true, value: undefined };
        dirty = false;
        return { done: false, value: await read() };
      },
      return: () => {
        end();
        return Promise.resolve({ done: true as const, value: undefined });
      },
    };
  },
});
