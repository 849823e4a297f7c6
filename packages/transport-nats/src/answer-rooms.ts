/** Rooms that wait for later answers at most. */
export const answerRoomsMax = 4;
/** Shortest answer that gets a room, in bytes: for less, bytes of its own cost nothing. */
export const answerRoomBytesMin = 64 * 1024;
/** Rooms are multiples of so many bytes, so that answers of about the same length fit into the same ones. */
const roomStepBytes = 64 * 1024;

/**
 * Bytes that answers are put together in, given back by whoever has read them. New ones for each page of a
 * download would make V8 mark its whole heap every few pages.
 */
export class AnswerRooms {
  readonly #free: Uint8Array[] = [];
  /** Rooms by the bytes that were given away: only who holds these may give them back. */
  readonly #lent = new WeakMap<Uint8Array, Uint8Array>();

  /** Gives so many bytes; what they hold is left from an earlier answer. */
  take(length: number): Uint8Array {
    if (length < answerRoomBytesMin) return new Uint8Array(length);
    const at = this.#free.findIndex((room) => room.length >= length);
    const [free] = at < 0 ? [] : this.#free.splice(at, 1);
    const room = free ?? new Uint8Array(roomStepBytes * Math.ceil(length / roomStepBytes));
    const bytes = room.subarray(0, length);
    this.#lent.set(bytes, room);
    return bytes;
  }

  /** Takes back what `take` gave; other bytes are left alone. */
  give(bytes: Uint8Array): void {
    const room = this.#lent.get(bytes);
    if (room === undefined) return;
    this.#lent.delete(bytes);
    if (this.#free.length >= answerRoomsMax) this.#free.shift();
    this.#free.push(room);
  }
}
