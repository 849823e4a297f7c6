import { Mutex } from 'async-mutex';
import { TidemarkError, type TableId } from '@tidemark/model';

/** WriteTurn lets one writer work at a time, in the order of calls, so that one write is in flight at most. */
export class WriteTurn {
  readonly #mutex = new Mutex();
  #closed = false;

  /** Runs `work` when it is its turn. Rejects with `replica-closed` once closed. */
  async run<A>(work: () => Promise<A>): Promise<A> {
    const release = await this.#mutex.acquire();
    try {
      this.check();
      return await work();
    } finally {
      release();
    }
  }

  /** Resolves when nobody writes. */
  idle(): Promise<void> {
    return this.#mutex.waitForUnlock();
  }

  /** Throws `replica-closed` once closed. */
  check(): void {
    if (this.#closed) throw new TidemarkError('replica-closed', 'the replica is closed');
  }

  /** Ends the turn of everybody after the writer at work. */
  async close(): Promise<void> {
    if (this.#closed) return this.idle();
    const release = await this.#mutex.acquire();
    this.#closed = true;
    release();
  }
}

/**
 * Stamps tell a reader that takes several steps whether a write came in between: a table's stamp moves
 * when a write begins and when it ends; the layout stamp only with flips and folds.
 */
export class Stamps {
  readonly #tables = new Map<TableId, number>();
  #layout = 0;
  #writing: ReadonlySet<TableId> | 'all' | null = null;

  /** Stamp of a table's visible content. */
  table(table: TableId): number {
    return this.#layout + (this.#tables.get(table) ?? 0);
  }

  /** Stamp of the layers. */
  layout(): number {
    return this.#layout;
  }

  /** Tells whether a write that touches the table is in flight. */
  isWriting(table: TableId): boolean {
    return this.#writing === 'all' || this.#writing?.has(table) === true;
  }

  /** Tells whether a write that touches the layers is in flight. */
  isMoving(): boolean {
    return this.#writing === 'all';
  }

  /** Marks the write around `work`. Only the holder of the write turn calls it. */
  async around(touched: ReadonlySet<TableId> | 'all', work: () => Promise<void>): Promise<void> {
    this.#move(touched);
    this.#writing = touched;
    try {
      await work();
    } finally {
      this.#writing = null;
      this.#move(touched);
    }
  }

  #move(touched: ReadonlySet<TableId> | 'all'): void {
    if (touched === 'all') this.#layout += 1;
    else for (const table of touched) this.#tables.set(table, (this.#tables.get(table) ?? 0) + 1);
  }
}
