import {
  AbstractIterator,
  AbstractKeyIterator,
  AbstractLevel,
  AbstractSnapshot,
  AbstractValueIterator,
} from 'abstract-level';
import type { Database } from '@tidemark/store-level';
import type { Life } from './scheduler.js';
import {
  compareKeys,
  diskError,
  lowerBound,
  type DiskOperation,
  type Image,
  type SimDisk,
} from './sim-disk.js';

type Bytes = Uint8Array;
type Key = string | Buffer | Uint8Array;

interface RangeOptions {
  readonly gte?: Bytes;
  readonly gt?: Bytes;
  readonly lte?: Bytes;
  readonly lt?: Bytes;
  readonly reverse?: boolean;
  readonly limit?: number;
  readonly snapshot?: SimSnapshot;
}

class SimSnapshot extends AbstractSnapshot {
  readonly image: Image;
  constructor(image: Image, options: object) {
    // The declared constructor leaves its options out.
    super(...([options] as unknown as []));
    this.image = image;
  }
}

/** Cursor over the keys of an image within a range. */
class ImageCursor {
  readonly #image: Image;
  readonly #first: number;
  readonly #end: number;
  readonly #step: 1 | -1;
  #at: number;

  constructor(image: Image, options: RangeOptions) {
    const { keys } = image;
    const after = (key: Bytes): number => {
      const at = lowerBound(keys, key);
      const found = keys[at];
      return found !== undefined && compareKeys(found, key) === 0 ? at + 1 : at;
    };
    this.#image = image;
    this.#first =
      options.gte !== undefined
        ? lowerBound(keys, options.gte)
        : options.gt !== undefined
          ? after(options.gt)
          : 0;
    this.#end =
      options.lte !== undefined
        ? after(options.lte)
        : options.lt !== undefined
          ? lowerBound(keys, options.lt)
          : keys.length;
    this.#step = options.reverse === true ? -1 : 1;
    this.#at = this.#step === 1 ? this.#first : this.#end - 1;
  }

  seek(target: Bytes): void {
    const { keys } = this.#image;
    const at = lowerBound(keys, target);
    const found = keys[at];
    const isThere = found !== undefined && compareKeys(found, target) === 0;
    const place = this.#step === 1 || isThere ? at : at - 1;
    const isInside =
      this.#step === 1
        ? place >= this.#first || this.#first === 0
        : place < this.#end || this.#end === keys.length;
    // A target outside of the range ends the iteration, as abstract-level wants it.
    this.#at = isInside && this.#covers(target) ? place : Number.POSITIVE_INFINITY;
  }

  next(count: number): readonly number[] {
    const found: number[] = [];
    while (found.length < count && this.#at >= this.#first && this.#at < this.#end) {
      found.push(this.#at);
      this.#at += this.#step;
    }
    return found;
  }

  #covers(target: Bytes): boolean {
    const { keys } = this.#image;
    const low = keys[this.#first - 1];
    const high = keys[this.#end];
    if (low !== undefined && compareKeys(target, low) <= 0) return false;
    return high === undefined || compareKeys(target, high) < 0;
  }
}

interface Cursor<A> {
  readonly next: (count: number) => Promise<A[]>;
  readonly seek: (target: Bytes) => void;
}

const cursorOn = <A>(
  level: SimLevel,
  options: RangeOptions,
  take: (image: Image, at: number) => A,
): Cursor<A> => {
  const image = options.snapshot?.image ?? level.disk.image;
  const cursor = new ImageCursor(image, options);
  return {
    next: (count) => level.reads(() => cursor.next(count).map((at) => take(image, at))),
    seek: (target) => cursor.seek(target),
  };
};

class SimEntries extends AbstractIterator<SimLevel, Bytes, Bytes> {
  readonly #cursor: Cursor<[Bytes, Bytes]>;
  constructor(level: SimLevel, options: RangeOptions) {
    super(level, options as never);
    this.#cursor = cursorOn(level, options, ({ keys, values }, at) => [
      keys[at] as Bytes,
      values[at] as Bytes,
    ]);
  }
  async _next(): Promise<[Bytes, Bytes] | undefined> {
    return (await this.#cursor.next(1))[0];
  }
  _nextv(size: number): Promise<[Bytes, Bytes][]> {
    return this.#cursor.next(size);
  }
  _all(): Promise<[Bytes, Bytes][]> {
    return this.#cursor.next(this.limit - this.count);
  }
  _seek(target: Bytes): void {
    this.#cursor.seek(target);
  }
}

class SimKeys extends AbstractKeyIterator<SimLevel, Bytes> {
  readonly #cursor: Cursor<Bytes>;
  constructor(level: SimLevel, options: RangeOptions) {
    super(level, options as never);
    this.#cursor = cursorOn(level, options, ({ keys }, at) => keys[at] as Bytes);
  }
  async _next(): Promise<Bytes | undefined> {
    return (await this.#cursor.next(1))[0];
  }
  _nextv(size: number): Promise<Bytes[]> {
    return this.#cursor.next(size);
  }
  _all(): Promise<Bytes[]> {
    return this.#cursor.next(this.limit - this.count);
  }
  _seek(target: Bytes): void {
    this.#cursor.seek(target);
  }
}

class SimValues extends AbstractValueIterator<SimLevel, Bytes, Bytes> {
  readonly #cursor: Cursor<Bytes>;
  constructor(level: SimLevel, options: RangeOptions) {
    super(level, options as never);
    this.#cursor = cursorOn(level, options, ({ values }, at) => values[at] as Bytes);
  }
  async _next(): Promise<Bytes | undefined> {
    return (await this.#cursor.next(1))[0];
  }
  _nextv(size: number): Promise<Bytes[]> {
    return this.#cursor.next(size);
  }
  _all(): Promise<Bytes[]> {
    return this.#cursor.next(this.limit - this.count);
  }
  _seek(target: Bytes): void {
    this.#cursor.seek(target);
  }
}

/** Options of a SimLevel: encodings as abstract-level knows them. */
export interface SimLevelOptions {
  readonly keyEncoding?: string;
  readonly valueEncoding?: string;
}

const bytesEncodings: SimLevelOptions = { keyEncoding: 'view', valueEncoding: 'view' };

/**
 * Database of one process on a simulated disk: abstract-level over memory, whose calls take virtual
 * time, fail when the disk fails, and never come back to a process that has ended.
 */
export class SimLevel extends AbstractLevel<Key, Uint8Array, Uint8Array> {
  readonly disk: SimDisk;
  readonly #life: Life;
  /** LevelDB refuses every write after one that failed, until it is opened again. */
  #isTorn = false;

  constructor(disk: SimDisk, life: Life, options: SimLevelOptions = bytesEncodings) {
    super(
      {
        seek: true,
        explicitSnapshots: true,
        permanence: true,
        createIfMissing: true,
        errorIfExists: true,
        has: true,
        getSync: false,
        encodings: { view: true },
        signals: { iterators: false },
      } as never,
      options as never,
    );
    this.disk = disk;
    this.#life = life;
  }

  /** Reads: at once, unless the disk is slow. */
  reads<A>(read: () => A): Promise<A> {
    const ms = this.disk.readMs();
    const work = (): A => {
      this.disk.check(false);
      return read();
    };
    return ms === 0 ? this.#life.now(work) : this.#life.call(ms, work);
  }

  _open(options: {
    readonly createIfMissing: boolean;
    readonly errorIfExists: boolean;
  }): Promise<void> {
    return this.#life.now(() => {
      this.disk.check(false);
      if (this.disk.exists && options.errorIfExists)
        throw diskError('LEVEL_DATABASE_NOT_OPEN', 'the database exists');
      if (!this.disk.exists && !options.createIfMissing)
        throw diskError('LEVEL_DATABASE_NOT_OPEN', 'the database does not exist');
      this.disk.exists = true;
      this.#isTorn = false;
    });
  }

  _close(): Promise<void> {
    return this.#life.now(() => undefined);
  }

  _get(key: Bytes, { snapshot }: RangeOptions): Promise<Bytes | undefined> {
    return this.reads(() => find(snapshot?.image ?? this.disk.image, key));
  }

  _getMany(keys: readonly Bytes[], { snapshot }: RangeOptions): Promise<(Bytes | undefined)[]> {
    return this.reads(() => keys.map((key) => find(snapshot?.image ?? this.disk.image, key)));
  }

  _has(key: Bytes, { snapshot }: RangeOptions): Promise<boolean> {
    return this.reads(() => find(snapshot?.image ?? this.disk.image, key) !== undefined);
  }

  _hasMany(keys: readonly Bytes[], { snapshot }: RangeOptions): Promise<boolean[]> {
    return this.reads(() =>
      keys.map((key) => find(snapshot?.image ?? this.disk.image, key) !== undefined),
    );
  }

  _put(key: Bytes, value: Bytes, options: object): Promise<void> {
    return this.#write([{ key, value }], options);
  }

  _del(key: Bytes, options: object): Promise<void> {
    return this.#write([{ key, value: undefined }], options);
  }

  _batch(
    operations: readonly {
      readonly type: 'put' | 'del';
      readonly key: Bytes;
      readonly value?: Bytes;
    }[],
    options: object,
  ): Promise<void> {
    return this.#write(
      operations.map(({ type, key, value }) => ({
        key,
        value: type === 'put' ? value : undefined,
      })),
      options,
    );
  }

  _clear(options: RangeOptions): Promise<void> {
    return this.#life.call(this.disk.writeMs(), () => {
      this.disk.check(true);
      const image = options.snapshot?.image ?? this.disk.image;
      const limit = options.limit === undefined || options.limit < 0 ? Infinity : options.limit;
      const doomed = new ImageCursor(image, options).next(limit);
      this.disk.apply(
        doomed.map((at) => ({ key: image.keys[at] as Bytes, value: undefined })),
        false,
      );
    });
  }

  _iterator(options: RangeOptions): SimEntries {
    return new SimEntries(this, options);
  }

  _keys(options: RangeOptions): SimKeys {
    return new SimKeys(this, options);
  }

  _values(options: RangeOptions): SimValues {
    return new SimValues(this, options);
  }

  _snapshot(options: object): SimSnapshot {
    return new SimSnapshot(this.disk.image, options);
  }

  #write(operations: readonly DiskOperation[], options: object): Promise<void> {
    const isSynced = (options as { readonly sync?: boolean }).sync === true;
    const { disk } = this;
    return this.#life.call(disk.writeMs(), () => {
      if (this.#isTorn) throw diskError('LEVEL_IO_ERROR', 'an earlier write failed');
      try {
        disk.check(true);
      } catch (cause) {
        this.#isTorn = true;
        // The batch may have reached the log before the disk failed: its writer cannot know.
        if (!disk.faults.full && disk.random.chance(30)) disk.apply(operations, false);
        throw cause;
      }
      disk.apply(operations, isSynced);
    });
  }
}

const find = ({ keys, values }: Image, key: Bytes): Bytes | undefined => {
  const at = lowerBound(keys, key);
  const found = keys[at];
  return found !== undefined && compareKeys(found, key) === 0 ? values[at] : undefined;
};

/** Database of a process on a disk, as the stores take it: the types of hooks name each class itself. */
export const databaseOn = (disk: SimDisk, life: Life): Database =>
  new SimLevel(disk, life) as unknown as Database;
