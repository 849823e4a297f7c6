import { TidemarkError } from '@tidemark/model';
import type { InputMessage, InputPosition, Timer } from '@tidemark/ports';
import { generationsFollowedMax, type InputGenerations } from './input-generations.js';
import type { StreamMessage, StreamReader } from './stream-reader.js';
import { missingInput, refusalIn } from './stream-store.js';

/** Looks at a stream whose reader delivers nothing although it holds more. */
export const emptyReadsMax = 20;
const emptyReadPauseMs = 25;

/** What an input is read with. */
export interface InputReaderParts {
  readonly timer: Timer;
  readonly newReader: (generation: number) => StreamReader;
  /** Entry that a stored message is; undefined for the end of a generation. */
  readonly entryOf: (
    message: Pick<StreamMessage, 'subject' | 'user' | 'fromServer' | 'bytes'>,
  ) => Uint8Array | undefined;
  /** Hash by which a message is known again. */
  readonly identity: (atMs: number, entry: Uint8Array) => Uint8Array;
}

/** Reads an input forwards, across its generations. One call at a time. */
export class InputReader {
  readonly #generations: InputGenerations;
  readonly #parts: InputReaderParts;
  #reader: StreamReader | undefined;

  constructor(generations: InputGenerations, parts: InputReaderParts) {
    this.#generations = generations;
    this.#parts = parts;
  }

  /** Forgets what was delivered ahead. */
  forget(): void {
    this.#reader?.forget();
  }

  async close(): Promise<void> {
    await this.#reader?.close();
    this.#reader = undefined;
  }

  /** Messages after a position, in order: at least one if any. Rejects with `storage-damaged` at a gap. */
  async read(
    start: InputPosition,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly InputMessage[]> {
    const messages: InputMessage[] = [];
    let bytes = 0;
    let { generation, seq } = start;
    let emptyReads = 0;
    let gapAt = '';
    for (let followed = 0; followed < generationsFollowedMax;) {
      if (generation > this.#generations.current) await this.#generations.openExtent();
      if (generation > this.#generations.current) return messages;
      const room = {
        maxBytes: bounds.maxBytes - bytes,
        maxMessages: bounds.maxMessages - messages.length,
      };
      if (room.maxMessages < 1 || (messages.length > 0 && room.maxBytes <= 0)) return messages;
      if (seq >= (this.#generations.endOf(generation) ?? Number.POSITIVE_INFINITY)) {
        [generation, seq, followed] = [generation + 1, 0, followed + 1];
        continue;
      }
      const found = await this.#readStream(generation, seq, room);
      if (found === 'passed') {
        [generation, seq, followed] = [generation + 1, 0, followed + 1];
        continue;
      }
      for (const message of found) {
        if (message.seq !== seq + 1) {
          this.#reader?.forget();
          if (messages.length > 0) return messages;
          // A message may have been lost on its way: only a consumer of its own proves that it is gone.
          const gap = `${generation}/${seq}`;
          if (gapAt !== gap) {
            gapAt = gap;
            break;
          }
          throw missingInput('messages of the input are missing', generation, seq + 1, message.seq);
        }
        const end = await this.#takeMessage(generation, message, messages, bytes, bounds.maxBytes);
        if (end === 'full') return messages;
        if (end === 'end') break;
        seq = message.seq;
        bytes += messages.at(-1)?.bytes.length ?? 0;
      }
      if (found.length > 0) continue;
      if (messages.length > 0) return messages;
      const more = await this.#looksFurther(generation, seq);
      if (more === 'nothing') return messages;
      if (more === 'wait') {
        emptyReads += 1;
        if (emptyReads > emptyReadsMax)
          throw new TidemarkError('unreachable', 'the input delivers nothing for now');
        await this.#parts.timer.sleep(emptyReadPauseMs);
      }
    }
    return messages;
  }

  /** Messages of one stream; `passed` when it was removed and held nothing behind the position. */
  async #readStream(
    generation: number,
    seq: number,
    room: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly StreamMessage[] | 'passed'> {
    try {
      return await this.#readerOf(generation).read(seq + 1, room);
    } catch (cause) {
      if (refusalIn(cause) !== 'missing') throw cause;
      if (generation >= this.#generations.current) await this.#generations.openExtent();
      if (generation >= this.#generations.current) throw cause;
      const ended = await this.#generations.streams.endedAt(generation);
      if (ended === undefined || ended > seq)
        throw missingInput('a generation of the input is gone', generation, seq + 1, ended ?? 0);
      this.#generations.noteEnd(generation, ended);
      return 'passed';
    }
  }

  #readerOf(generation: number): StreamReader {
    if (this.#reader?.generation !== generation) {
      void this.#reader?.close();
      this.#reader = this.#parts.newReader(generation);
    }
    return this.#reader;
  }

  async #takeMessage(
    generation: number,
    message: StreamMessage,
    messages: InputMessage[],
    bytes: number,
    maxBytes: number,
  ): Promise<'taken' | 'end' | 'full'> {
    const entry = this.#parts.entryOf(message);
    if (entry === undefined) {
      const end = await this.#generations.streams.end(generation);
      if (end === undefined || end.seq !== message.seq)
        throw missingInput('the end of a generation is missing', generation, message.seq, 0);
      await this.#generations.followEnd(generation, end);
      this.#reader?.forget();
      return 'end';
    }
    if (messages.length > 0 && bytes + entry.length > maxBytes) {
      this.#reader?.forget();
      return 'full';
    }
    const { seq, atMs } = message;
    const hash = this.#parts.identity(atMs, entry);
    messages.push({ position: { generation, seq }, atMs, bytes: entry, hash });
    return 'taken';
  }

  /** What to do when a reader delivered nothing: the stream may hold more, or have begun later. */
  async #looksFurther(generation: number, seq: number): Promise<'nothing' | 'wait' | 'again'> {
    if (generation === this.#generations.current) {
      const { generation: current, first, last } = await this.#generations.openExtent();
      if (generation !== current) return 'again';
      if (first > seq + 1)
        throw missingInput(
          'the input before this position was trimmed',
          generation,
          seq + 1,
          first,
        );
      return last > seq ? 'wait' : 'nothing';
    }
    const extent = await this.#generations.streams.extent(generation);
    if (extent === undefined)
      throw missingInput('a generation of the input is gone', generation, seq + 1, 0);
    // The end itself may have been lost, with what stood before it: the next generation knows where it was.
    const ended =
      extent.end === undefined
        ? await this.#generations.streams.endedAt(generation)
        : extent.end.seq - 1;
    if (ended !== undefined && ended > Math.max(seq, extent.last))
      throw missingInput('the end of a generation is missing', generation, extent.last + 1, ended);
    // Ended, but nobody ever stored more: what follows is in the next generation.
    this.#generations.noteEnd(generation, ended ?? extent.last);
    return (this.#generations.endOf(generation) ?? 0) > seq ? 'wait' : 'again';
  }
}
