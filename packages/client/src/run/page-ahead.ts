import type { PullAnswer } from '@tidemark/protocol';

/** Answer to a pull, with the bytes of its pages. */
export interface PulledPage {
  readonly message: PullAnswer;
  readonly tail: Uint8Array;
  readonly bytes: number;
}

/**
 * The one page of a run that was asked for while the page before is staged, by the cursor that it goes on from.
 * More than one would only wait in memory.
 */
export class PageAhead {
  #cursor: string | null = null;
  #answer: Promise<PulledPage> | null = null;

  /** Holds an answer that is on its way. One that was held before is forgotten. */
  hold(cursor: string, answer: Promise<PulledPage>): void {
    this.#cursor = cursor;
    this.#answer = answer;
    // Whoever takes the answer meets the failure; a run that ended before has no use for it.
    answer.catch(() => undefined);
  }

  /** Gives the answer away if it goes on from there; otherwise, too, nothing is held afterwards. */
  take(cursor: string | null): Promise<PulledPage> | null {
    const answer = cursor === this.#cursor ? this.#answer : null;
    this.#cursor = null;
    this.#answer = null;
    return answer;
  }
}
