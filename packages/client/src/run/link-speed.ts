/** Round trip from which on pages travel packed, ms. */
export const slowRoundTripMs = 40;
/** Bytes per second below which pages travel packed where round trips are shorter: 32 Mbit/s. */
export const slowLinkBytes = 4_000_000;
/** Shortest page that says something of the bytes that a link carries, in bytes. */
export const tellingBytesMin = 4 * 1024;
/** Of so many pages on a link with short round trips one travels as it is, to see whether that is slow still. */
export const packedPagesMax = 64;
/** Pages that may be under way at once. */
export const pagesUnderWayMax = 8;
/** Time that the pages under way may keep a link busy, ms: one that is lost costs no more. */
export const underWayMs = 2_000;
/** Share of what was measured before that counts beside the next page. */
const memoryShare = 0.75;

/** Amount per time, of which the newest counts most. */
class Rate {
  #amount = 0;
  #ms = 0;

  add(amount: number, ms: number): void {
    this.#amount = this.#amount * memoryShare + amount;
    this.#ms = this.#ms * memoryShare + ms;
  }

  get isKnown(): boolean {
    return this.#amount > 0;
  }

  perSecond(): number {
    return (this.#amount * 1_000) / Math.max(1, this.#ms);
  }
}

/** What a link carries, as the answers show that came over it. */
export class LinkSpeed {
  #roundTripMs: number | null = null;
  /** Full pages. */
  #pages = new Rate();
  /** Of pages that were not packed: packing takes time that is none of the link's. */
  #bytes = new Rate();
  #lastMs = 0;
  #packed = 0;

  /** Another link may be over another network. */
  opened(): void {
    this.#roundTripMs = null;
    this.#pages = new Rate();
    this.#bytes = new Rate();
    this.#lastMs = 0;
  }

  /** A call took so long. Clocks that were set back meanwhile say nothing. */
  answered(ms: number): void {
    if (ms >= 0) this.#roundTripMs = Math.min(this.#roundTripMs ?? ms, ms);
  }

  /** A page came that holds a share of the bytes that were asked for: the next ones may be full. */
  pageCame(bytes: number, begunMs: number, nowMs: number, isPacked: boolean, share = 1): void {
    if (nowMs < begunMs || bytes < tellingBytesMin) return;
    // Of pages that wait for each other each one is told for its own part of the time.
    const busyMs = Math.min(nowMs - begunMs, Math.max(0, nowMs - this.#lastMs));
    this.#lastMs = nowMs;
    this.#pages.add(Math.min(1, share), busyMs);
    if (!isPacked) this.#bytes.add(bytes, busyMs);
  }

  /** Tells whether the next page is worth packing: the way, and not the work, decides how long it takes. */
  isWorthPacking(): boolean {
    if (this.#roundTripMs !== null && this.#roundTripMs >= slowRoundTripMs) return true;
    if (!this.#bytes.isKnown || this.#bytes.perSecond() >= slowLinkBytes) return false;
    this.#packed = (this.#packed + 1) % packedPagesMax;
    return this.#packed !== 0;
  }

  /** Pages to ask for at once: as many as the link carries in `underWayMs`, at least one. */
  pagesUnderWay(): number {
    if (!this.#pages.isKnown) return 1;
    const pages = Math.floor((underWayMs / 1_000) * this.#pages.perSecond());
    return Math.max(1, Math.min(pagesUnderWayMax, pages));
  }
}
