import { expect, it } from 'vitest';
import { appendBytes } from './appended-bytes.js';

const of = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

it('[CRD-2] versions that share memory stay as they were, also where two follow one', () => {
  const start = of(1, 2, 3, 4);
  const first = appendBytes(start, [of(5), of(6, 7)]);
  const second = appendBytes(first, [of(8)]);
  const other = appendBytes(first, [of(9)]);
  const third = appendBytes(second, [of(10)]);
  const behind = appendBytes(second.subarray(1), [of(11)]);
  expect(second.buffer).toBe(first.buffer);
  expect(other.buffer).not.toBe(first.buffer);
  expect([...start]).toEqual([1, 2, 3, 4]);
  expect([...first]).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect([...second]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect([...other]).toEqual([1, 2, 3, 4, 5, 6, 7, 9]);
  expect([...third]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 10]);
  expect([...behind]).toEqual([2, 3, 4, 5, 6, 7, 8, 11]);
});
