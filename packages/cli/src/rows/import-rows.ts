import { rm } from 'node:fs/promises';
import { TidemarkError } from '@tidemark/model';
import type { Desk, DeskPut } from '../server/desk.js';
import { isThere } from '../server/paths.js';
import { readState, removeState, writeWhole } from '../state-file.js';
import {
  beginsWith,
  fileMark,
  openSource,
  requireHolds,
  serverMark,
  type ReadMark,
  type ServerMark,
} from './import-place.js';
import { RejectFile } from './reject-file.js';
import { checkColumns, checkRow, type RowMapping } from './row-check.js';
import { rowsOf } from './row-source.js';
import { requireNotedLength } from './whole-write.js';

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

/** Everything that a run must share with the one that it continues. */
const markOf = async (options: ImportOptions): Promise<string> => {
  const { table, format, idColumn, renamed, ignoreUnknown } = options.mapping;
  const { tenant, delimiter, badRows } = options;
  const how = [
    tenant,
    table.name,
    format,
    delimiter,
    idColumn,
    [...renamed],
    ignoreUnknown,
    badRows,
  ];
  return JSON.stringify([await fileMark(options.file), how]);
};

const countOf = (state: Readonly<Record<string, unknown>>, name: string): number => {
  const value = state[name];
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;
};

const resumeFrom = async (
  desk: Desk,
  stateFile: string,
  mark: string,
  options: ImportOptions,
): Promise<Progress> => {
  if (options.restart) await removeState(stateFile);
  const state = await readState(stateFile);
  if (state === undefined) return begun;
  const read = state['read'] as ReadMark | undefined;
  const isSame = state['mark'] === mark && read !== undefined;
  if (!isSame || !(await beginsWith(options.file, read)))
    throw new TidemarkError(
      'invalid-option',
      `${stateFile} is of another file or of other options: give --restart to begin anew`,
    );
  const from = {
    rows: countOf(state, 'rows'),
    imported: countOf(state, 'imported'),
    rejected: countOf(state, 'rejected'),
    rejectBytes: countOf(state, 'rejectBytes'),
  };
  requireHolds(state['server'] as ServerMark | undefined, await desk.moment());
  await requireNotedLength(options.rejectFile, from.rejectBytes);
  return from;
};

/** Goes through the file once: notes bad rows, hands good ones to `write`, step by step. */
const pass = async (
  options: ImportOptions,
  from: Progress,
  step: (puts: readonly DeskPut[], after: Progress, read: () => ReadMark) => Promise<void>,
): Promise<{ readonly progress: Progress; readonly complete: boolean }> => {
  const rejects = new RejectFile(options.rejectFile, from.rejectBytes);
  let { rows, imported, rejected } = from;
  let puts: DeskPut[] = [];
  let bytes = 0;
  let done = from;
  const source = openSource(options.file);
  const { mapping, delimiter } = options;
  const flush = async (): Promise<void> => {
    if (rows === done.rows) return;
    imported += puts.length;
    const progress = { rows, imported, rejected, rejectBytes: await rejects.flush() };
    await step(puts, progress, source.mark);
    puts = [];
    bytes = 0;
    done = progress;
    options.onProgress(progress);
  };
  try {
    const onColumns = (columns: readonly string[]): void => checkColumns(mapping, columns);
    for await (const raw of rowsOf(source.stream, mapping.format, delimiter, onColumns)) {
      if (raw.row <= from.rows) continue;
      const checked = checkRow(mapping, raw);
      if ('put' in checked) {
        if (bytes + checked.bytes > importStepBytesMax) {
          await flush();
          if (options.isStopped()) return { progress: done, complete: false };
        }
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
  const { stateFile, mapping } = options;
  // What an interrupted import noted stays as it is while rows are only checked.
  const isBeside = options.dryRun && stateFile !== undefined && (await isThere(stateFile));
  const rejectFile = isBeside ? `${options.rejectFile}.dry-run` : options.rejectFile;
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
  if (options.dryRun) {
    await rm(rejectFile, { force: true });
    const { progress, complete } = await pass({ ...options, rejectFile }, begun, noWrite);
    return result(progress, 0, complete);
  }
  const mark = stateFile === undefined ? '' : await markOf(options);
  const from = stateFile === undefined ? begun : await resumeFrom(desk, stateFile, mark, options);
  if (from.rows === 0) await rm(rejectFile, { force: true });
  if (options.badRows === 'refuse' && from.rows === 0) {
    const { progress, complete } = await pass(options, begun, noWrite);
    if (progress.rejected > 0 || !complete) return result({ ...progress, imported: 0 }, 0, false);
  }
  const { progress, complete } = await pass(options, from, async (puts, after, read) => {
    if (puts.length > 0) await desk.write(puts, options.user);
    if (stateFile === undefined) return;
    const server = serverMark(await desk.moment());
    const state = { format: 1, mark, ...after, read: read(), server };
    await writeWhole(stateFile, `${JSON.stringify(state)}\n`);
  });
  if (complete && stateFile !== undefined) await removeState(stateFile);
  return result(progress, from.rows, complete);
};
