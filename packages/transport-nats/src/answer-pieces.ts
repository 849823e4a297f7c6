import { concatBytes } from '@tidemark/model';
import { messageBytesMax } from '@tidemark/protocol';
import type { AnswerRooms } from './answer-rooms.js';

/**
 * Puts the messages of one answer together. The connection reads on into the same buffer, so what is kept needs
 * bytes of its own: where the first message announces how many, each is copied once, to its place.
 */
export class AnswerPieces {
  readonly #rooms: AnswerRooms;
  #place: Uint8Array | undefined;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(rooms: AnswerRooms) {
    this.#rooms = rooms;
  }

  /** Bytes that have come. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds what a message holds. `announced` are the bytes that the whole answer is said to have, if any. */
  add(data: Uint8Array, announced: number | undefined): void {
    if (this.#bytes === 0 && announced !== undefined && announced <= messageBytesMax)
      this.#place = this.#rooms.take(Math.max(announced, data.length));
    if (this.#place !== undefined && this.#bytes + data.length <= this.#place.length)
      this.#place.set(data, this.#bytes);
    else {
      // More came than was announced, or nothing was.
      if (this.#place !== undefined) this.#pieces.push(this.#place.subarray(0, this.#bytes));
      this.#place = undefined;
      this.#pieces.push(new Uint8Array(data));
    }
    this.#bytes += data.length;
  }

  /** The answer, as bytes that nobody else writes to until its room is given back. */
  whole(): Uint8Array {
    if (this.#place?.length === this.#bytes) return this.#place;
    if (this.#place !== undefined) return this.#place.subarray(0, this.#bytes);
    const [only] = this.#pieces;
    return this.#pieces.length === 1 && only !== undefined ? only : concatBytes(this.#pieces);
  }
}
