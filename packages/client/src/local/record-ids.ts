import { v7 } from 'uuid';
import type { Clock, Entropy } from '@tidemark/ports';

const sequenceMax = 0x7fff_ffff;

/** Makes UUIDv7 ids: ascending in time, also within a millisecond and when the clock goes back. */
export class RecordIds {
  readonly #clock: Clock;
  readonly #entropy: Entropy;
  #msecs = 0;
  #sequence = 0;

  constructor(clock: Clock, entropy: Entropy) {
    this.#clock = clock;
    this.#entropy = entropy;
  }

  /** Next id. */
  next(): string {
    const random = this.#entropy.bytes(16);
    const now = this.#clock.nowMs();
    if (now > this.#msecs) {
      this.#msecs = now;
      // Half of the room is left for ids within the same millisecond.
      this.#sequence = new DataView(random.buffer, random.byteOffset).getUint32(0) >>> 2;
    } else if (this.#sequence >= sequenceMax) {
      this.#msecs += 1;
      this.#sequence = 0;
    } else this.#sequence += 1;
    return v7({ random, msecs: this.#msecs, seq: this.#sequence });
  }
}
