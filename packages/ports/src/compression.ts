/**
 * Compression packs and unpacks bytes by named codecs, beside the caller's thread: what it costs is not taken
 * from a fold or a user interface.
 */
export interface Compression {
  /** Names of the codecs that it knows, best first. */
  readonly codecs: readonly string[];
  /** Packs bytes by a codec that it knows; nobody writes into them until it has resolved. */
  readonly pack: (codec: string, bytes: Uint8Array) => Promise<Uint8Array>;
  /**
   * Unpacks bytes that must become exactly `length` bytes; nobody writes into them meanwhile. Undefined where
   * they would become more or fewer, or are not of the codec: no more than `length` bytes of them are made.
   */
  readonly unpack: (
    codec: string,
    bytes: Uint8Array,
    length: number,
  ) => Promise<Uint8Array | undefined>;
}
