import { TidemarkError } from '@tidemark/model';
import type { InputMessage, InputPosition } from '@tidemark/ports';
import { plain } from './database.js';
import { getU32, getU48, setU32, setU48 } from './keys.js';

/*
 * Keys and values of an input log, within the range that keys.ts leaves to it.
 *
 *   0x60 messages   + generation u32 + seq u48     format u8, time in ms u48, bytes
 *   0x61 end        one key                        format u8, generation u32, seq u48, time u48
 *   0x62 seals      + generation u32               format u8, last seq u48
 *   0x63 trimmed    one key                        format u8, generation u32, seq u48
 */
const messageSpace = 0x60;
const endSpace = 0x61;
const sealSpace = 0x62;
const trimmedSpace = 0x63;
const valueFormat = 1;
const messageHead = 7;

/** End of an input: the position of the newest message and the greatest time given so far. */
export interface InputEnd extends InputPosition {
  readonly atMs: number;
}

export const endKey = Uint8Array.of(endSpace);
export const trimmedKey = Uint8Array.of(trimmedSpace);

export const messageKey = ({ generation, seq }: InputPosition): Uint8Array => {
  const key = new Uint8Array(11);
  key[0] = messageSpace;
  setU32(key, 1, generation);
  setU48(key, 5, seq);
  return key;
};

export const messagePosition = (key: Uint8Array): InputPosition => ({
  generation: getU32(key, 1),
  seq: getU48(key, 5),
});

export const sealKey = (generation: number): Uint8Array => {
  const key = new Uint8Array(5);
  key[0] = sealSpace;
  setU32(key, 1, generation);
  return key;
};

export const sealGeneration = (key: Uint8Array): number => getU32(key, 1);

/** First key after a space of keys. */
export const messagesEnd = Uint8Array.of(messageSpace + 1);
export const sealsEnd = Uint8Array.of(sealSpace + 1);

export const encodeMessage = (atMs: number, bytes: Uint8Array): Uint8Array => {
  const value = new Uint8Array(messageHead + bytes.length);
  value[0] = valueFormat;
  setU48(value, 1, atMs);
  value.set(bytes, messageHead);
  return value;
};

export const decodeMessage = (position: InputPosition, value: Uint8Array): InputMessage => {
  checkFormat(value, messageHead);
  return { position, atMs: getU48(value, 1), bytes: plain(value).subarray(messageHead) };
};

export const encodeEnd = ({ generation, seq, atMs }: InputEnd): Uint8Array => {
  const value = new Uint8Array(17);
  value[0] = valueFormat;
  setU32(value, 1, generation);
  setU48(value, 5, seq);
  setU48(value, 11, atMs);
  return value;
};

export const decodeEnd = (value: Uint8Array): InputEnd => {
  checkFormat(value, 17);
  return { generation: getU32(value, 1), seq: getU48(value, 5), atMs: getU48(value, 11) };
};

export const encodePosition = ({ generation, seq }: InputPosition): Uint8Array => {
  const value = new Uint8Array(11);
  value[0] = valueFormat;
  setU32(value, 1, generation);
  setU48(value, 5, seq);
  return value;
};

export const decodePosition = (value: Uint8Array): InputPosition => {
  checkFormat(value, 11);
  return { generation: getU32(value, 1), seq: getU48(value, 5) };
};

export const encodeSeal = (last: number): Uint8Array => {
  const value = new Uint8Array(7);
  value[0] = valueFormat;
  setU48(value, 1, last);
  return value;
};

export const decodeSeal = (value: Uint8Array): number => {
  checkFormat(value, 7);
  return getU48(value, 1);
};

export const comparePositions = (a: InputPosition, b: InputPosition): number =>
  a.generation === b.generation ? a.seq - b.seq : a.generation - b.generation;

const checkFormat = (value: Uint8Array, bytesMin: number): void => {
  if (value[0] !== valueFormat || value.length < bytesMin)
    throw new TidemarkError('storage-damaged', 'a stored value of the input has another form');
};
