import type { PullAnswer, TablePage } from '@tidemark/protocol';
import type { AskedPages } from './asked-pages.js';
import { pagesBeforeLarger } from './page-size.js';

/** Pages that are opened before those in front of them are staged: each may have unpacked to 2 MB. */
const openedAheadMax = 2;

/** Answer to a pull, with its pages. */
export interface PulledPage {
  readonly message: PullAnswer;
  readonly pages: readonly TablePage[];
  /** Bytes that travelled. */
  readonly bytes: number;
  /** Bytes of the same answer unpacked. */
  readonly rawBytes: number;
  /** Tells that nobody reads the pages any more, unless they were unpacked. */
  readonly release: () => void;
}

/** A page that was asked for: the one `skip` pages behind `cursor`. */
export interface AheadPage {
  readonly cursor: string | null;
  readonly skip: number;
  readonly asked: AskedPages<PulledPage>;
}

/** Pages of a run that were asked for before those in front of them are staged, in their order. */
export class PagesAhead {
  #pages: AheadPage[] = [];
  /** Pages that are asked for one by one, since the server did not know one that was asked for ahead. */
  #calm = 0;

  get count(): number {
    return this.#pages.length;
  }

  /** True while only the page may be asked for whose cursor is known. */
  get isCalm(): boolean {
    return this.#calm > 0;
  }

  /** Holds a page that is on its way, behind those that are held. */
  hold(page: AheadPage): void {
    this.#pages.push(page);
    // Whoever takes the page meets the failure; a run that ended before has no use for it.
    page.asked.came.catch(() => undefined);
  }

  /** Opens the first pages as they come, while what is before them is written. The others wait as they came. */
  openFirst(): void {
    for (const { asked } of this.#pages.slice(0, openedAheadMax))
      asked.open().catch(() => undefined);
  }

  /** Gives the first page away. */
  take(): AheadPage | undefined {
    this.#calm = Math.max(0, this.#calm - 1);
    return this.#pages.shift();
  }

  /** Forgets what is on its way: it goes on from elsewhere. */
  forget(): void {
    this.#pages = [];
  }

  /** The server did not know a page that was asked for ahead. */
  missed(): void {
    this.forget();
    this.#calm = pagesBeforeLarger;
  }
}
