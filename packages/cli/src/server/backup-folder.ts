import { copyFile, mkdir, readdir, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
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

interface ManifestPart {
  readonly tenant: string;
  readonly incarnation: number;
  readonly n: number;
  readonly digest: string;
  readonly customizationVersion: number;
}

/** Servers with a key of the configuration have none in their folder. */
const copyKey = async (from: string, to: string): Promise<void> => {
  if (await isThere(path.join(from, keyFile)))
    await copyFile(path.join(from, keyFile), path.join(to, keyFile));
};

/**
 * Copies the newest checkpoint and the key of cursors into a folder of its own below `target`; resolves with
 * that folder and its note. Rejects with `checkpoint-invalid`, `invalid-option` when it is there already.
 */
export const writeBackup = async (options: {
  readonly checkpoints: string;
  readonly folder: string;
  readonly target: string;
  readonly takenOn: string;
  /** Further files by name, such as what `tenant export` adds. */
  readonly more?: Readonly<Record<string, string>>;
}): Promise<FoundBackup> => {
  const { openCheckpointFolder } = await import('@tidemark/store-level/node');
  const from = openCheckpointFolder(options.checkpoints);
  const name = (await from.list()).at(-1);
  if (name === undefined)
    throw new TidemarkError(
      'checkpoint-invalid',
      `there is no checkpoint in ${options.checkpoints}`,
    );
  const manifest = await from.readManifest(name);
  const part = JSON.parse(Buffer.from(manifest).toString('utf8')) as ManifestPart;
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
