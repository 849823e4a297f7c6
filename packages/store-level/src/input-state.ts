import type { InputPosition } from '@tidemark/ports';
import type { Database } from './database.js';
import {
  comparePositions,
  decodeEnd,
  decodeMessage,
  decodePosition,
  decodeSeal,
  endKey,
  messageKey,
  messagePosition,
  messagesEnd,
  sealGeneration,
  sealKey,
  sealsEnd,
  trimmedKey,
  type InputEnd,
} from './input-keys.js';
import type { OrdinalRange } from './ordinal-ring.js';
import { scanKeys } from './server-reads.js';

/** Messages examined at open when nothing points to damage: the newest ones. */
export const verifyMessagesMax = 200_000;
/**
 * Bytes examined at open when nothing points to damage. LevelDB loses messages out of its `.log` files,
 * which hold two write buffers of 16 MB at most.
 */
export const verifyBytesMax = 64 * 1024 * 1024;

/** What an input log keeps in memory: its ends, and the last message of each earlier generation. */
export interface InputState {
  readonly end: InputEnd;
  /** Everything at or before it is gone on purpose. */
  readonly trimmed: InputPosition;
  readonly seals: ReadonlyMap<number, number>;
}

/** An input before its first message: generation 1 exists from the beginning. */
const firstEnd: InputEnd = { generation: 1, seq: 0, atMs: 0 };

/** Reads the state. The newest message counts more than the end key, which a repair may take back. */
export const readInputState = async (database: Database): Promise<InputState> => {
  const [endValue, trimmedValue] = await database.getMany([endKey, trimmedKey]);
  let end = endValue === undefined ? firstEnd : decodeEnd(endValue);
  await scanKeys(
    database,
    { gt: messageKey(end), lt: messagesEnd, reverse: true },
    { entries: 1, bytes: 0 },
    (key, value) => {
      const { position, atMs } = decodeMessage(messagePosition(key), value);
      end = { ...position, atMs: Math.max(atMs, end.atMs) };
      return false;
    },
  );
  const seals = new Map<number, number>();
  await scanKeys(
    database,
    { gte: sealKey(0), lt: sealsEnd },
    { entries: Number.POSITIVE_INFINITY, bytes: verifyBytesMax },
    (key, value) => {
      seals.set(sealGeneration(key), decodeSeal(value));
      return true;
    },
  );
  const trimmed =
    trimmedValue === undefined ? { generation: 1, seq: 0 } : decodePosition(trimmedValue);
  return { end, trimmed, seals };
};

/** First message still kept in the current generation; one after the end when there is none. */
export const firstKept = ({ end, trimmed }: InputState): number =>
  trimmed.generation === end.generation ? trimmed.seq + 1 : 1;

/** What the verification of the current generation found. */
export interface InputHoles {
  readonly ranges: readonly OrdinalRange[];
  readonly count: number;
}

/**
 * Looks for missing messages in the current generation, from its end back to its first kept message or,
 * unless `whole`, to the bounds.
 */
export const findInputHoles = async (
  database: Database,
  state: InputState,
  whole: boolean,
): Promise<InputHoles> => {
  const { generation, seq: last } = state.end;
  const first = firstKept(state);
  const ranges: OrdinalRange[] = [];
  let count = 0;
  /** All from here to the end has been looked at. */
  let seen = last + 1;
  let bytes = 0;
  let examined = 0;
  const miss = (from: number): void => {
    if (from >= seen) return;
    ranges.push({ first: from, last: seen - 1 });
    count += seen - from;
  };
  let bounded = false;
  await scanKeys(
    database,
    {
      gte: messageKey({ generation, seq: first }),
      lte: messageKey({ generation, seq: last }),
      reverse: true,
    },
    { entries: Number.POSITIVE_INFINITY, bytes: verifyBytesMax },
    (key, value) => {
      const { seq } = messagePosition(key);
      miss(seq + 1);
      seen = seq;
      bytes += value.length;
      examined += 1;
      bounded = !whole && (examined >= verifyMessagesMax || bytes >= verifyBytesMax);
      return !bounded;
    },
  );
  if (!bounded) miss(first);
  return { ranges: ranges.reverse(), count };
};

/** Position that follows `position`, across sealed generations; undefined when it is the end. */
export const nextPosition = (
  state: InputState,
  position: InputPosition,
): InputPosition | undefined => {
  if (comparePositions(position, state.end) >= 0) return undefined;
  const last = state.seals.get(position.generation);
  return last !== undefined && position.seq >= last
    ? { generation: position.generation + 1, seq: 1 }
    : { generation: position.generation, seq: position.seq + 1 };
};
