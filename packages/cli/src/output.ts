import type { ShownFailure } from './failure.js';

/** What the command line writes to: streams of Node, or anything that takes text. */
export interface TextSink {
  readonly write: (text: string) => boolean;
  readonly isTTY?: boolean | undefined;
  readonly once?: (event: 'drain' | 'close', listener: () => void) => unknown;
}

/** A table for people: a title per column and rows of texts. */
export interface TextTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const cellCharsMax = 60;
const progressEveryMs = 200;

/** One value as text of a table. */
export const cellText = (value: unknown): string => {
  if (value === null || value === undefined) return '-';
  if (typeof value === 'string') return value;
  return typeof value === 'object' ? JSON.stringify(value) : String(value as number | boolean);
};

/** A time in ms as text; `-` for none. */
export const timeText = (ms: number | null | undefined): string =>
  ms === null || ms === undefined || ms === 0 ? '-' : new Date(ms).toISOString();

const oneLine = (text: string): string => {
  // Control characters of values must not reach the terminal.
  const flat = text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
  return flat.length > cellCharsMax ? `${flat.slice(0, cellCharsMax - 1)}…` : flat;
};

/** Lays a table out in columns. */
export const layTable = ({ head, rows }: TextTable): string => {
  const lines = [head, ...rows].map((cells) => cells.map(oneLine));
  const widths = head.map((_, at) => Math.max(...lines.map((cells) => cells[at]?.length ?? 0)));
  return lines
    .map((cells) =>
      cells
        .map((cell, at) => (at === cells.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
};

/**
 * The one place that prints. Results go to the standard output: one JSON document, or one per line of a
 * stream, with `--json`; text without. Everything else goes to the standard error.
 */
export class Output {
  readonly json: boolean;
  readonly #out: TextSink;
  readonly #err: TextSink;
  readonly #colour: boolean;
  /** True for a server: it goes on when nobody reads what it writes any more. */
  isService = false;
  #progressShown = false;
  #progressAt = 0;

  constructor(options: {
    readonly out: TextSink;
    readonly err: TextSink;
    readonly json: boolean;
    readonly noColour: boolean;
  }) {
    this.#out = options.out;
    this.#err = options.err;
    this.json = options.json;
    this.#colour = options.err.isTTY === true && !options.noColour && !options.json;
  }

  /** The result of a command: a JSON document, or its text. */
  result(value: unknown, text: () => string): void {
    this.#endProgress();
    const shown = this.json ? JSON.stringify(value) : text();
    if (shown !== '') this.#out.write(`${shown}\n`);
  }

  /** One element of a stream of results: a line of NDJSON, or of text. */
  item(value: unknown, text: () => string): void {
    this.result(value, text);
  }

  /** A list: one JSON array, or a table; `none` stands for an empty one. */
  list<A>(
    values: readonly A[],
    head: readonly string[],
    row: (value: A) => readonly string[],
    none: string,
  ): void {
    this.result(values, () =>
      values.length === 0 ? none : layTable({ head, rows: values.map(row) }),
    );
  }

  /** Text as it is, for data that a command was asked to write to the standard output. */
  async data(text: string): Promise<void> {
    if (this.#out.write(text) || this.#out.once === undefined) return;
    await new Promise<void>((resolve) => {
      this.#out.once?.('drain', resolve);
      // Nobody reads any more: what is left will never drain.
      this.#out.once?.('close', resolve);
    });
  }

  /** A word to people; silent with `--json`. */
  note(text: string): void {
    if (this.json) return;
    this.#endProgress();
    this.#err.write(`${text}\n`);
  }

  /** A warning: also with `--json`, on the standard error. */
  warn(text: string): void {
    this.#endProgress();
    this.#err.write(
      this.json
        ? `${JSON.stringify({ warning: text })}\n`
        : `${this.#tint(33, 'Warning')}: ${text}\n`,
    );
  }

  /** Where a long work is: on a terminal only, over the same line. */
  progress(text: string): void {
    if (this.json || this.#err.isTTY !== true) return;
    const now = Date.now();
    if (this.#progressShown && now - this.#progressAt < progressEveryMs) return;
    this.#progressAt = now;
    this.#progressShown = true;
    this.#err.write(`\r\u001b[2K${oneLine(text)}`);
  }

  /** Why a command failed and what to do. */
  failure(failure: ShownFailure): void {
    this.#endProgress();
    const { exitCode: _, ...error } = failure;
    if (this.json) {
      this.#err.write(`${JSON.stringify({ error })}\n`);
      return;
    }
    this.#err.write(`${this.#tint(31, 'Error')} ${error.code}: ${error.message}\n`);
    this.#err.write(`What to do: ${error.action}\n`);
  }

  /** Help that was asked for. */
  help(text: string): void {
    this.#out.write(text);
  }

  #tint(code: number, text: string): string {
    return this.#colour ? `\u001b[${code}m${text}\u001b[0m` : text;
  }

  #endProgress(): void {
    if (!this.#progressShown) return;
    this.#progressShown = false;
    this.#err.write('\r\u001b[2K');
  }
}
