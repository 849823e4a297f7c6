/** Pseudo-random numbers from a seed (xorshift128): the same seed gives the same sequence everywhere. */
export class SeededRandom {
  readonly #state: Uint32Array;

  constructor(seed: number) {
    // Splitmix fills the state, so that neighbouring seeds give unrelated sequences.
    let z = seed | 0;
    const next = (): number => {
      z = (z + 0x9e3779b9) | 0;
      let x = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
      return (x ^ (x >>> 15)) >>> 0;
    };
    this.#state = Uint32Array.of(next(), next(), next(), next() | 1);
  }

  /** Integer from 0 to 2^32 - 1. */
  next(): number {
    const s = this.#state;
    let t = s[3] ?? 0;
    const first = s[0] ?? 0;
    s[3] = s[2] ?? 0;
    s[2] = s[1] ?? 0;
    s[1] = first;
    t ^= t << 11;
    t ^= t >>> 8;
    s[0] = t ^ first ^ (first >>> 19);
    return s[0];
  }

  /** Integer from 0 to `bound` - 1. */
  below(bound: number): number {
    return Math.floor((this.next() / 4_294_967_296) * bound);
  }

  /** True in `percent` of 100 cases. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<A>(choices: readonly A[]): A {
    const picked = choices[this.below(choices.length)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }

  /** Bytes for a replica's Entropy port. */
  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i += 1) bytes[i] = this.below(256);
    return bytes;
  }

  /** Another sequence that follows from this one. */
  fork(): SeededRandom {
    return new SeededRandom(this.next());
  }
}
