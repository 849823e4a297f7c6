import type { RowOrder } from './query-plan.js';
import type { VisibleRow } from './row-reader.js';

/** Keeps the first `limit` rows of an order in a heap whose top is the last of them. */
export class TopRows {
  readonly #limit: number;
  readonly #compare: RowOrder;
  readonly #heap: VisibleRow[] = [];

  constructor(limit: number, compare: RowOrder) {
    this.#limit = limit;
    this.#compare = compare;
  }

  /** Offers a row. */
  add(row: VisibleRow): void {
    const heap = this.#heap;
    if (heap.length < this.#limit) {
      heap.push(row);
      this.#rise(heap.length - 1);
    } else if (this.#limit > 0 && this.#compare(row, heap[0] as VisibleRow) < 0) {
      heap[0] = row;
      this.#sink();
    }
  }

  /** The rows in order. */
  sorted(): VisibleRow[] {
    return [...this.#heap].sort(this.#compare);
  }

  #rise(from: number): void {
    const heap = this.#heap;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#compare(heap[at] as VisibleRow, heap[parent] as VisibleRow) <= 0) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let last = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (
          child < heap.length &&
          this.#compare(heap[child] as VisibleRow, heap[last] as VisibleRow) > 0
        )
          last = child;
      if (last === at) return;
      this.#swap(at, last);
      at = last;
    }
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap;
    const kept = heap[a] as VisibleRow;
    heap[a] = heap[b] as VisibleRow;
    heap[b] = kept;
  }
}
