import { TidemarkError } from '@tidemark/model';

/**
 * Damage of the storage that reads met since the replica was opened. The next opening repairs it: until then the
 * status says so, and whole tables are not called whole.
 */
export class MetDamage {
  readonly #moved: () => void;
  readonly #tables = new Set<string>();
  #error: TidemarkError | null = null;

  constructor(moved: () => void) {
    this.#moved = moved;
  }

  /** First damage that a read met; null when none did. */
  error(): TidemarkError | null {
    return this.#error;
  }

  /** Tells whether a read of a table met damage. */
  isIn(table: string): boolean {
    return this.#tables.has(table);
  }

  /** Forgets all: what was damaged is no longer there. */
  forget(): void {
    this.#error = null;
    this.#tables.clear();
  }

  /** The same reading of a table, which notes the damage that it meets before it rejects. */
  watching<A extends readonly unknown[], R>(
    read: (table: string, ...args: A) => Promise<R>,
  ): (table: string, ...args: A) => Promise<R> {
    return async (table, ...args) => {
      try {
        return await read(table, ...args);
      } catch (cause) {
        if (cause instanceof TidemarkError && cause.code === 'storage-damaged')
          this.#met(table, cause);
        throw cause;
      }
    };
  }

  #met(table: string, cause: TidemarkError): void {
    if (this.#tables.has(table)) return;
    this.#tables.add(table);
    this.#error ??= cause;
    this.#moved();
  }
}
