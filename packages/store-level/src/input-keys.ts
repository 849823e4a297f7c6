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

/** The one key of the end of an input; its value is an `InputEnd`. */
export const endKey = Uint8Array.of(endSpace);
/** The one key of the last trimmed message; absent while nothing was trimmed. */
export const trimmedKey = Uint8Array.of(trimmedSpace);

/** Key of a message: keys order by generation, then number. */
export const messageKey = ({ generation, seq }: InputPosition): Uint8Array => {
  const key = new Uint8Array(11);
  key[0] = messageSpace;
  setU32(key, 1, generation);
  setU48(key, 5, seq);
  return key;
};

/** Position within the key of a message. */
export const messagePosition = (key: Uint8Array): InputPosition => ({
  generation: getU32(key, 1),
  seq: getU48(key, 5),
});

/** Key of the seal that a generation got when the next one began. */
export const sealKey = (generation: number): Uint8Array => {
  const key = new Uint8Array(5);
  key[0] = sealSpace;
  setU32(key, 1, generation);
  return key;
};

/** Generation within the key of a seal. */
export const sealGeneration = (key: Uint8Array): number => getU32(key, 1);

/** First key after all messages. */
export const messagesEnd = Uint8Array.of(messageSpace + 1);
/** First key after all seals. */
export const sealsEnd = Uint8Array.of(sealSpace + 1);

/** Value of a message: format, time in milliseconds since 1970, then the bytes as they came. */
export const encodeMessage = (atMs: number, bytes: Uint8Array): Uint8Array => {
  const value = new Uint8Array(messageHead + bytes.length);
  value[0] = valueFormat;
  setU48(value, 1, atMs);
  value.set(bytes, messageHead);
  return value;
};

/** Reads the value of a message; `bytes` is a view of it. Throws `storage-damaged` for another form. */
export const decodeMessage = (position: InputPosition, value: Uint8Array): InputMessage => {
  checkFormat(value, messageHead);
  return { position, atMs: getU48(value, 1), bytes: plain(value).subarray(messageHead) };
};

/** Value of the end of an input. */
export const encodeEnd = ({ generation, seq, atMs }: InputEnd): Uint8Array => {
  const value = new Uint8Array(17);
  value[0] = valueFormat;
  setU32(value, 1, generation);
  setU48(value, 5, seq);
  setU48(value, 11, atMs);
  return value;
};

/** Reads the end of an input. Throws `storage-damaged` for another form. */
export const decodeEnd = (value: Uint8Array): InputEnd => {
  checkFormat(value, 17);
  return { generation: getU32(value, 1), seq: getU48(value, 5), atMs: getU48(value, 11) };
};

/** Value that holds a position: that of the last trimmed message. */
export const encodePosition = ({ generation, seq }: InputPosition): Uint8Array => {
  const value = new Uint8Array(11);
  value[0] = valueFormat;
  setU32(value, 1, generation);
  setU48(value, 5, seq);
  return value;
};

/** Reads a value that holds a position. Throws `storage-damaged` for another form. */
export const decodePosition = (value: Uint8Array): InputPosition => {
  checkFormat(value, 11);
  return { generation: getU32(value, 1), seq: getU48(value, 5) };
};

/** Value of a seal: the number of the last message of its generation, 0 when it had none. */
export const encodeSeal = (last: number): Uint8Array => {
  const value = new Uint8Array(7);
  value[0] = valueFormat;
  setU48(value, 1, last);
  return value;
};

/** Reads the last number of a sealed generation. Throws `storage-damaged` for another form. */
export const decodeSeal = (value: Uint8Array): number => {
  checkFormat(value, 7);
  return getU48(value, 1);
};

/** Orders positions by generation, then number: below 0 when `a` comes first. */
export const comparePositions = (a: InputPosition, b: InputPosition): number =>
  a.generation === b.generation ? a.seq - b.seq : a.generation - b.generation;

const checkFormat = (value: Uint8Array, bytesMin: number): void => {
  if (value[0] !== valueFormat || value.length < bytesMin)
    throw new TidemarkError('storage-damaged', 'a stored value of the input has another form');
};
