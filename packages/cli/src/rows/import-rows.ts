import { rm } from 'node:fs/promises';
import { TidemarkError } from '@tidemark/model';
import type { Desk, DeskPut } from '../server/desk.js';
import { readState, removeState, sourceMark, writeWhole } from '../state-file.js';
import { RejectFile } from './reject-file.js';
import { checkColumns, checkRow, type RowMapping } from './row-check.js';
import { rowsOf } from './row-source.js';

/** Rows of one step of an import at most: each step is durable before the next one is noted. */
export const importStepRowsMax = 8_000;
/** Bytes of the records of one step at most. */
export const importStepBytesMax = 6 * 1024 * 1024;

/** What an import does with bad rows: leaves them out, or refuses the whole file before writing anything. */
export type BadRows = 'skip' | 'refuse';

/** How a file is imported. */
export interface ImportOptions {
  readonly file: string;
  readonly mapping: RowMapping;
  readonly delimiter: string;
  readonly tenant: string;
  readonly user: string;
  readonly badRows: BadRows;
  /** Checks only. */
  readonly dryRun: boolean;
  /** File that remembers how far the import is; undefined for the standard input. */
  readonly stateFile: string | undefined;
  readonly rejectFile: string;
  readonly stepRows: number;
  /** Forgets an interrupted import of this file. */
  readonly restart: boolean;
  readonly isStopped: () => boolean;
  readonly onProgress: (counts: ImportCounts) => void;
}

/** How far an import is. */
export interface ImportCounts {
  /** Rows read, good and bad. */
  readonly rows: number;
  readonly imported: number;
  readonly rejected: number;
}

/** What an import did. */
export interface ImportResult extends ImportCounts {
  readonly table: string;
  /** Rows that earlier, interrupted runs had done; they are part of the counts. */
  readonly resumedAfter: number;
  readonly rejects: string | null;
  readonly dryRun: boolean;
  /** False when it was stopped, or refused because of bad rows. */
  readonly complete: boolean;
}

interface Progress extends ImportCounts {
  readonly rejectBytes: number;
}

const begun: Progress = { rows: 0, imported: 0, rejected: 0, rejectBytes: 0 };

const markOf = async (options: ImportOptions): Promise<string> => {
  const { table, idColumn, renamed, ignoreUnknown } = options.mapping;
  const renames = [...renamed].map(([from, to]) => `${from}=${to}`).join();
  const how = [options.tenant, table.name, idColumn, renames, String(ignoreUnknown)].join('|');
  return `${await sourceMark(options.file)}:${how}`;
};

const countOf = (state: Readonly<Record<string, unknown>>, name: string): number => {
  const value = state[name];
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;
};

const resumeFrom = async (
  stateFile: string,
  mark: string,
  options: ImportOptions,
): Promise<Progress> => {
  if (options.restart) await removeState(stateFile);
  const state = await readState(stateFile);
  if (state === undefined) return begun;
  if (state['mark'] !== mark)
    throw new TidemarkError(
      'invalid-option',
      `${stateFile} is of another file or of other options: give --restart to begin anew`,
    );
  return {
    rows: countOf(state, 'rows'),
    imported: countOf(state, 'imported'),
    rejected: countOf(state, 'rejected'),
    rejectBytes: countOf(state, 'rejectBytes'),
  };
};

/** Goes through the file once: notes bad rows, hands good ones to `write`, step by step. */
const pass = async (
  options: ImportOptions,
  from: Progress,
  step: (puts: readonly DeskPut[], after: Progress) => Promise<void>,
): Promise<{ readonly progress: Progress; readonly complete: boolean }> => {
  const rejects = new RejectFile(options.rejectFile, from.rejectBytes);
  let { rows, imported, rejected } = from;
  let puts: DeskPut[] = [];
  let bytes = 0;
  let done = from;
  let columnsChecked = false;
  const flush = async (): Promise<void> => {
    if (rows === done.rows) return;
    imported += puts.length;
    const progress = { rows, imported, rejected, rejectBytes: await rejects.flush() };
    await step(puts, progress);
    puts = [];
    bytes = 0;
    done = progress;
    options.onProgress(progress);
  };
  try {
    for await (const raw of rowsOf(options.file, options.mapping.format, options.delimiter)) {
      if (options.mapping.format === 'csv' && !columnsChecked && 'cells' in raw) {
        checkColumns(options.mapping, Object.keys(raw.cells));
        columnsChecked = true;
      }
      if (raw.row <= from.rows) continue;
      const checked = checkRow(options.mapping, raw);
      if ('put' in checked) {
        if (bytes + checked.bytes > importStepBytesMax) await flush();
        puts.push(checked.put);
        bytes += checked.bytes;
      } else {
        rejected += 1;
        rejects.add(checked);
      }
      rows = raw.row;
      if (rows - done.rows >= options.stepRows) {
        await flush();
        if (options.isStopped()) return { progress: done, complete: false };
      }
    }
    await flush();
    return { progress: done, complete: true };
  } finally {
    await rejects.close();
  }
};

const noWrite = (): Promise<void> => Promise.resolve();

/**
 * Imports a file into a table: each row creates the record of its id, or sets the fields of the one that is
 * there. Memory does not grow with the file. What is done is noted after each step, so an interrupted
 * import goes on where it stopped; a step that was applied but not noted is applied again to the same end.
 */
export const importRows = async (desk: Desk, options: ImportOptions): Promise<ImportResult> => {
  const { stateFile, mapping, rejectFile } = options;
  const result = (
    { rows, imported, rejected }: Progress,
    resumedAfter: number,
    complete: boolean,
  ): ImportResult => ({
    table: mapping.table.name,
    rows,
    imported,
    rejected,
    resumedAfter,
    rejects: rejected === 0 ? null : rejectFile,
    dryRun: options.dryRun,
    complete,
  });
  const mark = stateFile === undefined ? '' : await markOf(options);
  const from = stateFile === undefined ? begun : await resumeFrom(stateFile, mark, options);
  if (from.rows === 0) await rm(rejectFile, { force: true });
  if (options.dryRun || (options.badRows === 'refuse' && from.rows === 0)) {
    const { progress, complete } = await pass(options, begun, noWrite);
    const none = { ...progress, imported: options.dryRun ? progress.imported : 0 };
    if (options.dryRun || progress.rejected > 0 || !complete)
      return result(none, 0, complete && (options.dryRun || progress.rejected === 0));
  }
  const { progress, complete } = await pass(options, from, async (puts, after) => {
    if (puts.length > 0) await desk.write(puts, options.user);
    if (stateFile !== undefined)
      await writeWhole(stateFile, `${JSON.stringify({ format: 1, mark, ...after })}\n`);
  });
  if (complete && stateFile !== undefined) await removeState(stateFile);
  return result(progress, from.rows, complete);
};
