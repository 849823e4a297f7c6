import { utf8Decode, utf8Encode } from '@tidemark/model';
import type { ServerSpace } from '@tidemark/ports';
import { getU32, getU48, setU32, setU48 } from './keys.js';

/*
 * Key spaces of a server store, within the range that keys.ts leaves to it.
 *
 *   0x40 state      one key
 *   0x41 totals     + kind u8                                        of feed and ledger
 *   0x42 records    + table u32 + id
 *   0x43 feed       + incarnation u32 + last u48 + table u32
 *   0x44 ledger     + incarnation u32 + last u48 + table u32
 *   0x45 sizes      + incarnation u32 + last u48 + table u32         of the feed's segments
 *   0x46 entries    + space u8 + key
 *   0x47 prepared   + shelf u32 + last id                            of this store alone; without an id: a note
 *   0x50 kept       + space u8 + key                                 entries that are of this store alone
 *   0x5f loading    one key: a load is under way
 */
/** Smallest first byte of the keys of a server store. */
export const serverSpaceFirst = 0x40;
/** First byte after those of a server store. */
export const serverSpaceEnd = 0x60;

const stateSpace = 0x40;
const totalsSpace = 0x41;
const recordSpace = 0x42;
const feedSpace = 0x43;
const ledgerSpace = 0x44;
const sizeSpace = 0x45;
const entrySpace = 0x46;
const preparedSpace = 0x47;
const keptSpace = 0x50;
const loadingSpace = 0x5f;

/** What a segment is part of: the feed that replicas pull, or the ledger that explains decisions. */
export type SegmentKind = 'feed' | 'ledger';

/** The numbers are stored: they never change meaning, new spaces take new ones. */
const entrySpaces: Readonly<Record<ServerSpace, number>> = {
  replicas: 1,
  chains: 2,
  parked: 3,
  shadows: 4,
  'side-documents': 5,
  heads: 6,
  quarantine: 7,
  'sync-logs': 8,
  lives: 9,
  'known-input': 10,
  'kept-input': 11,
};

/** The one key of the state of a server store. */
export const stateKey = (): Uint8Array => Uint8Array.of(stateSpace);
/** The one key that is there while a load is under way. */
export const loadingKey = (): Uint8Array => Uint8Array.of(loadingSpace);
/** Key of the totals of all segments of a kind. */
export const totalsKey = (kind: SegmentKind): Uint8Array =>
  Uint8Array.of(totalsSpace, kind === 'feed' ? 1 : 2);

/** Ranges of the keys that a load replaces: the content, and what was prepared from it. */
export const contentRanges = [
  { gte: Uint8Array.of(serverSpaceFirst), lt: Uint8Array.of(keptSpace) },
  { gte: Uint8Array.of(keptSpace + 1), lt: Uint8Array.of(loadingSpace) },
] as const;

/** Tells whether a key belongs to the content of a store: what a dump holds. */
export const isContentKey = (key: Uint8Array): boolean => {
  const space = key[0] ?? 0;
  return (
    space >= serverSpaceFirst &&
    space < loadingSpace &&
    space !== preparedSpace &&
    space !== keptSpace
  );
};

const recordHead = 5;

/** Key of a record: keys order by table, then the id's UTF-8 bytes. The empty id comes before all ids. */
export const recordKey = (table: number, id: string): Uint8Array => {
  const key = textKey(recordHead, id);
  key[0] = recordSpace;
  setU32(key, 1, table);
  return key;
};

/** Id within the key of a record. */
export const recordIdOfKey = (key: Uint8Array): string => textOf(key, recordHead);

/** First key after all records of a table. */
export const recordsEnd = (table: number): Uint8Array => {
  const key = new Uint8Array(recordHead);
  key[0] = table === 0xffff_ffff ? recordSpace + 1 : recordSpace;
  setU32(key, 1, table === 0xffff_ffff ? 0 : table + 1);
  return key;
};

const preparedHead = 5;

/** Key of a prepared pack; with an empty id it sorts before all packs of the shelf. */
export const preparedKey = (shelf: number, id: Uint8Array): Uint8Array => {
  const key = new Uint8Array(preparedHead + id.length);
  key[0] = preparedSpace;
  setU32(key, 1, shelf);
  key.set(id, preparedHead);
  return key;
};

/** Id within the key of a prepared pack. */
export const preparedIdOfKey = (key: Uint8Array): Uint8Array => key.subarray(preparedHead);

/** Key behind all packs of a shelf: that of the next one. */
export const preparedEnd = (shelf: number): Uint8Array => preparedKey(shelf + 1, new Uint8Array(0));

/** Where a segment stands among its kind: by incarnation, the last version that it holds, table. */
export interface SegmentPlace {
  readonly incarnation: number;
  readonly last: number;
  readonly table: number;
}

const segmentKeyBytes = 15;

/** Key of a segment, or with `size` that of the entry which holds a feed segment's length. */
export const segmentKey = (kind: SegmentKind | 'size', place: SegmentPlace): Uint8Array => {
  const key = new Uint8Array(segmentKeyBytes);
  key[0] = kind === 'feed' ? feedSpace : kind === 'ledger' ? ledgerSpace : sizeSpace;
  setU32(key, 1, place.incarnation);
  setU48(key, 5, place.last);
  setU32(key, 11, place.table);
  return key;
};

/** Place within the key of a segment or of a segment's size. */
export const segmentPlace = (key: Uint8Array): SegmentPlace => ({
  incarnation: getU32(key, 1),
  last: getU48(key, 5),
  table: getU32(key, 11),
});

/** Last possible key of a version's segments: tables are below 2^32 - 1. */
export const segmentsUpTo = (
  kind: SegmentKind | 'size',
  incarnation: number,
  last: number,
): Uint8Array => segmentKey(kind, { incarnation, last, table: 0xffff_ffff });

const entryHead = 2;

/** Key of an entry: keys order by space, then the key's UTF-8 bytes. */
export const entryKey = (space: ServerSpace, key: string): Uint8Array => {
  const bytes = textKey(entryHead, key);
  bytes[0] = space === 'kept-input' ? keptSpace : entrySpace;
  bytes[1] = entrySpaces[space];
  return bytes;
};

/** Key of an entry as its owner gave it, without the space. */
export const entryTextOfKey = (key: Uint8Array): string => textOf(key, entryHead);

/** Room of `head` bytes, then the text in UTF-8. Ids are mostly ASCII, which needs no second copy. */
const textKey = (head: number, text: string): Uint8Array => {
  const key = new Uint8Array(head + text.length);
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) {
      const encoded = utf8Encode(text);
      const long = new Uint8Array(head + encoded.length);
      long.set(encoded, head);
      return long;
    }
    key[head + i] = unit;
  }
  return key;
};

const textOf = (key: Uint8Array, head: number): string => {
  let text = '';
  for (let i = head; i < key.length; i += 1) {
    const byte = key[i] as number;
    if (byte > 0x7f) return utf8Decode(key.subarray(head));
    text += String.fromCharCode(byte);
  }
  return text;
};
