import { TidemarkError } from '@tidemark/model';
import type { Marker } from '@tidemark/ports';
import type { SeededRandom } from '../convergence/seeded-random.js';
import type { Life } from './scheduler.js';

/** Batches of a disk that can still be taken back or lost: LevelDB loses them out of its `.log`. */
export const journalBatchesMax = 64;

/** Content of a database at one moment: keys in order with their values. Never changed, only replaced. */
export interface Image {
  readonly keys: readonly Uint8Array[];
  readonly values: readonly Uint8Array[];
}

/** Operation of a batch; `value` undefined deletes. */
export interface DiskOperation {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

interface JournalBatch {
  readonly before: Image;
  readonly operations: readonly DiskOperation[];
  isSynced: boolean;
}

/** Everything of a disk at one moment, as a backup holds it. */
export interface DiskBackup {
  readonly image: Image;
  readonly exists: boolean;
  readonly marker: Uint8Array | undefined;
}

const emptyImage: Image = { keys: [], values: [] };

/** Orders keys as LevelDB does: by bytes, the shorter first. */
export const compareKeys = (a: Uint8Array, b: Uint8Array): number => {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
};

/** Index of the first key that is not before `key`. */
export const lowerBound = (keys: readonly Uint8Array[], key: Uint8Array): number => {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareKeys(keys[middle] as Uint8Array, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
};

const applied = (image: Image, operations: readonly DiskOperation[]): Image => {
  const keys = image.keys.slice();
  const values = image.values.slice();
  for (const { key, value } of operations) {
    const at = lowerBound(keys, key);
    const found = keys[at];
    const isThere = found !== undefined && compareKeys(found, key) === 0;
    if (value === undefined) {
      if (!isThere) continue;
      keys.splice(at, 1);
      values.splice(at, 1);
    } else if (isThere) values[at] = value;
    else {
      keys.splice(at, 0, key);
      values.splice(at, 0, value);
    }
  }
  return { keys, values };
};

/** Faults that a disk has now. */
export interface DiskFaults {
  /** Milliseconds that a write takes at most; 0 gives it its turn at once. */
  writeMsMax: number;
  readMsMax: number;
  /** Calls until reads or writes fail once; negative: never. */
  failIn: number;
  /** All calls fail. */
  broken: boolean;
  /** Writes fail: no space is left. */
  full: boolean;
  /** Fsyncs say that they happened, and did not. */
  liesOnSync: boolean;
}

const noFaults = (): DiskFaults => ({
  writeMsMax: 2,
  readMsMax: 0,
  failIn: -1,
  broken: false,
  full: false,
  liesOnSync: false,
});

/** Error as abstract-level databases give it. */
export const diskError = (code: string, message: string): Error =>
  Object.assign(new Error(message), { code });

/**
 * Disk of one database with the marker beside it. It outlives the processes that use it; batches are
 * atomic, and what was not fsynced may be lost by a power cut, newest first.
 */
export class SimDisk {
  readonly name: string;
  readonly random: SeededRandom;
  faults: DiskFaults = noFaults();
  exists = false;
  /** Faults that took effect. */
  injected = 0;
  image: Image = emptyImage;
  marker: Uint8Array | undefined;
  #journal: JournalBatch[] = [];

  constructor(name: string, random: SeededRandom) {
    this.name = name;
    this.random = random;
  }

  /** Applies a batch in one piece. */
  apply(operations: readonly DiskOperation[], isSynced: boolean): void {
    this.#journal.push({ before: this.image, operations, isSynced: false });
    if (this.#journal.length > journalBatchesMax) this.#journal.shift();
    this.image = applied(this.image, operations);
    if (isSynced && !this.faults.liesOnSync)
      for (const batch of this.#journal) batch.isSynced = true;
  }

  /** Throws if the disk fails now. */
  check(isWrite: boolean): void {
    const { faults } = this;
    if (faults.failIn >= 0) {
      faults.failIn -= 1;
      if (faults.failIn < 0) {
        this.injected += 1;
        throw diskError('LEVEL_IO_ERROR', 'the disk failed once');
      }
    }
    if (faults.broken) {
      this.injected += 1;
      throw diskError('LEVEL_IO_ERROR', 'the disk fails');
    }
    if (isWrite && faults.full) {
      this.injected += 1;
      throw diskError('LEVEL_IO_ERROR', 'no space is left on the disk');
    }
  }

  writeMs(): number {
    return this.faults.writeMsMax === 0 ? 0 : this.random.below(this.faults.writeMsMax + 1);
  }

  readMs(): number {
    return this.faults.readMsMax === 0 ? 0 : this.random.below(this.faults.readMsMax + 1);
  }

  /** What a power cut leaves: a part of what was not fsynced is gone, the newest first. Tells how much. */
  cutPower(): number {
    const unsynced = this.#journal.filter(({ isSynced }) => !isSynced).length;
    const lost = unsynced === 0 ? 0 : this.random.below(unsynced + 1);
    const first = this.#journal[this.#journal.length - lost];
    if (lost > 0 && first !== undefined) this.image = first.before;
    this.#journal = [];
    return lost;
  }

  /** Loses batches out of the middle or from the end, as LevelDB does with a flipped bit. Tells how many. */
  loseBatches(): number {
    const journal = this.#journal;
    if (journal.length < 2) return 0;
    const from = this.random.below(journal.length);
    const count = 1 + this.random.below(Math.min(3, journal.length - from));
    let image = (journal[from] as JournalBatch).before;
    for (const { operations } of journal.slice(from + count)) image = applied(image, operations);
    this.image = image;
    this.#journal = [];
    return count;
  }

  /** Loses the database; with `withMarker` the folder around it, too. */
  wipe(withMarker: boolean): void {
    this.image = emptyImage;
    this.exists = false;
    this.#journal = [];
    if (withMarker) this.marker = undefined;
  }

  backup(): DiskBackup {
    return { image: this.image, exists: this.exists, marker: this.marker };
  }

  /** Puts a backup back; without `withMarker` only the database. */
  restore(backup: DiskBackup, withMarker: boolean): void {
    this.image = backup.image;
    this.exists = backup.exists;
    this.#journal = [];
    if (withMarker) this.marker = backup.marker;
  }

  heal(): void {
    this.faults = noFaults();
  }

  /** Marker port of a process on this disk: replaced in one piece, durably. */
  markerOf(life: Life): Marker {
    const fail = (cause: unknown): never => {
      throw new TidemarkError('storage-unavailable', 'the marker cannot be reached', {}, cause);
    };
    const checked = (isWrite: boolean): void => {
      try {
        this.check(isWrite);
      } catch (cause) {
        fail(cause);
      }
    };
    return {
      read: () =>
        life.now(() => {
          checked(false);
          return this.marker;
        }),
      write: (bytes) =>
        life.call(this.writeMs(), () => {
          checked(true);
          this.marker = bytes.slice();
        }),
    };
  }
}
