/** Most bytes of one page. */
export const pageBytesMax = 512 * 1024;
/** Bytes of a page to which a slow link brings it down. */
export const pageBytesMin = 16 * 1024;
/** Full pages in a row that come in time before larger ones are asked for again. */
export const pagesBeforeLarger = 16;
/** Time after which a link that is lost while a page is awaited counts as too slow for it, ms. */
export const slowPageMs = 4_000;

/** Bytes of the pages that a replica asks for: what its link carries in time. */
export class PageSize {
  #bytes = pageBytesMax;
  #inTime = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** A page came for which `asked` bytes were asked; small ones say nothing of the link. */
  came(bytes: number, asked: number): void {
    if (this.#bytes === pageBytesMax || bytes < asked / 2) return;
    this.#inTime += 1;
    if (this.#inTime < pagesBeforeLarger) return;
    this.#inTime = 0;
    this.#bytes = Math.min(pageBytesMax, 2 * this.#bytes);
  }

  /** A page did not come in time. */
  failed(): void {
    this.#inTime = 0;
    this.#bytes = Math.max(pageBytesMin, this.#bytes / 2);
  }
}
