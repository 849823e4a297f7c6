import { encodeRow, rowText, utf8Encode, type Row, type Value } from '@tidemark/model';
import { isLong } from './text-deltas.js';

/** Part of a text: neither half of a surrogate pair is cut off, so that parts encode as the whole does. */
interface Piece {
  readonly text: string;
  /** JSON in UTF-8, without the quotes. */
  readonly bytes: Uint8Array;
}

/** Units of a piece that is made; one that an edit made longer is cut. */
const pieceLength = 2_048;
const pieceLengthMax = 2 * pieceLength;
/** Texts whose pieces are remembered: a window mostly edits few notes, each many times. */
export const encodedTextsMax = 16;

const isTrail = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

const pieceOf = (text: string): Piece => {
  const bytes = utf8Encode(JSON.stringify(text));
  return { text, bytes: bytes.subarray(1, bytes.length - 1) };
};

const piecesOf = (text: string): Piece[] => {
  const pieces: Piece[] = [];
  for (let at = 0; at < text.length;) {
    let end = text.length - at > pieceLengthMax ? at + pieceLength : text.length;
    if (end < text.length && isTrail(text.charCodeAt(end))) end += 1;
    pieces.push(pieceOf(text.slice(at, end)));
    at = end;
  }
  return pieces;
};

// The engine compares texts faster than `startsWith` does.
const standsAt = (text: string, at: number, part: string): boolean =>
  text.slice(at, at + part.length) === part;

/** Pieces of a text, those of an earlier version reused where it reads the same from an end. */
const editedPieces = (pieces: readonly Piece[], text: string): readonly Piece[] => {
  let first = 0;
  let from = 0;
  for (; first < pieces.length; first += 1) {
    const { text: part } = pieces[first] as Piece;
    if (!standsAt(text, from, part)) break;
    from += part.length;
  }
  let last = pieces.length;
  let to = text.length;
  for (; last > first; last -= 1) {
    const { text: part } = pieces[last - 1] as Piece;
    if (to - part.length < from || !standsAt(text, to - part.length, part)) break;
    to -= part.length;
  }
  if (first === last && from === to) return pieces;
  // What is typed at the end goes into the last piece.
  if (first === last && first > 0) {
    first -= 1;
    from -= (pieces[first] as Piece).text.length;
  }
  return [...pieces.slice(0, first), ...piecesOf(text.slice(from, to)), ...pieces.slice(last)];
};

const count = (units: number): number => 2 * Math.ceil(units / pieceLength) + 2;

/** Stands for a long text while the rest of its row is encoded. */
const mark = '\u0000a long text\u0000';
const markJson = JSON.stringify(mark);
const quote = utf8Encode('"');

/**
 * LogicalRows encodes rows as `encodeRow` does. A long text is encoded piece by piece, and the pieces are
 * remembered: a note that is typed word by word is copied for each word, not encoded. What is remembered never
 * changes a result.
 */
export class LogicalRows {
  readonly #texts = new Map<string, readonly Piece[]>();

  /** Bytes of a row; `key` names its record. */
  encode(key: string, row: Row): readonly Uint8Array[] {
    const fields: Record<number, Value> = {};
    const texts: (readonly [key: string, text: string])[] = [];
    for (const id in row.fields) {
      const value = row.fields[Number(id)] as Value;
      const isText = typeof value === 'string' && isLong(value);
      fields[Number(id)] = isText ? mark : value;
      if (isText) texts.push([`${key}/${id}`, value]);
    }
    const around = rowText({ ...row, fields }).split(markJson);
    // Something else reads like the mark.
    if (around.length !== texts.length + 1) return [encodeRow(row)];
    const parts: Uint8Array[] = [];
    around.forEach((part, i) => {
      parts.push(utf8Encode(part));
      const text = texts[i];
      if (text === undefined) return;
      parts.push(quote);
      for (const { bytes } of this.#piecesOf(...text)) parts.push(bytes);
      parts.push(quote);
    });
    return parts;
  }

  #piecesOf(key: string, text: string): readonly Piece[] {
    const known = this.#texts.get(key) ?? [];
    let pieces = editedPieces(known, text);
    // Deletions leave short pieces behind.
    if (pieces.length > count(text.length)) pieces = piecesOf(text);
    this.#texts.delete(key);
    this.#texts.set(key, pieces);
    for (const oldest of this.#texts.keys()) {
      if (this.#texts.size <= encodedTextsMax) break;
      this.#texts.delete(oldest);
    }
    return pieces;
  }
}
