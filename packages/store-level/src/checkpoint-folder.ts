import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { TidemarkError } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';

/** Bytes read at a time: reading a checkpoint of any size needs no more memory than this. */
const readBytes = 256 * 1024;
/** Maximum size of a manifest: it is read whole. */
export const manifestBytesMax = 1024 * 1024;

/** Age at which the draft of a checkpoint counts as left behind by a process that was killed, ms. */
export const staleDraftMs = 60 * 60 * 1000;

const chunksFile = 'chunks.bin';
const manifestFile = 'manifest.json';
/** Names start with a letter or digit, so that work in progress can hide behind a dot. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * Opens a folder of checkpoints on the file system; it is created with the first checkpoint.
 *
 * A checkpoint is the folder `<path>/<name>` with the files `chunks.bin` and `manifest.json`. It is
 * written beside under a hidden name, fsynced, then renamed, so a listed checkpoint is complete and
 * durable. Names are letters, digits, `.`, `_` and `-`, at most 128; their order is the order of age.
 * Rejects with `storage-unavailable`, `checkpoint-invalid` (no such checkpoint), `invalid-option` (a
 * name that is malformed or in use).
 */
export const openCheckpointFolder = (path: string): CheckpointFolder => ({
  write: (name, manifest, chunks) => writeCheckpoint(path, name, manifest, chunks),
  list: () => listCheckpoints(path),
  readManifest: (name) => readManifest(path, name),
  readChunks: (name) => readChunks(path, name),
  remove: (name) => removeCheckpoint(path, name),
});

const writeCheckpoint = async (
  path: string,
  name: string,
  manifest: Uint8Array,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> => {
  checkName(name);
  if (manifest.length > manifestBytesMax)
    throw new TidemarkError('invalid-option', `the manifest exceeds ${manifestBytesMax} bytes`);
  if (await isComplete(path, name))
    throw new TidemarkError('invalid-option', `checkpoint ${name} exists`, { checkpoint: name });
  const target = join(path, name);
  // Other processes may write the same checkpoint at the same time: each has a draft of its own.
  const draft = join(path, `.writing-${name}.${randomBytes(6).toString('hex')}`);
  try {
    await mkdir(path, { recursive: true });
    await removeStaleDrafts(path);
    await mkdir(draft);
    await writeFileDurably(join(draft, chunksFile), chunks);
    await writeFileDurably(join(draft, manifestFile), onlyOne(manifest));
    await syncFolder(draft);
    if (await isComplete(path, name))
      throw new TidemarkError('invalid-option', `checkpoint ${name} exists`, { checkpoint: name });
    // An incomplete folder under the final name is what a copy by hand may leave: never listed.
    await rm(target, { recursive: true, force: true });
    await rename(draft, target);
    await syncFolder(path);
  } catch (cause) {
    // The failure matters, not whether the draft could be removed: the next write removes it as well.
    await rm(draft, { recursive: true, force: true }).catch(() => undefined);
    throw storageError(cause, `checkpoint ${name} could not be written`);
  }
};

/** Removes what processes that were killed left behind: drafts that nobody has written into for long. */
const removeStaleDrafts = async (path: string): Promise<void> => {
  for (const name of await readdir(path)) {
    if (!name.startsWith('.writing-')) continue;
    const chunks = await stat(join(path, name, chunksFile)).catch(() => undefined);
    const folder = chunks ?? (await stat(join(path, name)).catch(() => undefined));
    if (folder !== undefined && Date.now() - folder.mtimeMs > staleDraftMs)
      await rm(join(path, name), { recursive: true, force: true });
  }
};

const listCheckpoints = async (path: string): Promise<readonly string[]> => {
  const names = await readdir(path).catch((cause: unknown) => {
    if (isMissing(cause)) return [];
    throw storageError(cause, 'the folder of checkpoints cannot be listed');
  });
  const complete: string[] = [];
  for (const name of names)
    if (namePattern.test(name) && (await isComplete(path, name))) complete.push(name);
  return complete.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
};

const readManifest = async (path: string, name: string): Promise<Uint8Array> => {
  const file = await openPart(path, name, manifestFile);
  try {
    const { size } = await file.stat();
    if (size > manifestBytesMax)
      throw new TidemarkError('checkpoint-invalid', `the manifest of ${name} is too large`);
    return new Uint8Array(await file.readFile());
  } catch (cause) {
    throw storageError(cause, `the manifest of ${name} cannot be read`);
  } finally {
    await file.close();
  }
};

async function* readChunks(path: string, name: string): AsyncGenerator<Uint8Array> {
  const file = await openPart(path, name, chunksFile);
  try {
    for (;;) {
      const { bytesRead, buffer } = await file
        .read(new Uint8Array(readBytes), 0, readBytes, null)
        .catch((cause: unknown) => {
          throw storageError(cause, `checkpoint ${name} cannot be read`);
        });
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

const removeCheckpoint = async (path: string, name: string): Promise<void> => {
  checkName(name);
  const doomed = join(path, `.removing-${name}.${randomBytes(6).toString('hex')}`);
  try {
    await rm(doomed, { recursive: true, force: true });
    // The rename takes it out of the list at once; a crash while files are removed leaves no half.
    await rename(join(path, name), doomed);
    await syncFolder(path);
    await rm(doomed, { recursive: true, force: true });
  } catch (cause) {
    if (!isMissing(cause)) throw storageError(cause, `checkpoint ${name} could not be removed`);
  }
};

const openPart = async (path: string, name: string, part: string): Promise<FileHandle> => {
  checkName(name);
  try {
    return await open(join(path, name, part), 'r');
  } catch (cause) {
    if (isMissing(cause))
      throw new TidemarkError(
        'checkpoint-invalid',
        `there is no checkpoint ${name}`,
        { checkpoint: name },
        cause,
      );
    throw storageError(cause, `checkpoint ${name} cannot be opened`);
  }
};

const isComplete = async (path: string, name: string): Promise<boolean> => {
  for (const part of [chunksFile, manifestFile]) {
    const isFile = await stat(join(path, name, part)).then(
      (found) => found.isFile(),
      (cause: unknown) => {
        if (isMissing(cause)) return false;
        throw storageError(cause, `checkpoint ${name} cannot be examined`);
      },
    );
    if (!isFile) return false;
  }
  return true;
};

const writeFileDurably = async (
  path: string,
  parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> => {
  const file = await open(path, 'wx');
  try {
    for await (const part of parts) {
      let at = 0;
      while (at < part.length) at += (await file.write(part, at, part.length - at)).bytesWritten;
    }
    await file.sync();
  } finally {
    await file.close();
  }
};

const onlyOne = (bytes: Uint8Array): Iterable<Uint8Array> => [bytes];

const syncFolder = async (path: string): Promise<void> => {
  // Windows cannot open a folder for reading; its rename is durable by journal.
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};

const checkName = (name: string): void => {
  if (!namePattern.test(name))
    throw new TidemarkError('invalid-option', 'a checkpoint name is malformed');
};

const isMissing = (cause: unknown): boolean => {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  return code === 'ENOENT' || code === 'ENOTDIR';
};

const storageError = (cause: unknown, message: string): TidemarkError =>
  cause instanceof TidemarkError
    ? cause
    : new TidemarkError('storage-unavailable', message, {}, cause);
