import { TidemarkError, toHex, utf8Decode, utf8Encode, type Hash } from '@tidemark/model';
import type {
  InputExtent,
  InputLog,
  InputMessage,
  InputPosition,
  ServerStore,
} from '@tidemark/ports';
import { comesAgain } from '../fold/decide-again.js';
import type { FoldState } from '../fold/fold-state.js';
import { decodeInputEntry, encodeInputEntry } from '../fold/input-entry.js';
import { keptAside, lookUpInput, messageHash, setInputAside } from '../fold/input-memory.js';

/** Messages of an old generation that are read at a time to be stored again. */
const leftOverReadMax = 200;
const leftOverReadBytes = 4 * 1024 * 1024;
/** Key in `kept-input` of the note about what an old generation still holds. */
const leftOverKey = 'left-over';

type Space = Pick<ServerStore, 'getEntries' | 'scanEntries' | 'putEntries'>;

interface LeftOver {
  readonly generation: number;
  /** Messages after this number, up to `last`. */
  readonly after: number;
  readonly last: number;
}

/** What noting works with. */
interface NoteParts {
  readonly store: Space;
  readonly state: FoldState;
  readonly input: InputLog;
  readonly extent: InputExtent;
  readonly hash: Hash;
}

/** Number of the last message of the input's generation that this state has folded. */
const commonUpTo = async ({ store, state, input, extent }: NoteParts): Promise<number> => {
  const { generation } = extent;
  const isCommon = async (seq: number): Promise<boolean> => {
    const hash = await input.hashAt({ generation, seq });
    if (hash === undefined) return seq < extent.first;
    const short = hash.subarray(0, 16);
    const { messages } = state.counts;
    return (await lookUpInput(store, messages, { generation, seq }, short)) !== 'other';
  };
  let [low, high] = [0, extent.last];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (await isCommon(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
};

/**
 * Whether the input's own line was cut above the place where it left this state's: what it held there would
 * not come back behind a new incarnation of this state. False where it cannot be told.
 */
export const isCutAboveFork = async ({
  store,
  state,
  input,
  extent,
}: Omit<NoteParts, 'hash'>): Promise<boolean> => {
  const { generation, first, last } = extent;
  if (first <= 1 || last < first || generation !== state.position.generation) return false;
  const oldest = await input.hashAt({ generation, seq: first });
  if (oldest === undefined) return false;
  const { messages } = state.counts;
  const short = oldest.subarray(0, 16);
  return (await lookUpInput(store, messages, { generation, seq: first }, short)) === 'other';
};

const putNote = (store: Space, note: LeftOver | null): Promise<void> => {
  const value = note === null ? null : utf8Encode(JSON.stringify(note));
  return store.putEntries([{ space: 'kept-input', key: leftOverKey, value }]);
};

const readNote = async (store: Space): Promise<LeftOver | undefined> => {
  const [note] = await store.getEntries('kept-input', [leftOverKey]);
  return note === undefined ? undefined : (JSON.parse(utf8Decode(note)) as LeftOver);
};

/** Place behind which the input is read once more; undefined when nothing is left over. */
export const leftOverFrom = async (store: Space): Promise<InputPosition | undefined> => {
  const note = await readNote(store);
  return note === undefined ? undefined : { generation: note.generation, seq: note.after };
};

/**
 * Notes which messages of the input the state lacks, before the state's server begins a new incarnation:
 * they are stored again behind it. Until then nobody may trim what comes after `from`.
 */
export const noteLeftOver = async (
  parts: NoteParts,
): Promise<{ readonly from: InputPosition | undefined; readonly drop: () => Promise<void> }> => {
  const { store, extent } = parts;
  const { generation, last } = extent;
  const after = await commonUpTo(parts);
  if (after < last) await putNote(store, { generation, after, last });
  return {
    from: after < last ? { generation, seq: after } : undefined,
    drop: () => putNote(store, null),
  };
};

/** Whether there is anything to bring back. */
export const hasLost = async (store: Space): Promise<boolean> => {
  if ((await readNote(store)) !== undefined) return true;
  return (await keptAside(store).next()).done !== true;
};

/** What bringing back works with. */
export interface BringBackParts {
  readonly store: Space;
  readonly input: InputLog;
  readonly hash: Hash;
  readonly folded: () => number;
  readonly append: (message: Uint8Array) => Promise<InputPosition>;
}

/** What was brought back. */
export interface BroughtBack {
  readonly messages: number;
  readonly tooOld: number;
}

class Return {
  readonly #parts: BringBackParts;
  messages = 0;
  tooOld = 0;

  constructor(parts: BringBackParts) {
    this.#parts = parts;
  }

  async takeAll(messages: readonly InputMessage[]): Promise<void> {
    const appended: Promise<InputPosition>[] = [];
    for (const message of messages) {
      const entry = await this.#entryOf(message);
      if (entry === undefined) continue;
      appended.push(this.#parts.append(entry));
      this.messages += 1;
    }
    const outcomes = await Promise.allSettled(appended);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** Entry by which a message comes again; undefined when it need not. */
  async #entryOf(message: InputMessage): Promise<Uint8Array | undefined> {
    const { position, bytes } = message;
    const { store, hash, folded } = this.#parts;
    const decoded = decodeInputEntry(bytes);
    if (decoded._tag === 'Left') return undefined;
    const { right } = decoded;
    if (right.kind !== 'again' && !comesAgain(right.kind)) return undefined;
    const short = messageHash(message, hash);
    const place = await lookUpInput(store, folded(), position, short);
    if (place === 'same') return undefined;
    if (place === 'unknown') {
      this.tooOld += 1;
      return undefined;
    }
    // What came again before keeps the name of its first place.
    if (right.kind === 'again') return bytes;
    const { generation, seq } = position;
    return encodeInputEntry({
      kind: 'again',
      of: { generation, seq, hash: toHex(short) },
      entry: bytes,
    });
  }
}

/** Messages of an ended generation after a place, as far as they can be had. */
const readLeftOver = async (
  input: InputLog,
  { generation, seq }: InputPosition,
): Promise<readonly InputMessage[]> => {
  const bounds = { maxBytes: leftOverReadBytes, maxMessages: leftOverReadMax };
  try {
    const read = await input.read({ generation, seq }, bounds);
    return read.filter(({ position }) => position.generation === generation);
  } catch (cause) {
    // The old generation is gone or has a hole: what it held there cannot be had any more.
    if (cause instanceof TidemarkError && cause.code === 'storage-damaged') return [];
    throw cause;
  }
};

const isFull = (cause: unknown): boolean =>
  cause instanceof TidemarkError && cause.code === 'input-full';

/**
 * Stores again what was set aside when this store was put on another line, and what an ended generation
 * holds behind the place where the line left it. Call it when the input is folded to its end. What this
 * rejects with leaves the rest for the next time; with `input-full` no generation waits for it: a full input
 * gets room only when the ended ones are trimmed.
 */
export const bringBack = async (parts: BringBackParts): Promise<BroughtBack> => {
  const { store, input, hash } = parts;
  const back = new Return(parts);
  let full: unknown;
  const take = async (messages: readonly InputMessage[]): Promise<boolean> => {
    if (full !== undefined) return false;
    try {
      await back.takeAll(messages);
      return true;
    } catch (cause) {
      if (!isFull(cause)) throw cause;
      full = cause;
      return false;
    }
  };
  for await (const { messages, drop } of keptAside(store)) {
    if (!(await take(messages))) break;
    await drop();
  }
  const note = await readNote(store);
  if (note !== undefined) {
    const { generation, last } = note;
    for (let { after } = note; after < last;) {
      const found = await readLeftOver(input, { generation, seq: after });
      const end = found.at(-1);
      if (end === undefined) {
        back.tooOld += last - after;
        break;
      }
      if (!(await take(found))) await setInputAside(store, found, hash);
      after = end.position.seq;
      await putNote(store, { generation, after, last });
    }
    await putNote(store, null);
  }
  if (full !== undefined) throw full;
  return { messages: back.messages, tooOld: back.tooOld };
};
