import { concatBytes } from '@tidemark/model';
import { UndecodableError } from './byte-reader.js';

/** Largest number of changes in one run: what one operation carries. */
export const changesPerRunMax = 10_000;

const lengthBytes = 4;

/** Joins change chunks into one run: each with its length in front, 4 bytes big-endian. */
export const joinChanges = (changes: readonly Uint8Array[]): Uint8Array =>
  concatBytes(
    changes.flatMap((change) => {
      const length = new Uint8Array(lengthBytes);
      new DataView(length.buffer).setUint32(0, change.length);
      return [length, change];
    }),
  );

/**
 * Splits a run into its change chunks, as views on the same memory.
 * Throws UndecodableError on malformed bytes and over `changesPerRunMax` changes.
 */
export const splitChanges = (run: Uint8Array): Uint8Array[] => {
  const view = new DataView(run.buffer, run.byteOffset, run.byteLength);
  const changes: Uint8Array[] = [];
  let at = 0;
  while (at < run.length) {
    if (changes.length === changesPerRunMax)
      throw new UndecodableError('too many changes in a run');
    if (run.length - at < lengthBytes) throw new UndecodableError('a run ends early');
    const end = at + lengthBytes + view.getUint32(at);
    if (end > run.length) throw new UndecodableError('a run ends early');
    changes.push(run.subarray(at + lengthBytes, end));
    at = end;
  }
  return changes;
};
