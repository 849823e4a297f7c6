import { open, type FileHandle } from 'node:fs/promises';
import { TidemarkError } from '@tidemark/model';
import type { Desk } from '../server/desk.js';
import { readState, removeState, writeWhole } from '../state-file.js';
import type { RowText } from './row-text.js';
import { requireNotedLength, writeAll } from './whole-write.js';

/** Records of one step of an export: each step is durable before it is noted. */
export const exportStepRecordsMax = 1_000;

/** How a table is exported. */
export interface ExportOptions {
  readonly table: string;
  readonly filter: string | undefined;
  readonly text: RowText;
  /** Names format, columns and everything else that a resumed export must share. */
  readonly mark: string;
  /** File to write; undefined: the standard output. */
  readonly file: string | undefined;
  readonly stateFile: string;
  readonly print: (text: string) => Promise<void>;
  readonly restart: boolean;
  readonly isStopped: () => boolean;
  readonly onProgress: (records: number) => void;
}

/** What an export did. */
export interface ExportResult {
  readonly table: string;
  readonly records: number;
  /** Records that earlier, interrupted runs had written; they are part of `records`. */
  readonly resumedAfter: number;
  readonly file: string | null;
  readonly complete: boolean;
}

interface Progress {
  readonly records: number;
  readonly bytes: number;
  readonly after: string | undefined;
}

const begun: Progress = { records: 0, bytes: 0, after: undefined };

const resumeFrom = async (options: ExportOptions): Promise<Progress> => {
  if (options.file === undefined) return begun;
  if (options.restart) await removeState(options.stateFile);
  const state = await readState(options.stateFile);
  if (state === undefined) return begun;
  const { mark, records, bytes, after } = state;
  if (mark !== options.mark)
    throw new TidemarkError(
      'invalid-option',
      `${options.stateFile} is of an export with other options: give --restart to begin anew`,
    );
  if (typeof records !== 'number' || typeof bytes !== 'number' || typeof after !== 'string')
    return begun;
  await requireNotedLength(options.file, bytes);
  return { records, bytes, after };
};

/** Place that an export is written to. */
interface Sink {
  readonly write: (text: string) => Promise<void>;
  readonly note: (progress: Progress) => Promise<void>;
  readonly bytes: () => number;
  readonly close: () => Promise<void>;
}

const printSink = (print: ExportOptions['print']): Sink => ({
  write: print,
  note: () => Promise.resolve(),
  bytes: () => 0,
  close: () => Promise.resolve(),
});

const fileSink = async (file: string, from: Progress, options: ExportOptions): Promise<Sink> => {
  const handle: FileHandle = await open(file, from.bytes === 0 ? 'w' : 'r+');
  await handle.truncate(from.bytes);
  let bytes = from.bytes;
  return {
    write: async (text) => {
      const part = Buffer.from(text, 'utf8');
      await writeAll(handle, part, bytes);
      bytes += part.length;
    },
    note: async (progress) => {
      await handle.sync();
      const state = { format: 1, mark: options.mark, ...progress };
      await writeWhole(options.stateFile, `${JSON.stringify(state)}\n`);
    },
    bytes: () => bytes,
    close: async () => {
      await handle.sync();
      await handle.close();
    },
  };
};

/**
 * Exports the records of a table in id order. Memory does not grow with the table. What is written is noted
 * after each step, so an interrupted export goes on where it stopped. While the server runs, records may
 * change between two steps: the file is then no copy of one moment.
 */
export const exportRows = async (desk: Desk, options: ExportOptions): Promise<ExportResult> => {
  const from = await resumeFrom(options);
  const { file, text, table, filter } = options;
  const sink = file === undefined ? printSink(options.print) : await fileSink(file, from, options);
  let { records, after } = from;
  let complete = false;
  try {
    if (records === 0) await sink.write(text.begin);
    while (!complete && !options.isStopped()) {
      const page = await desk.records(table, {
        limit: exportStepRecordsMax,
        ...(after === undefined ? {} : { after }),
        ...(filter === undefined ? {} : { filter }),
      });
      await sink.write(text.page(page, records === 0));
      records += page.length;
      after = page.at(-1)?.id ?? after;
      complete = page.length < exportStepRecordsMax;
      if (!complete) await sink.note({ records, bytes: sink.bytes(), after });
      options.onProgress(records);
    }
    if (complete) await sink.write(text.end);
  } finally {
    await sink.close();
  }
  if (complete && file !== undefined) await removeState(options.stateFile);
  return { table, records, resumedAfter: from.records, file: file ?? null, complete };
};
