import { messageBytesMax } from '@tidemark/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AnswerPieces } from './answer-pieces.js';

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
        const pieces = new AnswerPieces();
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
  const pieces = new AnswerPieces();
  pieces.add(new Uint8Array(3).fill(1), 5);
  pieces.add(new Uint8Array(2).fill(2), undefined);
  const whole = pieces.whole();
  expect([...whole]).toEqual([1, 1, 1, 2, 2]);
  expect(whole.buffer.byteLength).toBe(5);
});
