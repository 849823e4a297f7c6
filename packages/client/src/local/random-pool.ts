import type { Entropy } from '@tidemark/ports';

/** Random bytes drawn at once: a draw costs the same for a few bytes as for many. */
const poolBytes = 1_024;

/** RandomPool hands out random bytes of a source, each byte once. */
export class RandomPool {
  readonly #entropy: Entropy;
  #pool: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(entropy: Entropy) {
    this.#entropy = entropy;
  }

  /** The next `count` bytes, a copy. */
  bytes(count: number): Uint8Array {
    if (count > poolBytes) return this.#entropy.bytes(count);
    if (this.#at + count > this.#pool.length) {
      this.#pool = this.#entropy.bytes(poolBytes);
      this.#at = 0;
    }
    const out = this.#pool.slice(this.#at, this.#at + count);
    this.#pool.fill(0, this.#at, this.#at + count);
    this.#at += count;
    return out;
  }
}
