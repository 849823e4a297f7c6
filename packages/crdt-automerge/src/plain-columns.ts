import { concatBytes } from '@tidemark/model';
import { ByteReader, UndecodableError, ulebBytes } from './byte-reader.js';

/** Stands for an absent value in a column of numbers: real values are never negative. */
export const absent = -1;

/** Bytes of a signed LEB128 integer in its shortest form. */
export const slebBytes = (value: number): number[] => {
  const out: number[] = [];
  let rest = value;
  for (;;) {
    const low = ((rest % 128) + 128) % 128;
    rest = (rest - low) / 128;
    const done = (rest === 0 && low < 64) || (rest === -1 && low >= 64);
    out.push(done ? low : low | 128);
    if (done) return out;
  }
};

/*
 * Run-length rows: a positive count repeats the value after it, a negative one announces that many
 * single values, 0 is followed by a count of absent values.
 */
const readRuns = (
  bytes: Uint8Array,
  rows: number,
  put: (at: number, value: number | undefined) => void,
  readValue: (reader: ByteReader) => number,
): void => {
  const reader = new ByteReader(bytes);
  let at = 0;
  while (!reader.done) {
    const run = reader.sleb();
    const count = run === 0 ? reader.uleb() : Math.abs(run);
    if (count > rows - at) throw new UndecodableError('too many rows in a column');
    const end = at + count;
    if (run < 0) for (; at < end; at += 1) put(at, readValue(reader));
    else {
      const value = run === 0 ? undefined : readValue(reader);
      for (; at < end; at += 1) put(at, value);
    }
  }
};

/** Reads `rows` numbers of a run-length column; what the column lacks is `absent`. Throws UndecodableError. */
export const readNumbers = (bytes: Uint8Array, rows: number): number[] => {
  const out = Array.from({ length: rows }, () => absent);
  readRuns(
    bytes,
    rows,
    (at, value) => {
      if (value !== undefined) out[at] = value;
    },
    (reader) => reader.uleb(),
  );
  return out;
};

/** Reads `rows` numbers stored as differences; what the column lacks is `absent`. Throws UndecodableError. */
export const readDeltas = (bytes: Uint8Array, rows: number): number[] => {
  const out = Array.from({ length: rows }, () => absent);
  let last = 0;
  readRuns(
    bytes,
    rows,
    (at, value) => {
      if (value === undefined) return;
      last += value;
      if (last < 0 || !Number.isSafeInteger(last)) throw new UndecodableError('negative number');
      out[at] = last;
    },
    (reader) => reader.sleb(),
  );
  return out;
};

/** Reads `rows` booleans; what the column lacks is false. Throws UndecodableError. */
export const readBooleans = (bytes: Uint8Array, rows: number): boolean[] => {
  const out = Array.from({ length: rows }, () => false);
  const reader = new ByteReader(bytes);
  let at = 0;
  for (let value = false; !reader.done; value = !value) {
    const count = reader.uleb();
    if (count > rows - at) throw new UndecodableError('too many rows in a column');
    if (value) out.fill(true, at, at + count);
    at += count;
  }
  return out;
};

const writeRuns = (
  values: readonly (number | undefined)[],
  bytesOf: (value: number) => number[],
): Uint8Array => {
  const parts: Uint8Array[] = [];
  let literals: number[][] = [];
  const flush = (): void => {
    if (literals.length > 0) parts.push(Uint8Array.from([...slebBytes(-literals.length)]));
    for (const bytes of literals) parts.push(Uint8Array.from(bytes));
    literals = [];
  };
  for (let at = 0; at < values.length;) {
    const value = values[at];
    let end = at + 1;
    while (end < values.length && values[end] === value) end += 1;
    if (value === undefined) {
      flush();
      parts.push(Uint8Array.from([0, ...ulebBytes(end - at)]));
    } else if (end - at === 1) literals.push(bytesOf(value));
    else {
      flush();
      parts.push(Uint8Array.from([...slebBytes(end - at), ...bytesOf(value)]));
    }
    at = end;
  }
  flush();
  return concatBytes(parts);
};

/** Writes numbers as Automerge does; a column of nothing but `absent` is empty. */
export const writeNumbers = (values: readonly number[]): Uint8Array =>
  values.every((value) => value === absent)
    ? new Uint8Array(0)
    : writeRuns(
        values.map((value) => (value === absent ? undefined : value)),
        ulebBytes,
      );

/** Writes numbers as differences, as Automerge does. */
export const writeDeltas = (values: readonly number[]): Uint8Array => {
  if (values.every((value) => value === absent)) return new Uint8Array(0);
  let last = 0;
  const deltas = values.map((value) => {
    if (value === absent) return undefined;
    const delta = value - last;
    last = value;
    return delta;
  });
  return writeRuns(deltas, slebBytes);
};

/** Writes booleans as alternating run lengths that begin with false, as Automerge does. */
export const writeBooleans = (values: readonly boolean[]): Uint8Array => {
  const out: number[] = [];
  let last = false;
  let run = 0;
  for (const value of values) {
    if (value === last) run += 1;
    else {
      out.push(...ulebBytes(run));
      last = value;
      run = 1;
    }
  }
  if (run > 0) out.push(...ulebBytes(run));
  return Uint8Array.from(out);
};
