/** Rooms that wait to be used again at most. */
export const sealRoomsMax = 2;
/** Longest room that is kept, in bytes: it holds the blocks of the longest page. */
export const sealRoomBytesMax = 1_024 * 1_024;

/**
 * Bytes in which values are sealed on their way into a batch, used again once it is written. New ones for each
 * page of a first fill would make V8 mark its whole heap every few pages.
 *
 * Only for a database whose batches hold copies of what is put into them.
 */
export class SealRooms {
  readonly #free: Uint8Array[] = [];

  /** Gives at least so many bytes; what they hold is left from an earlier use. */
  take(length: number): Uint8Array {
    const at = this.#free.findIndex((room) => room.length >= length);
    const [room] = at < 0 ? [] : this.#free.splice(at, 1);
    return room ?? new Uint8Array(length <= sealRoomBytesMax ? sealRoomBytesMax : length);
  }

  /** Takes back bytes that nobody reads or writes any more. */
  give(room: Uint8Array): void {
    if (room.length <= sealRoomBytesMax && this.#free.length < sealRoomsMax) this.#free.push(room);
  }
}
