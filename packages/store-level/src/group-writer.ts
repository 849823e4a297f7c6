import { TidemarkError } from '@tidemark/model';
import type { Durability } from '@tidemark/ports';
import type { Database, DatabaseOperation } from './database.js';
import { acknowledgeLoss, ringOperations, verifyRing, type RingState } from './ordinal-ring.js';
import { guarded, isCorruption, storageError } from './storage-error.js';

/** Maximum number of writes that wait; the next one is refused. */
export const waitingWritesMax = 10_000;
/** Maximum number of operations in one physical batch, except that a single write is never split. */
export const groupOperationsMax = 20_000;
/** Most operations of a batch that is given as a list, and not as a chain: longer lists take longer. */
const listedOperationsMax = 1_000;
/**
 * Bytes of values from which on a batch is given as a list: LevelDB's copy of it is freed once it is written, that
 * of a chain when it is collected.
 */
const listedBytesMin = 64 * 1_024;

interface Waiting {
  readonly operations: readonly DatabaseOperation[];
  readonly durability: Durability;
  /** Undefined: the note stays as it is. */
  readonly note: Uint8Array | undefined;
  readonly answersLoss: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Options of a GroupWriter. */
export interface GroupWriterOptions {
  readonly database: Database;
  readonly ring: RingState;
  /** Ordinal that the marker knows to be fsynced: ordinals above it are given out, never below. */
  readonly ordinalAtLeast?: number;
  /**
   * Called after the database was opened again behind a failed write: what was cached must be read anew.
   * `before` is the newest ordinal that had been applied.
   */
  readonly onReopened?: (ring: RingState, before: number) => Promise<void>;
  /** Called with the operations of each write directly before its batch: no reopening comes between. */
  readonly onBatch?: (operations: readonly DatabaseOperation[]) => void;
}

/**
 * GroupWriter is the one way into a database: it numbers each physical batch in the ring, keeps the order
 * of calls, and lets writers at `disk` that wait together share one fsync. A writer at `os` never waits
 * for an fsync of its own.
 *
 * After a failed write nothing behind it is applied: all waiting writes are rejected too, and the next
 * write opens the database again first, because LevelDB refuses every put after an I/O error and may
 * have torn its log. Whether the failed batch itself was applied is known only then.
 */
export class GroupWriter {
  readonly #database: Database;
  readonly #onReopened: GroupWriterOptions['onReopened'];
  readonly #onBatch: GroupWriterOptions['onBatch'];
  #lossReported: boolean;
  #reopening: Promise<void> | undefined;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #ordinal: number;
  #durableOrdinal: number;
  /** Note of the newest batch applied: what waits may fail, and must not be told of. */
  #note: Uint8Array;
  #broken = false;
  #closed = false;
  #corrupted = false;

  constructor({ database, ring, ordinalAtLeast = 0, onReopened, onBatch }: GroupWriterOptions) {
    this.#database = database;
    this.#onReopened = onReopened;
    this.#onBatch = onBatch;
    this.#ordinal = Math.max(ring.head, ordinalAtLeast);
    this.#durableOrdinal = 0;
    this.#note = ring.note;
    this.#lossReported = ring.lostCount > 0 || ordinalAtLeast > ring.head;
  }

  /** Ordinal of the newest batch applied. */
  get ordinal(): number {
    return this.#ordinal;
  }

  /** Ordinal up to which this writer has fsynced; 0 before its first fsync. */
  get durableOrdinal(): number {
    return this.#durableOrdinal;
  }

  /** True after a write or its reopening reported corruption. */
  get corrupted(): boolean {
    return this.#corrupted;
  }

  /** True when the next write would be refused because too many wait. */
  get full(): boolean {
    return this.#waiting.length >= waitingWritesMax;
  }

  /** True while a failed write waits for the database to be opened again. */
  get broken(): boolean {
    return this.#broken;
  }

  /**
   * Applies operations atomically; resolves at the durability asked for. `note` (at most 64 bytes) is
   * kept beside the ordinal and returned by `verifyRing`; without it the last note stays. `answersLoss`
   * ends the reports of lost batches.
   */
  write(
    operations: readonly DatabaseOperation[],
    durability: Durability,
    note?: Uint8Array,
    answersLoss = false,
  ): Promise<void> {
    if (this.#closed)
      return Promise.reject(new TidemarkError('storage-unavailable', 'the store is closed', {}));
    if (this.full)
      return Promise.reject(
        new TidemarkError('storage-unavailable', 'too many writes are waiting', {
          waiting: waitingWritesMax,
        }),
      );
    return new Promise<void>((resolve, reject) => {
      this.#waiting.push({ operations, durability, note, answersLoss, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Fsyncs everything written so far. */
  async sync(): Promise<void> {
    const isIdle = this.#running === undefined && !this.#broken;
    if (isIdle && this.#durableOrdinal === this.#ordinal) return;
    await this.write([], 'disk');
  }

  /** Resolves when no write is waiting or in flight. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Opens the database again if a write failed; else does nothing. */
  async recover(): Promise<void> {
    if (!this.#broken || this.#closed) return;
    this.#reopening ??= guarded(() => this.#reopen()).finally(() => {
      this.#reopening = undefined;
    });
    await this.#reopening;
  }

  /**
   * What a reader waits for. A reopening that failed left the database closed: then who reads opens it, for
   * a fold or a sync run reads before it writes, and would else never come to its write.
   */
  ready(): Promise<void> | undefined {
    if (this.#reopening !== undefined) return this.#reopening;
    return this.#broken && this.#database.status !== 'open' ? this.recover() : undefined;
  }

  /** Refuses further writes and waits for those in flight. Does not close the database. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        await this.#apply(group);
      } catch (error) {
        const failure = storageError(error);
        this.#broken = true;
        if (isCorruption(error)) this.#corrupted = true;
        const behind = this.#waiting;
        this.#waiting = [];
        // Cleared before the rejections, so that whoever waits for idleness sees the end of the failure.
        this.#running = undefined;
        for (const { reject } of [...group, ...behind]) reject(failure);
        return;
      }
      for (const { resolve } of group) resolve();
    }
    this.#running = undefined;
  }

  /** A leading run at `os` goes alone, so that it waits for no fsync; else all that wait share one. */
  #takeGroup(): readonly Waiting[] {
    const first = this.#waiting[0] as Waiting;
    let count = 0;
    let operations = 0;
    for (const item of this.#waiting) {
      operations += item.operations.length;
      if (count > 0 && operations > groupOperationsMax) break;
      if (first.durability === 'os' && item.durability === 'disk') break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #apply(group: readonly Waiting[]): Promise<void> {
    await this.recover();
    const ordinal = this.#ordinal + 1;
    const note = group.reduce((before, one) => one.note ?? before, this.#note);
    const ring = ringOperations(ordinal, note);
    const answers = this.#lossReported && group.some(({ answersLoss }) => answersLoss);
    if (answers) ring.push(acknowledgeLoss(this.#ordinal));
    if (this.#onBatch !== undefined) for (const { operations } of group) this.#onBatch(operations);
    await this.#writeBatch(group, ring);
    this.#ordinal = ordinal;
    this.#note = note;
    if (group.some(({ durability }) => durability === 'disk')) this.#durableOrdinal = ordinal;
    if (answers) this.#lossReported = false;
  }

  async #writeBatch(group: readonly Waiting[], ring: readonly DatabaseOperation[]): Promise<void> {
    const isSynced = group.some(({ durability }) => durability === 'disk');
    // The options of a list cost time for each of its operations.
    if (!isSynced) {
      const all = listOf(group, ring);
      if (all !== undefined) return this.#database.batch(all);
    }
    const batch = this.#database.batch();
    try {
      for (const { operations } of group) add(batch, operations);
      add(batch, ring);
    } catch (error) {
      await batch.close();
      throw error;
    }
    // `sync` is an option of LevelDB that databases without an fsync ignore.
    await (isSynced ? batch.write({ sync: true } as object) : batch.write());
  }

  async #reopen(): Promise<void> {
    await this.#database.close();
    await this.#database.open({ createIfMissing: false });
    const ring = await verifyRing(this.#database);
    const before = this.#ordinal;
    // Ordinals are never given out twice: a tail lost here shows as missing ordinals later.
    this.#ordinal = Math.max(ring.head, before);
    this.#lossReported ||= ring.lostCount > 0 || ring.head < before;
    this.#durableOrdinal = 0;
    this.#note = ring.note;
    await this.#onReopened?.(ring, before);
    this.#broken = false;
  }
}

/** Operations as a list, if they are few and great enough. */
const listOf = (
  group: readonly Waiting[],
  ring: readonly DatabaseOperation[],
): DatabaseOperation[] | undefined => {
  const count = group.reduce((sum, { operations }) => sum + operations.length, ring.length);
  if (count > listedOperationsMax) return undefined;
  const all = [...group.flatMap(({ operations }) => operations), ...ring];
  let bytes = 0;
  for (const one of all) if (one.type === 'put') bytes += one.value.length;
  return bytes < listedBytesMin ? undefined : all;
};

/** Adds operations to a chained batch, which takes them faster than an array of them is taken. */
const add = (
  batch: ReturnType<Database['batch']>,
  operations: readonly DatabaseOperation[],
): void => {
  for (const operation of operations)
    if (operation.type === 'put') batch.put(operation.key, operation.value);
    else batch.del(operation.key);
};
