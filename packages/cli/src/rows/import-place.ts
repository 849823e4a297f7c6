import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { UsageError } from '../failure.js';
import type { DeskMoment } from '../server/desk.js';

const readBytes = 256 * 1024;

/** Beginning of a file that was read: its bytes and their hash. */
export interface ReadMark {
  readonly bytes: number;
  readonly hash: string;
}

/** Moment of a server at which a step was in it. */
export interface ServerMark {
  readonly incarnation: number;
  readonly n: number;
  readonly life: string;
}

/** A file that is read from its beginning. */
export interface ImportSource {
  readonly stream: Readable;
  /** What was read so far: the rows that were taken, and at most a little more. */
  readonly mark: () => ReadMark;
}

/** Reads a file, or the standard input for `-`. */
export const openSource = (file: string): ImportSource => {
  const hash = createHash('sha256');
  let bytes = 0;
  async function* parts(): AsyncGenerator<Buffer> {
    const source: Readable =
      file === '-' ? process.stdin : createReadStream(file, { highWaterMark: readBytes });
    for await (const part of source as AsyncIterable<Buffer>) {
      hash.update(part);
      bytes += part.length;
      yield part;
    }
  }
  return {
    stream: Readable.from(parts(), { highWaterMark: 1 }),
    mark: () => ({ bytes, hash: hash.copy().digest('hex') }),
  };
};

/** What tells a file again without reading it: its size and when it was last written. */
export const fileMark = async (file: string): Promise<readonly [number, number]> => {
  const { size, mtimeMs } = await stat(file);
  return [size, Math.round(mtimeMs)];
};

/** Whether a file still begins with what was read of it. */
export const beginsWith = async (file: string, { bytes, hash }: ReadMark): Promise<boolean> => {
  if (bytes === 0) return true;
  const found = createHash('sha256');
  for await (const part of createReadStream(file, {
    end: bytes - 1,
    highWaterMark: readBytes,
  }) as AsyncIterable<Buffer>)
    found.update(part);
  return found.digest('hex') === hash;
};

/** Notes the moment of a server. */
export const serverMark = ({ incarnation, n, lives }: DeskMoment): ServerMark => ({
  incarnation,
  n,
  life: lives[0]?.id ?? '',
});

/**
 * Refuses to go on with a server that cannot show that it holds what was noted: a version names the same
 * history only within its life. Throws UsageError.
 */
export const requireHolds = (
  noted: ServerMark | undefined,
  { incarnation, n, lives }: DeskMoment,
) => {
  const at = lives.findIndex(({ id }) => id === noted?.life);
  const next = lives[at - 1];
  if (
    noted !== undefined &&
    noted.incarnation === incarnation &&
    noted.n <= n &&
    at >= 0 &&
    (next === undefined || next.from >= noted.n)
  )
    return;
  throw new UsageError(
    'the server does not show that it holds the rows that were imported before: it was restored or replaced, or opened many times since',
    'Give --restart to begin anew: rows that are there already stay as they are.',
  );
};
