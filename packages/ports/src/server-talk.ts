/**
 * Words between the servers of one tenant, which nobody else can say or hear. A word may be lost, come
 * late or twice: nothing that must not be lost depends on one. At most 64 KB each.
 */
export interface ServerTalk {
  /** Says a word to the other servers; does nothing while there is no connection. */
  readonly say: (word: Uint8Array) => void;
  /** Calls back for each word, also for those that were said here. Returns the way to stop. */
  readonly onWord: (callback: (word: Uint8Array) => void) => () => void;
}
