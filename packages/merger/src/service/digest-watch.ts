import { TidemarkError } from '@tidemark/model';
import type { InputPosition } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';
import { windowEndsAtEvery } from '../fold/fold-window.js';
import { standOf, type Fellows, type FellowWord, type Stand } from './fellows.js';
import type { ServerEvent } from './server-event.js';

/** Marks of this server, of each kind, that are remembered to be compared. */
export const marksMax = 64;
/** Places at which the input was folded again whose digests are remembered. */
export const refoldsMax = 16;

/** What a watch over digests works with. */
export interface DigestWatchParts {
  readonly fellows: Fellows;
  readonly applied: () => FoldState;
  /** Folds again up to a position; undefined when that cannot be done. */
  readonly refold: (upTo: InputPosition) => Promise<Refolded | undefined>;
  readonly emit: (event: ServerEvent) => void;
  /** Takes this server out for good: folding again gave different results on two servers. */
  readonly diverged: (position: InputPosition) => Promise<void>;
}

/** Result of folding again. */
export interface Refolded {
  readonly digest: string;
  /** Puts the result in the place of this server's store. */
  readonly replace: () => Promise<void>;
  readonly dispose: () => Promise<void>;
}

/** Compares the digests of the servers of a tenant. */
export interface DigestWatch {
  /** Takes note of a window that was applied. */
  readonly note: (state: FoldState) => void;
  /** Ends; resolves when nothing is under way. */
  readonly stop: () => Promise<void>;
}

const keyOf = ({ incarnation, position }: Stand): string =>
  `${incarnation}/${position.generation}/${position.seq}`;

/** Map that forgets its oldest entries. */
class Recent<V> {
  readonly #entries = new Map<string, V>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#max) return;
      this.#entries.delete(oldest);
    }
  }
}

class Watch implements DigestWatch {
  readonly #parts: DigestWatchParts;
  /** Where this server stood lately, and where digests are always compared. */
  readonly #lately = new Recent<Stand>(marksMax);
  readonly #marks = new Recent<Stand>(marksMax);
  readonly #heard = new Recent<FellowWord>(marksMax);
  /** What folding again gave: here, and elsewhere. */
  readonly #refolded = new Recent<string>(refoldsMax);
  readonly #refoldedElsewhere = new Recent<string>(refoldsMax);
  readonly #stopHearing: () => void;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(parts: DigestWatchParts) {
    this.#parts = parts;
    this.#stopHearing = parts.fellows.onWord((word) => this.#hear(word));
  }

  readonly note = (state: FoldState): void => {
    const stand = standOf(state);
    const key = keyOf(stand);
    this.#lately.set(key, stand);
    if (state.position.seq % windowEndsAtEvery === 0) {
      this.#marks.set(key, stand);
      this.#parts.fellows.say('mark', stand);
    }
    const heard = this.#heard.get(key);
    if (heard !== undefined) this.#compare(stand, heard);
  };

  readonly stop = async (): Promise<void> => {
    this.#isStopped = true;
    this.#stopHearing();
    await this.#running;
  };

  #hear(word: FellowWord): void {
    if (this.#isStopped || word.kind === 'leave' || word.kind === 'stand') return;
    const key = keyOf(word);
    if (word.kind === 'refold') {
      this.#refoldedElsewhere.set(key, word.digest);
      const here = this.#refolded.get(key);
      if (here !== undefined && here !== word.digest) {
        void this.#parts.diverged(word.position);
        return;
      }
    }
    const own = this.#marks.get(key) ?? this.#lately.get(key);
    if (own === undefined) this.#heard.set(key, word);
    else this.#compare(own, word);
  }

  #compare(own: Stand, word: FellowWord): void {
    if (own.digest === word.digest || this.#running !== undefined || this.#isStopped) return;
    // Known already: whoever was wrong is being mended.
    if (this.#refolded.get(keyOf(own)) !== undefined) return;
    this.#running = this.#judge(own)
      .catch((cause: unknown) => {
        const code = cause instanceof TidemarkError ? cause.code : 'invariant-violation';
        this.#parts.emit({ type: 'background-failed', work: 'folding again', code });
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #judge(own: Stand): Promise<void> {
    const { fellows, refold, emit, diverged } = this.#parts;
    const { incarnation, n, position } = own;
    const key = keyOf(own);
    const place = { incarnation, n, generation: position.generation, seq: position.seq };
    const result = await refold(position);
    if (result === undefined) {
      emit({ type: 'digest-differs', ...place, verdict: 'unknown' });
      return;
    }
    try {
      const isRight = result.digest === own.digest;
      emit({ type: 'digest-differs', ...place, verdict: isRight ? 'other-wrong' : 'own-wrong' });
      this.#refolded.set(key, result.digest);
      fellows.say('refold', { ...own, digest: result.digest });
      const elsewhere = this.#refoldedElsewhere.get(key);
      if (elsewhere !== undefined && elsewhere !== result.digest) await diverged(position);
      else if (!isRight && !this.#isStopped) await result.replace();
    } finally {
      await result.dispose();
    }
  }
}

/** Watches over digests until it is stopped. */
export const createDigestWatch = (parts: DigestWatchParts): DigestWatch => new Watch(parts);
