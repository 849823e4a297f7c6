import { invariant, newBytes } from '@tidemark/model';
import { put, type Database, type DatabaseOperation } from './database.js';
import { getU48, setU48, space } from './keys.js';

/**
 * Number of newest batches whose ordinals are kept. LevelDB loses batches out of its `.log`, which holds at
 * most one write buffer (16 MB on devices): 16,384 slots cover it for batches of 1 kB and more; operations in
 * smaller ones the chain of the log tells of.
 */
export const ringSlots = 16_384;
/** Maximum bytes of the note that a batch leaves beside its ordinal. */
export const ringNoteBytesMax = 64;

const ordinalBytes = 6;
const noNote = new Uint8Array(0);
const headKey = new Uint8Array([space.meta, 0x02]);
const floorKey = new Uint8Array([space.meta, 0x03]);

const slotKey = (ordinal: number): Uint8Array => {
  const slot = ordinal % ringSlots;
  const key = newBytes(3);
  key[0] = space.ring;
  key[1] = slot >>> 8;
  key[2] = slot;
  return key;
};

const ordinalValue = (ordinal: number, note: Uint8Array): Uint8Array => {
  invariant(note.length <= ringNoteBytesMax, 'the note of a batch is too long');
  const value = newBytes(ordinalBytes + note.length);
  setU48(value, 0, ordinal);
  value.set(note, ordinalBytes);
  return value;
};

/** Run of consecutive batches, by ordinal, both ends inclusive. */
export interface OrdinalRange {
  readonly first: number;
  readonly last: number;
}

/** What the ring told at open. */
export interface RingState {
  /** Ordinal of the newest batch; 0 when nothing was written yet. */
  readonly head: number;
  /** Note of the newest batch: what its writer said the store held then. */
  readonly note: Uint8Array;
  /** Batches that were written before the newest one and are missing, oldest first. */
  readonly lost: readonly OrdinalRange[];
  readonly lostCount: number;
}

/**
 * Operations that make a batch countable: its ordinal into its slot, and ordinal and note into the head.
 * They belong into the same atomic batch. The ordinals of a store run from 1 without a gap.
 */
export const ringOperations = (ordinal: number, note: Uint8Array): DatabaseOperation[] => [
  put(slotKey(ordinal), ordinalValue(ordinal, noNote)),
  put(headKey, ordinalValue(ordinal, note)),
];

/**
 * Operation that ends the reports of batches lost up to `ordinal`: it belongs into the batch with which
 * the owner of the store reacts to the loss.
 */
export const acknowledgeLoss = (ordinal: number): DatabaseOperation =>
  put(floorKey, ordinalValue(ordinal, new Uint8Array(0)));

/** Ordinals in the ring. Each tells its own slot, so keys are not fetched. */
const readOrdinals = async (database: Database): Promise<Set<number>> => {
  const ordinals = new Set<number>();
  const iterator = database.values({
    gte: new Uint8Array([space.ring]),
    lt: new Uint8Array([space.ring + 1]),
  });
  try {
    for (;;) {
      const values = await iterator.nextv(1_000);
      if (values.length === 0) return ordinals;
      for (const value of values) ordinals.add(getU48(value, 0));
    }
  } finally {
    await iterator.close();
  }
};

/**
 * Compares the ring with the newest ordinal: every one of the newest `ringSlots` batches above the
 * acknowledged floor must be in its slot. A lost tail takes its ordinals along and does not show here.
 */
export const verifyRing = async (database: Database): Promise<RingState> => {
  const [headValue, floorValue] = await database.getMany([headKey, floorKey]);
  const ordinals = await readOrdinals(database);
  let head = headValue === undefined ? 0 : getU48(headValue, 0);
  const headStored = head;
  // A repair may bring back an older head: the slots then know better, and the note is not theirs.
  for (const ordinal of ordinals) head = Math.max(head, ordinal);
  const floor = floorValue === undefined ? 0 : getU48(floorValue, 0);
  const lost: { first: number; last: number }[] = [];
  let lostCount = 0;
  for (let n = Math.max(floor, head - ringSlots) + 1; n <= head; n += 1) {
    if (ordinals.has(n)) continue;
    lostCount += 1;
    const open = lost.at(-1);
    if (open !== undefined && open.last === n - 1) open.last = n;
    else lost.push({ first: n, last: n });
  }
  const note =
    headValue === undefined || head > headStored
      ? new Uint8Array(0)
      : new Uint8Array(headValue).slice(ordinalBytes);
  return { head, note, lost, lostCount };
};

/** Prints ranges as `12..17, 20..20`: at most eight of them, then the number of the others. */
export const printRanges = (ranges: readonly OrdinalRange[]): string => {
  const shown = ranges.slice(0, 8).map(({ first, last }) => `${first}..${last}`);
  const more = ranges.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more ranges` : shown.join(', ');
};
