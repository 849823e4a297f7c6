import { rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import type { Settings } from '../config/settings.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import {
  beginFromBackup,
  checkpointOf,
  findBackup,
  setAside,
  type FoundBackup,
} from '../server/backup-folder.js';
import { connectDesk } from '../server/control-client.js';
import { holdStore } from '../server/input-place.js';
import { holdsServer, openFolder } from '../server/open-folder.js';
import { isThere } from '../server/paths.js';

const checkTarget = async (call: Call, folder: string): Promise<void> => {
  if ((await connectDesk(folder)) !== undefined)
    throw new TidemarkError('folder-in-use', `a server is running on ${folder}: stop it first`);
  if ((await holdsServer(folder)) && !call.isOn('replace'))
    throw new TidemarkError(
      'invalid-option',
      `${folder} holds a server: --replace renames it and restores in its place`,
    );
};

/** Opens the server of the backup in a folder beside the final one, which is touched only after that. */
const restoreInto = async (
  settings: Settings,
  draft: string,
  found: FoundBackup,
  checkpoints: CheckpointFolder,
): Promise<{ readonly incarnation: number; readonly n: number; readonly digest: string }> => {
  const { backup, note } = found;
  await rm(draft, { recursive: true, force: true });
  await beginFromBackup(draft, backup);
  let loaded = false;
  const server = await openFolder(settings, {
    folder: draft,
    checkpoints,
    onEvent: (event) => {
      if (event.type === 'checkpoint-loaded') loaded = event.checkpoint === note.checkpoint;
    },
  });
  try {
    await server.settle();
    if (!loaded)
      throw new TidemarkError(
        'checkpoint-invalid',
        `checkpoint ${note.checkpoint} of ${backup} cannot be used`,
      );
    const { incarnation, n, digest } = server.status().state;
    return { incarnation, n, digest };
  } finally {
    await server.close();
  }
};

const restore = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const given = path.resolve(call.cli.cwd, call.arg(0));
  const folder = settings.needed('folder');
  await stat(given);
  const found = await findBackup(given);
  const { backup, note } = found;
  if (note.tenant !== settings.needed('tenant'))
    throw new TidemarkError('wrong-tenant', `the backup is of tenant ${note.tenant}`);
  await checkTarget(call, folder);
  const draft = `${folder}.restoring`;
  const checkpoints = await checkpointOf(found);
  // An import without a server answers nobody: only the lock of the store tells of it.
  const release = await holdStore(folder);
  let state;
  try {
    state = await restoreInto(settings, draft, found, checkpoints);
  } catch (cause) {
    await rm(draft, { recursive: true, force: true });
    throw cause;
  } finally {
    await release();
  }
  const replaced = (await isThere(folder)) ? await setAside(folder) : null;
  await rename(draft, folder);
  const done = {
    folder,
    backup,
    replaced,
    ...state,
    newIncarnation: state.incarnation !== note.incarnation,
  };
  call.output.result(done, () =>
    [
      `${folder} is at version ${done.incarnation}:${done.n}; the backup was of ${note.incarnation}:${note.n}`,
      ...(replaced === null ? [] : [`what was there is now ${replaced}`]),
      'Devices that had seen more offer it again with their next run; nothing they still hold is lost.',
    ].join('\n'),
  );
  return exitCodes.ok;
};

/** Adds `restore`. */
export const addRestore = (program: Command, cli: Cli): void => {
  program
    .command('restore')
    .description(
      'Restore the server from a backup. Input that NATS still holds is folded on top; without, the server ' +
        'goes on under a new incarnation, and devices offer again what they hold. Stop the server first.',
    )
    .argument('<folder>', 'backup, or a folder of backups, of which the newest is taken')
    .option('--replace', 'rename the server that is in the folder and restore in its place')
    .action(action(cli, restore));
};
