import type { AbortSignalLike } from './effects.js';

/** Endpoints that a replica may call. Message bodies are defined by `protocol`. */
export type Endpoint =
  'resume' | 'grant' | 'customization' | 'pull' | 'compare' | 'sync-log' | 'enroll';

/** Who is calling, as the transport knows it. Embedded, it is what the replica said of itself. */
export interface Caller {
  readonly tenant: string;
  readonly replica: string;
  readonly user: string;
  /** Device whose credential the transport saw; absent where it sees none. */
  readonly device?: string;
}

/**
 * Link of a replica to the server. Calls reject with TidemarkError `unreachable`, `timeout` or `aborted`,
 * or with the error that the server answered.
 */
export interface Link {
  /** Stores an envelope in the input. Resolves when it is durable there; merged it is only by receipt. */
  readonly publish: (envelope: Uint8Array, signal?: AbortSignalLike) => Promise<void>;
  readonly request: (
    endpoint: Endpoint,
    body: Uint8Array,
    signal?: AbortSignalLike,
  ) => Promise<Uint8Array>;
  /**
   * Takes back the bytes of an answer that nobody reads any more: a later answer may be written there. Whoever
   * does not call it loses nothing but memory that is collected.
   */
  readonly release?: (answer: Uint8Array) => void;
  /** Resolves with true when the server advanced after the call, with false when the time (ms) passed. */
  readonly waitForTick: (ms: number, signal?: AbortSignalLike) => Promise<boolean>;
  /** Calls back once when the link is lost, by either side. */
  readonly onLost: (callback: () => void) => void;
  readonly close: () => Promise<void>;
}

/** Transport opens links. */
export interface Transport {
  readonly open: (caller: Caller, signal?: AbortSignalLike) => Promise<Link>;
}

/** Service is the server's side of a transport. */
export interface Service {
  readonly publish: (caller: Caller, envelope: Uint8Array) => Promise<void>;
  /** Answers, or rejects with a TidemarkError that reaches the caller with its code. */
  readonly answer: (caller: Caller, endpoint: Endpoint, body: Uint8Array) => Promise<Uint8Array>;
  /** Registers for ticks: called after each applied window. Returns the way to stop. */
  readonly onTick: (callback: () => void) => () => void;
}
