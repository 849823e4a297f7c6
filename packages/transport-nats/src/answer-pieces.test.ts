import { messageBytesMax } from '@tidemark/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AnswerPieces } from './answer-pieces.js';
import { answerRoomBytesMin, AnswerRooms } from './answer-rooms.js';

/** What a server may say that an answer has: nothing, what older ones say, the truth, and what is no number of bytes. */
const announced = fc.constantFrom(
  undefined,
  1,
  0,
  -3,
  40,
  41,
  Number.NaN,
  0.5,
  messageBytesMax + 1,
);

it('[NAT-53] an answer in parts is what came, whatever was announced, and has bytes of its own', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1 }),
      announced,
      (all, said) => {
        const pieces = new AnswerPieces(new AnswerRooms());
        const whole = all.flatMap((part) => [...part]);
        const buffer = new Uint8Array(40);
        for (const part of all) {
          // The connection reads on into the same bytes.
          buffer.set(part);
          pieces.add(buffer.subarray(0, part.length), said === 41 ? whole.length : said);
          buffer.fill(0xee);
        }
        expect(pieces.bytes).toBe(whole.length);
        expect([...pieces.whole()]).toEqual(whole);
      },
    ),
  );
});

it('[NAT-53] parts that come as announced are copied once, to their place', () => {
  const pieces = new AnswerPieces(new AnswerRooms());
  pieces.add(new Uint8Array(3).fill(1), 5);
  pieces.add(new Uint8Array(2).fill(2), undefined);
  const whole = pieces.whole();
  expect([...whole]).toEqual([1, 1, 1, 2, 2]);
  expect(whole.buffer.byteLength).toBe(5);
});

it('[NAT-53] the room of an answer holds a later one when it was given back, and not before', () => {
  const rooms = new AnswerRooms();
  const answerOf = (byte: number): Uint8Array => {
    const pieces = new AnswerPieces(rooms);
    pieces.add(new Uint8Array(answerRoomBytesMin).fill(byte), answerRoomBytesMin);
    return pieces.whole();
  };
  const [kept, read] = [answerOf(1), answerOf(2)];
  rooms.give(read);
  const [later, last] = [answerOf(3), answerOf(4)];
  expect(later.buffer).toBe(read.buffer);
  expect(last.buffer).not.toBe(later.buffer);
  // Given back once more, or never given away: nobody gets the room of an answer that is being read.
  rooms.give(read);
  rooms.give(new Uint8Array(later.buffer));
  rooms.give(new Uint8Array(answerRoomBytesMin));
  answerOf(5);
  for (const [byte, answer] of [kept, later, last].map((one, i) => [[1, 3, 4][i], one] as const))
    expect(answer.every((found) => found === byte)).toBe(true);
});
