import type { AbortSignalLike } from '@tidemark/ports';

/** Source of an abort signal: the engine has no AbortController of its own. */
export interface AbortSource {
  readonly signal: AbortSignalLike;
  /** Aborts the signal; later calls do nothing. */
  readonly abort: () => void;
}

/** Builds a source. With `parent`, its abort is passed on until `release` is called. */
export const abortSource = (
  parent?: AbortSignalLike,
): AbortSource & { readonly release: () => void } => {
  const listeners = new Set<() => void>();
  const state = { aborted: false };
  const abort = (): void => {
    if (state.aborted) return;
    state.aborted = true;
    const called = [...listeners];
    listeners.clear();
    for (const listener of called) listener();
  };
  if (parent !== undefined) {
    if (parent.aborted) abort();
    else parent.addEventListener('abort', abort);
  }
  return {
    signal: {
      get aborted() {
        return state.aborted;
      },
      addEventListener: (_type, listener) => void listeners.add(listener),
      removeEventListener: (_type, listener) => void listeners.delete(listener),
    },
    abort,
    release: () => parent?.removeEventListener('abort', abort),
  };
};
