import { open, type FileHandle } from 'node:fs/promises';
import type { CheckedRow } from './row-check.js';
import { writeAll } from './whole-write.js';

type BadRow = Extract<CheckedRow, { readonly problems: readonly unknown[] }>;

/** File of rows that were left out, as NDJSON: their number, line, problems and cells. */
export class RejectFile {
  readonly path: string;
  #handle: FileHandle | undefined;
  #bytes: number;
  #waiting: string[] = [];

  /** `bytes` of the file are kept: those that an interrupted run had noted. */
  constructor(path: string, bytes: number) {
    this.path = path;
    this.#bytes = bytes;
  }

  /** Notes a row; it is written with the next `flush`. */
  add({ row, line, problems, cells }: BadRow): void {
    this.#waiting.push(`${JSON.stringify({ row, line, problems, record: cells })}\n`);
  }

  /** Writes what waits, durably; resolves with the bytes of the file. */
  async flush(): Promise<number> {
    if (this.#waiting.length === 0) return this.#bytes;
    const text = Buffer.from(this.#waiting.join(''), 'utf8');
    this.#waiting = [];
    this.#handle ??= await this.#open();
    await writeAll(this.#handle, text, this.#bytes);
    await this.#handle.sync();
    this.#bytes += text.length;
    return this.#bytes;
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #open(): Promise<FileHandle> {
    const handle = await open(this.path, this.#bytes === 0 ? 'w' : 'r+');
    // What an interrupted run wrote beyond its last note would stand there twice.
    await handle.truncate(this.#bytes);
    return handle;
  }
}
