/** AbortSignalLike is the part of AbortSignal that the engines use. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Clock tells wall time in milliseconds since 1970. It may jump; nobody relies on it to go forward. */
export interface Clock {
  readonly nowMs: () => number;
}

/** Entropy gives random bytes that cannot be guessed. */
export interface Entropy {
  readonly bytes: (count: number) => Uint8Array;
}

/** Timer sleeps. The promise resolves after `ms`, or at once when the signal aborts; it never rejects. */
export interface Timer {
  readonly sleep: (ms: number, signal?: AbortSignalLike) => Promise<void>;
}

/**
 * Ed25519 signs and verifies synchronously. Secret and public keys have 32 bytes, signatures 64. Nobody writes
 * into the bytes of a secret while it is used.
 */
export interface Ed25519 {
  readonly publicKey: (secret: Uint8Array) => Uint8Array;
  readonly sign: (secret: Uint8Array, bytes: Uint8Array) => Uint8Array;
  /** False also for bytes that are no key or no signature. A pure function: merging depends on it. */
  readonly verify: (publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array) => boolean;
}

/** Crypto hashes and authenticates synchronously, 32 bytes each, and signs. */
export interface Crypto {
  readonly sha256: (bytes: Uint8Array) => Uint8Array;
  readonly hmacSha256: (key: Uint8Array, bytes: Uint8Array) => Uint8Array;
  readonly ed25519: Ed25519;
}

/** Logger receives structured lines: ids, counts and durations, never field values. */
export interface Logger {
  readonly log: (
    level: 'debug' | 'info' | 'warn' | 'error',
    message: string,
    fields: Readonly<Record<string, string | number | boolean>>,
  ) => void;
}
