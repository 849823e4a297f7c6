import { TidemarkError, type TableId } from '@tidemark/model';

interface Waiting {
  readonly isShort: boolean;
  readonly begin: () => void;
}

/** WriteTurn lets one writer work at a time, in the order of calls, so that one write is in flight at most. */
export class WriteTurn {
  /** Called whenever a writer has ended, when the next one, if any, has the turn. */
  onPassed: () => void = () => undefined;
  readonly #waiting = new Set<Waiting>();
  readonly #idle: (() => void)[] = [];
  #holder: 'nobody' | 'short' | 'long' = 'nobody';
  #calls = 0;
  #closed = false;
  #closing: Promise<void> | undefined;

  /** Whose turn it is: `short` work waits for nothing but the store and the CRDT. */
  get holder(): 'nobody' | 'short' | 'long' {
    return this.#holder;
  }

  /** Number of calls so far: who finds it unchanged since its own waits directly behind itself. */
  get calls(): number {
    return this.#calls;
  }

  /** Runs `work` when it is its turn, at once if nobody else has it. Rejects with `replica-closed` once closed. */
  run<A>(work: () => Promise<A>, isShort = false): Promise<A> {
    this.#calls += 1;
    if (this.#holder === 'nobody') {
      this.#holder = isShort ? 'short' : 'long';
      return this.#hold(work);
    }
    return new Promise<void>((begin) => {
      this.#waiting.add({ isShort, begin });
    }).then(() => this.#hold(work));
  }

  /** Resolves when nobody writes. */
  async idle(): Promise<void> {
    if (this.#holder === 'nobody') return;
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve);
    });
  }

  /** Throws `replica-closed` once closed. */
  check(): void {
    if (this.#closed) throw new TidemarkError('replica-closed', 'the replica is closed');
  }

  /** Ends the turn of everybody after the writer at work. */
  close(): Promise<void> {
    this.#closing ??= this.run(() => {
      this.#closed = true;
      return Promise.resolve();
    });
    return this.#closing;
  }

  async #hold<A>(work: () => Promise<A>): Promise<A> {
    try {
      this.check();
      return await work();
    } finally {
      this.#pass();
    }
  }

  #pass(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#holder = 'nobody';
      for (const resolve of this.#idle.splice(0)) resolve();
    } else {
      this.#waiting.delete(next);
      this.#holder = next.isShort ? 'short' : 'long';
      next.begin();
    }
    this.onPassed();
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
