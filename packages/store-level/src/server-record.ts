import { newBytes, TidemarkError } from '@tidemark/model';
import type { Segment, StoredRecord } from '@tidemark/ports';
import { getU32, getU48, setU32, setU48 } from './keys.js';
import type { SegmentPlace } from './server-keys.js';

/*
 * Values of a server store.
 *
 *   record   format u8, flags u8 (1: deleted), incarnation u32, n u48, row length u32, row, extra
 *   segment  format u8, first u48, bytes
 */
const recordFormat = 1;
const segmentFormat = 1;
const deletedFlag = 1;
const recordHead = 16;
const segmentHead = 7;

/** Value of a record: flags, version, then row and extra as they came. */
export const encodeRecord = (record: StoredRecord): Uint8Array => {
  const { row, extra, version } = record;
  const value = newBytes(recordHead + row.length + extra.length);
  value[0] = recordFormat;
  value[1] = record.deleted ? deletedFlag : 0;
  setU32(value, 2, version.incarnation);
  setU48(value, 6, version.n);
  setU32(value, 12, row.length);
  value.set(row, recordHead);
  value.set(extra, recordHead + row.length);
  return value;
};

/** Row and extra are views of `value`: nothing is copied. */
export const decodeRecord = (id: string, value: Uint8Array): StoredRecord => {
  const rowEnd = value.length < recordHead ? 0 : recordHead + getU32(value, 12);
  if (value[0] !== recordFormat || rowEnd === 0 || rowEnd > value.length)
    throw new TidemarkError('storage-damaged', 'a stored record has another form');
  return {
    id,
    version: { incarnation: getU32(value, 2), n: getU48(value, 6) },
    deleted: ((value[1] as number) & deletedFlag) !== 0,
    row: viewOf(value, recordHead, rowEnd),
    extra: viewOf(value, rowEnd, value.length),
  };
};

/** Value of a segment: the first version that it holds, then the bytes as they came. */
export const encodeSegment = (segment: Segment): Uint8Array => {
  const value = new Uint8Array(segmentHead + segment.bytes.length);
  value[0] = segmentFormat;
  setU48(value, 1, segment.first);
  value.set(segment.bytes, segmentHead);
  return value;
};

/** Reads the value of a segment; `bytes` is a view of it. Throws `storage-damaged` for another form. */
export const decodeSegment = (place: SegmentPlace, value: Uint8Array): Segment => {
  if (value[0] !== segmentFormat || value.length < segmentHead)
    throw new TidemarkError('storage-damaged', 'a stored segment has another form');
  return {
    table: place.table,
    incarnation: place.incarnation,
    first: getU48(value, 1),
    last: place.last,
    bytes: viewOf(value, segmentHead, value.length),
  };
};

/** Plain view of a part: one object, where a Buffer's `subarray` of a plain view would make two. */
const viewOf = (value: Uint8Array, from: number, to: number): Uint8Array =>
  new Uint8Array(value.buffer, value.byteOffset + from, to - from);
