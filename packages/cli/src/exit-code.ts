/** Exit codes of every command. They never change meaning. */
export const exitCodes = {
  /** Done. */
  ok: 0,
  /** Failed: the message says the code of the error and what to do. */
  failed: 1,
  /** The command line or the configuration is wrong; nothing was done. */
  usage: 2,
  /** Done in part: bad rows were left out, a run left operations pending, `doctor` has warnings. */
  partly: 3,
  /** `serve` lost its NATS for good: the nats-server that it started ended, or its connection did. Start it again. */
  lost: 4,
  /** Interrupted; `import` and `export` go on where they stopped when they are called again. */
  interrupted: 130,
} as const;

/** One of `exitCodes`. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
