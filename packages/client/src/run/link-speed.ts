/** Round trip from which on a link counts as slow, ms. */
export const slowRoundTripMs = 40;
/** Bytes per second up to which a link counts as slow: 64 Mbit/s. */
export const slowLinkBytes = 8_000_000;
/** Shortest answer that says something of the bytes that a link carries, in bytes. */
export const tellingBytesMin = 4 * 1024;
/** Pages that may be under way at once. */
export const pagesUnderWayMax = 8;
/** Time that the pages under way may keep a link busy, ms: one that is lost costs no more. */
export const underWayMs = 2_000;
/** Share of what was measured before that counts beside the next answer. */
const memoryShare = 0.75;

/** What a link carries, as the answers show that came over it. */
export class LinkSpeed {
  #roundTripMs: number | null = null;
  #bytes = 0;
  #answers = 0;
  #ms = 0;
  #lastMs = 0;

  /** Another link may be over another network. */
  opened(): void {
    this.#roundTripMs = null;
    this.#bytes = 0;
    this.#answers = 0;
    this.#ms = 0;
    this.#lastMs = 0;
  }

  /** A call was answered by so many bytes. Clocks that were set meanwhile say nothing. */
  answered(bytes: number, begunMs: number, nowMs: number): void {
    const ms = nowMs - begunMs;
    if (ms < 0) return;
    this.#roundTripMs = Math.min(this.#roundTripMs ?? ms, ms);
    if (bytes < tellingBytesMin) return;
    // Of answers that wait for each other each one is told for its own part of the time.
    const busyMs = Math.min(ms, Math.max(0, nowMs - this.#lastMs));
    this.#lastMs = nowMs;
    this.#bytes = this.#bytes * memoryShare + bytes;
    this.#answers = this.#answers * memoryShare + 1;
    this.#ms = this.#ms * memoryShare + busyMs;
  }

  /** The way, and not the work on both sides, decides how long a download takes. */
  isSlow(): boolean {
    if (this.#roundTripMs !== null && this.#roundTripMs >= slowRoundTripMs) return true;
    return this.#answers > 0 && this.#bytes * 1_000 < slowLinkBytes * this.#ms;
  }

  /** Pages to ask for at once: as many as the link carries in `underWayMs`, at least one. */
  pagesUnderWay(): number {
    if (this.#answers === 0) return 1;
    const pages = (underWayMs * this.#answers) / Math.max(1, this.#ms);
    return Math.max(1, Math.min(pagesUnderWayMax, Math.floor(pages)));
  }
}
