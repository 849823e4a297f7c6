/** Writes the story to a terminal: chapters, facts, tables and one line of progress that redraws. */
export interface Terminal {
  readonly chapter: (title: string) => void;
  readonly say: (line: string) => void;
  readonly table: (head: readonly string[], rows: readonly (readonly string[])[]) => void;
  readonly progress: (label: string, done: number, total: number) => void;
  readonly endProgress: () => void;
}

/** Prints a number with thousands separators. */
export const count = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, ',');

/** Prints milliseconds as seconds. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;

const barWidth = 24;

/** Opens a terminal on a stream. Progress redraws on a real terminal and stays silent elsewhere. */
export const openTerminal = (stream: NodeJS.WriteStream): Terminal => {
  let chapters = 0;
  let drawn = false;
  const endProgress = (): void => {
    if (drawn) stream.write('\r\u001b[2K');
    drawn = false;
  };
  const say = (line: string): void => {
    endProgress();
    stream.write(`  ${line}\n`);
  };
  return {
    say,
    endProgress,
    chapter: (title) => {
      endProgress();
      chapters += 1;
      stream.write(`\n${chapters}. ${title}\n`);
    },
    table: (head, rows) => {
      const widths = head.map((name, i) =>
        Math.max(name.length, ...rows.map((row) => (row[i] ?? '').length)),
      );
      const line = (row: readonly string[]): string =>
        row
          .map((cell, i) => cell.padEnd(widths[i] as number))
          .join('  ')
          .trimEnd();
      say(line(head));
      say(widths.map((width) => '-'.repeat(width)).join('  '));
      for (const row of rows) say(line(row));
    },
    progress: (label, done, total) => {
      if (!stream.isTTY) return;
      const share = total === 0 ? 1 : Math.min(1, done / total);
      const bar = '#'.repeat(Math.round(share * barWidth)).padEnd(barWidth, '.');
      stream.write(`\r\u001b[2K  ${label} [${bar}] ${count(done)} of ${count(total)}`);
      drawn = true;
    },
  };
};
