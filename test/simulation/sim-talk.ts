import type { ServerTalk } from '@tidemark/ports';
import type { SeededRandom } from '../convergence/seeded-random.js';
import type { SimContext } from './context.js';
import type { Life } from './scheduler.js';
import type { SimStream } from './sim-stream.js';

/** Longest way of a word when nothing is wrong, ms. */
const wayMsMax = 20;
/** Longest way of a word that is late, ms: later than several places of a server. */
const lateMsMax = 15_000;
/** Of a hundred words, as many come late or twice even on a quiet day. */
const latePercent = 2;
const doublePercent = 2;

/** What the talk between servers is built on. */
export interface SimTalkOptions {
  readonly context: SimContext;
  readonly random: SeededRandom;
  /** Words go the way of the stream: who does not reach it does not reach the others. */
  readonly stream: SimStream;
}

interface Listener {
  readonly life: Life;
  readonly callback: (word: Uint8Array) => void;
}

/** Words between the servers of a stream: they get lost, come late, come twice, and overtake each other. */
export class SimTalk {
  readonly #options: SimTalkOptions;
  readonly #listeners = new Set<Listener>();

  constructor(options: SimTalkOptions) {
    this.#options = options;
  }

  /** Talk of one process. It is heard by itself, too. */
  of(life: Life): ServerTalk {
    return {
      say: (word) => this.#say(life, word),
      onWord: (callback) => {
        for (const one of this.#listeners) if (!one.life.alive) this.#listeners.delete(one);
        const listener = { life, callback };
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
    };
  }

  #say(life: Life, word: Uint8Array): void {
    if (!life.alive) return;
    const { context, random, stream } = this.#options;
    for (const listener of this.#listeners) {
      if (!listener.life.alive) continue;
      const { faults } = stream;
      const lossPercent = Math.max(faults.callLossPercent, faults.wordLossPercent);
      if (faults.isDown || random.chance(lossPercent)) {
        if (listener.life !== life) context.saw('a word was lost');
        continue;
      }
      this.#deliver(listener, word);
      if (random.chance(doublePercent)) this.#deliver(listener, word);
    }
  }

  #deliver({ life, callback }: Listener, word: Uint8Array): void {
    const { context, random } = this.#options;
    const isLate = random.chance(latePercent);
    if (isLate) context.saw('a word came late');
    const ms = random.below(isLate ? lateMsMax : wayMsMax);
    context.scheduler.afterWord(ms, () => life.enter(() => callback(word.slice())));
  }
}
