/** What is served only while its server can answer: elsewhere calls go to another server meanwhile. */
export interface SwitchedService {
  /** Resolves when it is served, or no longer, as was wanted. */
  readonly set: (isReady: boolean) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Opens what serves, closes it while the server cannot answer, and opens it again; one step at a time. */
export const switchService = (
  open: () => Promise<{ readonly close: () => Promise<void> }>,
): SwitchedService => {
  let isWanted = false;
  let isClosed = false;
  let served: { readonly close: () => Promise<void> } | undefined;
  let running: Promise<void> = Promise.resolve();
  const step = async (): Promise<void> => {
    const isNeeded = isWanted && !isClosed;
    if (isNeeded && served === undefined) served = await open();
    if (!isNeeded && served !== undefined) {
      const ending = served;
      served = undefined;
      await ending.close();
    }
  };
  const run = (): Promise<void> => {
    // A connection that is closing fails the step; the next change, or the close, tries again.
    running = running.then(step).catch(() => undefined);
    return running;
  };
  return {
    set: (isReady) => {
      isWanted = isReady;
      return run();
    },
    close: () => {
      isClosed = true;
      return run();
    },
  };
};
