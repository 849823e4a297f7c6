import { copyFile, mkdir, open, readdir, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';
import { writeWhole } from '../state-file.js';
import { isThere } from './paths.js';

const keyFile = 'cursor.key';
const noteFile = 'backup.json';
const copiesMax = 1_000;

/** What a backup says of itself. */
export interface BackupNote {
  readonly format: 1;
  readonly tenant: string;
  readonly checkpoint: string;
  readonly incarnation: number;
  readonly n: number;
  readonly digest: string;
  readonly customizationVersion: number;
  readonly takenOn: string;
}

/** A backup: its folder and what it says of itself. */
export interface FoundBackup {
  readonly backup: string;
  readonly note: BackupNote;
}

/** Makes a file or the names of a folder durable; Windows has no handles of folders. */
const sync = async (place: string, isFolder = false): Promise<void> => {
  if (isFolder && process.platform === 'win32') return;
  const handle = await open(place, isFolder ? 'r' : 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

interface ManifestPart {
  readonly tenant: string;
  readonly incarnation: number;
  readonly n: number;
  readonly digest: string;
  readonly customizationVersion: number;
}

/** Servers with a key of the configuration have none in their folder. */
const copyKey = async (from: string, to: string): Promise<void> => {
  if (!(await isThere(path.join(from, keyFile)))) return;
  await copyFile(path.join(from, keyFile), path.join(to, keyFile));
  await sync(path.join(to, keyFile));
};

/**
 * Copies the newest checkpoint and the key of cursors into a folder of its own below `target`; resolves with
 * that folder and its note. Rejects with `checkpoint-invalid`, `invalid-option` when it is there already.
 */
export const writeBackup = async (options: {
  readonly checkpoints: CheckpointFolder;
  /** Where they lie, in words. */
  readonly place: string;
  readonly folder: string;
  readonly tenant: string;
  readonly target: string;
  readonly takenOn: string;
  /** Further files by name, such as what `tenant export` adds. */
  readonly more?: Readonly<Record<string, string>>;
}): Promise<FoundBackup> => {
  const { openCheckpointFolder } = await import('@tidemark/store-level/node');
  const from = options.checkpoints;
  const name = (await from.list()).at(-1);
  if (name === undefined)
    throw new TidemarkError('checkpoint-invalid', `there is no checkpoint in ${options.place}`);
  const manifest = await from.readManifest(name);
  const part = JSON.parse(Buffer.from(manifest).toString('utf8')) as ManifestPart;
  // Tenants that share a folder of checkpoints by mistake would get each other's records.
  if (part.tenant !== options.tenant)
    throw new TidemarkError(
      'wrong-tenant',
      `the newest checkpoint in ${options.place} is of tenant ${part.tenant}: give each tenant a folder of its own`,
    );
  const backup = path.join(options.target, `backup-${options.takenOn.replaceAll(/[:.]/g, '-')}`);
  if (await isThere(backup))
    throw new TidemarkError(
      'invalid-option',
      `${backup} exists: wait a moment, or name another folder`,
    );
  await mkdir(backup, { recursive: true });
  await openCheckpointFolder(backup).write(name, manifest, from.readChunks(name));
  await copyKey(options.folder, backup);
  for (const [name, text] of Object.entries(options.more ?? {}))
    await writeWhole(path.join(backup, name), text);
  for (const named of [backup, options.target]) await sync(named, true);
  const note: BackupNote = {
    format: 1,
    tenant: part.tenant,
    checkpoint: name,
    incarnation: part.incarnation,
    n: part.n,
    digest: part.digest,
    customizationVersion: part.customizationVersion,
    takenOn: options.takenOn,
  };
  // Written last: a backup without its note is not complete.
  await writeWhole(path.join(backup, noteFile), `${JSON.stringify(note, null, 2)}\n`);
  await sync(backup, true);
  return { backup, note };
};

/** Newest complete backup of a folder: the folder itself, or one below it. Rejects with `checkpoint-invalid`. */
export const findBackup = async (folder: string): Promise<FoundBackup> => {
  const names = (await readdir(folder)).filter((name) => name.startsWith('backup-')).sort();
  const candidates = [folder, ...names.reverse().map((name) => path.join(folder, name))];
  for (const backup of candidates) {
    const file = path.join(backup, noteFile);
    if (!(await isThere(file))) continue;
    const note = JSON.parse(await readFile(file, 'utf8')) as Partial<BackupNote>;
    if (note.format === 1 && typeof note.tenant === 'string' && typeof note.digest === 'string')
      return { backup, note: note as BackupNote };
    throw new TidemarkError('checkpoint-invalid', `${file} is no note of a backup`);
  }
  throw new TidemarkError('checkpoint-invalid', `there is no complete backup in ${folder}`);
};

/**
 * The one checkpoint that the note of a backup names, to be read only: what would be written or removed is
 * left out, so a backup stays as it was taken. Rejects with `checkpoint-invalid` when it is not the one noted.
 */
export const checkpointOf = async ({ backup, note }: FoundBackup): Promise<CheckpointFolder> => {
  const { openCheckpointFolder } = await import('@tidemark/store-level/node');
  const from = openCheckpointFolder(backup);
  const { checkpoint } = note;
  const other = (cause?: unknown): TidemarkError =>
    new TidemarkError(
      'checkpoint-invalid',
      `checkpoint ${checkpoint} of ${backup} is not the one that the backup was taken of`,
      {},
      cause,
    );
  let part: ManifestPart;
  try {
    part = JSON.parse(Buffer.from(await from.readManifest(checkpoint)).toString()) as ManifestPart;
  } catch (cause) {
    throw other(cause);
  }
  const names = ['tenant', 'incarnation', 'n', 'digest'] as const;
  if (names.some((name) => part[name] !== note[name])) throw other();
  return {
    ...from,
    list: () => Promise.resolve([checkpoint]),
    write: async (_name, _manifest, chunks) => {
      // Whoever wants to write has opened a snapshot, which ends with the reading of it.
      const reading = chunks[Symbol.asyncIterator]();
      await reading.next();
      await reading.return?.();
    },
    remove: () => Promise.resolve(),
  };
};

/** Renames a server's folder, so that another one can take its place; resolves with the new name. */
export const setAside = async (folder: string): Promise<string> => {
  for (let k = 1; k <= copiesMax; k += 1) {
    const name = `${folder}.replaced-${k}`;
    if (await isThere(name)) continue;
    await rename(folder, name);
    return name;
  }
  throw new TidemarkError('invalid-option', `there are ${copiesMax} folders beside ${folder}`);
};

/** Begins a server's folder with the key of a backup. */
export const beginFromBackup = async (folder: string, backup: string): Promise<void> => {
  await mkdir(folder, { recursive: true });
  await copyKey(backup, folder);
};
