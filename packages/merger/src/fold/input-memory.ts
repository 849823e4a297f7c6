import { equalBytes, invariant, type Hash } from '@tidemark/model';
import type { InputMessage, InputPosition, ServerBatch, ServerStore } from '@tidemark/ports';

/** Messages of the input whose hashes a store remembers: the newest ones. */
export const knownMessagesMax = 100_000;
/** Bytes of messages that a store keeps as they came: the newest ones, back to the oldest checkpoint. */
export const keptInputBytesMax = 64 * 1024 * 1024;
/** Pieces in which they are kept: each window of the fold makes one. */
export const keptPiecesMax = 20_000;
/** Pieces of remembered hashes that one window forgets at most. */
const forgottenPerWindow = 4;
/** Bytes of a remembered hash. */
const hashBytes = 16;
const knownHead = 6;
const keptHead = 26;

/*
 * Both spaces have one entry per window and generation; its key is the place of the first message.
 *
 *   known-input   ordinal of the first message u48, hash of each message (16 bytes)
 *   kept-input    per message: time in ms u48, length u32, hash (16 bytes), bytes
 *
 * `known-input` is a function of the input and part of checkpoints; `kept-input` is of one server.
 */
type Entries = ServerBatch['entries'];

const digits = (value: number, width: number): string => String(value).padStart(width, '0');

/** Key of the entry that begins with a message. */
const pieceKey = ({ generation, seq }: InputPosition): string =>
  `${digits(generation, 10)}/${digits(seq, 15)}`;

const placeOfKey = (key: string): InputPosition => ({
  generation: Number(key.slice(0, 10)),
  seq: Number(key.slice(11, 26)),
});
/** Before and after the keys of all pieces. */
const firstKey = '0';
const endKey = ':';

const setU48 = (bytes: Uint8Array, at: number, value: number): void => {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 2, value % 2 ** 32);
};

const getU48 = (bytes: Uint8Array, at: number): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getUint16(at) * 2 ** 32 + view.getUint32(at + 2);
};

/** Hash of a message as it is remembered. */
export const messageHash = (message: InputMessage, hash: Hash): Uint8Array =>
  (message.hash ?? hash(message.bytes)).subarray(0, hashBytes);

/** A message that a server kept. */
export type KeptMessage = InputMessage & { readonly hash: Uint8Array };

const encodeKept = (
  messages: readonly InputMessage[],
  hashes: readonly Uint8Array[],
): Uint8Array => {
  const length = messages.reduce((sum, { bytes }) => sum + keptHead + bytes.length, 0);
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [i, { atMs, bytes }] of messages.entries()) {
    setU48(out, at, Math.max(0, atMs));
    view.setUint32(at + 6, bytes.length);
    out.set(hashes[i] as Uint8Array, at + 10);
    out.set(bytes, at + keptHead);
    at += keptHead + bytes.length;
  }
  return out;
};

const decodeKept = (first: InputPosition, value: Uint8Array): readonly KeptMessage[] => {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const messages: KeptMessage[] = [];
  for (let at = 0; at + keptHead <= value.length;) {
    const end = at + keptHead + view.getUint32(at + 6);
    messages.push({
      position: { generation: first.generation, seq: first.seq + messages.length },
      atMs: getU48(value, at),
      hash: value.slice(at + 10, at + keptHead),
      bytes: value.slice(at + keptHead, end),
    });
    at = end;
  }
  return messages;
};

const encodeKnown = (ordinal: number, hashes: readonly Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(knownHead + hashes.length * hashBytes);
  setU48(out, 0, ordinal);
  hashes.forEach((hash, i) => out.set(hash, knownHead + i * hashBytes));
  return out;
};

interface Known {
  readonly first: InputPosition;
  readonly ordinal: number;
  readonly count: number;
  readonly hashes: Uint8Array;
}

const decodeKnown = (key: string, value: Uint8Array): Known => ({
  first: placeOfKey(key),
  ordinal: getU48(value, 0),
  count: (value.length - knownHead) / hashBytes,
  hashes: value.subarray(knownHead),
});

type Reads = Pick<ServerStore, 'scanEntries'>;

/**
 * What a store knows of a message by its place. `same`: it was folded. `other`: another one was folded there,
 * or none. `unknown`: that is too long ago.
 */
export const lookUpInput = async (
  store: Reads,
  messagesFolded: number,
  position: InputPosition,
  hash: Uint8Array,
): Promise<'same' | 'other' | 'unknown'> => {
  const [found] = await store.scanEntries('known-input', {
    gt: firstKey,
    lt: `${pieceKey(position)}~`,
    limit: 1,
    reverse: true,
  });
  if (found === undefined) return 'unknown';
  const { first, ordinal, count, hashes } = decodeKnown(found.key, found.value);
  const index = first.generation === position.generation ? position.seq - first.seq : count;
  const nearest = Math.min(index, count - 1);
  // The rule counts messages, so that it does not depend on how windows were cut.
  if (ordinal + nearest < messagesFolded - knownMessagesMax) return 'unknown';
  if (index >= count) return 'other';
  const known = hashes.subarray(index * hashBytes, (index + 1) * hashBytes);
  return equalBytes(known, hash) ? 'same' : 'other';
};

interface Piece {
  readonly key: string;
  readonly bytes: number;
  readonly last: InputPosition;
}

const isAtOrBefore = (a: InputPosition, b: InputPosition): boolean =>
  a.generation < b.generation || (a.generation === b.generation && a.seq <= b.seq);

/** Runs of messages of one generation. */
const runsOf = (messages: readonly InputMessage[]): readonly (readonly InputMessage[])[] => {
  const runs: InputMessage[][] = [];
  let before: InputPosition | undefined;
  for (const message of messages) {
    const { position } = message;
    if (before?.generation === position.generation && before.seq + 1 === position.seq)
      runs[runs.length - 1]?.push(message);
    else runs.push([message]);
    before = position;
  }
  return runs;
};

/** What a server remembers of the input it has folded, and keeps of it. */
export class InputMemory {
  readonly #store: Pick<ServerStore, 'scanEntries' | 'putEntries'>;
  readonly #hash: Hash;
  /** By key, oldest first. */
  readonly #pieces: Map<string, Piece>;
  #bytes: number;

  private constructor(store: ServerStore, hash: Hash, pieces: readonly Piece[]) {
    this.#store = store;
    this.#hash = hash;
    this.#pieces = new Map(pieces.map((piece) => [piece.key, piece]));
    this.#bytes = pieces.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  static async open(store: ServerStore, hash: Hash): Promise<InputMemory> {
    const pieces: Piece[] = [];
    for await (const { key, value } of keptPieces(store)) {
      const first = placeOfKey(key);
      const last = { ...first, seq: first.seq + decodeKept(first, value).length - 1 };
      pieces.push({ key, bytes: value.length, last });
    }
    return new InputMemory(store, hash, pieces);
  }

  /**
   * Entries that remember and keep the messages of a window, and forget the oldest. Call `done` once they
   * are stored. `folded` is the number of messages before the window.
   */
  async take(
    messages: readonly InputMessage[],
    folded: number,
  ): Promise<{ readonly entries: Entries; readonly done: () => void }> {
    const entries: Entries[number][] = [];
    const pieces: Piece[] = [];
    let ordinal = folded;
    for (const run of runsOf(messages)) {
      const [first] = run;
      const last = run.at(-1);
      invariant(first !== undefined && last !== undefined, 'a run holds a message');
      const key = pieceKey(first.position);
      const hashes = run.map((message) => messageHash(message, this.#hash));
      const kept = encodeKept(run, hashes);
      entries.push({ space: 'known-input', key, value: encodeKnown(ordinal, hashes) });
      entries.push({ space: 'kept-input', key, value: kept });
      pieces.push({ key, bytes: kept.length, last: last.position });
      ordinal += run.length;
    }
    const oldest = await this.#store.scanEntries('known-input', {
      gt: firstKey,
      lt: endKey,
      limit: forgottenPerWindow,
    });
    for (const { key, value } of oldest) {
      const { ordinal: from, count } = decodeKnown(key, value);
      if (from + count <= ordinal - knownMessagesMax)
        entries.push({ space: 'known-input', key, value: null });
    }
    let bytes = this.#bytes + pieces.reduce((sum, piece) => sum + piece.bytes, 0);
    let count = this.#pieces.size + pieces.length;
    const cut: string[] = [];
    for (const piece of this.#pieces.values()) {
      if (bytes <= keptInputBytesMax && count <= keptPiecesMax) break;
      entries.push({ space: 'kept-input', key: piece.key, value: null });
      cut.push(piece.key);
      bytes -= piece.bytes;
      count -= 1;
    }
    return {
      entries,
      done: () => {
        this.#drop(cut);
        for (const piece of pieces) {
          this.#drop([piece.key]);
          this.#pieces.set(piece.key, piece);
          this.#bytes += piece.bytes;
        }
      },
    };
  }

  /** Forgets what is kept at or before a position. */
  async forget(upTo: InputPosition): Promise<void> {
    const gone: string[] = [];
    for (const { key, last } of this.#pieces.values()) if (isAtOrBefore(last, upTo)) gone.push(key);
    if (gone.length === 0) return;
    await this.#store.putEntries(gone.map((key) => ({ space: 'kept-input', key, value: null })));
    this.#drop(gone);
  }

  #drop(keys: readonly string[]): void {
    for (const key of keys) {
      this.#bytes -= this.#pieces.get(key)?.bytes ?? 0;
      this.#pieces.delete(key);
    }
  }
}

/** Prefix of the keys of pieces that were set aside: the store was put on another line of history. */
const asidePrefix = 'x/';
const asideEnd = 'x0';

/** Pieces of kept input, oldest first, read one after another. */
async function* keptPieces(
  store: Reads,
  from = firstKey,
  to = endKey,
): AsyncGenerator<{ readonly key: string; readonly value: Uint8Array }> {
  for (let gt = from, read = 0; read <= 2 * keptPiecesMax; read += 1) {
    const [piece] = await store.scanEntries('kept-input', { gt, lt: to, limit: 1 });
    if (piece === undefined) return;
    yield piece;
    gt = piece.key;
  }
}

/**
 * Sets aside what is kept, before the store is put on another line: what that one lacks is brought back
 * later, also after a crash.
 */
export const setKeptAside = async (
  store: Pick<ServerStore, 'scanEntries' | 'putEntries'>,
): Promise<void> => {
  for await (const { key, value } of keptPieces(store))
    await store.putEntries([
      { space: 'kept-input', key: asidePrefix + key, value },
      { space: 'kept-input', key, value: null },
    ]);
};

/** Ends the keys of messages that another line holds at the same places as this store's. */
const ofInputSuffix = '/input';

/** Sets aside messages of the input that this store has not folded and that cannot be stored again now. */
export const setInputAside = async (
  store: Pick<ServerStore, 'putEntries'>,
  messages: readonly InputMessage[],
  hash: Hash,
): Promise<void> => {
  for (const run of runsOf(messages)) {
    const [first] = run;
    invariant(first !== undefined, 'a run holds a message');
    const key = asidePrefix + pieceKey(first.position) + ofInputSuffix;
    const hashes = run.map((message) => messageHash(message, hash));
    await store.putEntries([{ space: 'kept-input', key, value: encodeKept(run, hashes) }]);
  }
};

/** Messages that were set aside, piece by piece, oldest first; `drop` a piece when it is dealt with. */
export async function* keptAside(
  store: Pick<ServerStore, 'scanEntries' | 'putEntries'>,
): AsyncGenerator<{
  readonly messages: readonly KeptMessage[];
  readonly drop: () => Promise<void>;
}> {
  for await (const { key, value } of keptPieces(store, asidePrefix, asideEnd))
    yield {
      messages: decodeKept(placeOfKey(key.slice(asidePrefix.length)), value),
      drop: () => store.putEntries([{ space: 'kept-input', key, value: null }]),
    };
}
