import path from 'node:path';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { withDesk } from '../server/open-desk.js';
import { takeBackup } from '../server/take-backup.js';

const backup = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const target = path.resolve(call.cli.cwd, call.arg(0));
  const { backup: folder, note } = await withDesk(settings, {}, (desk) =>
    takeBackup(settings, desk, target),
  );
  call.output.result({ backup: folder, ...note }, () =>
    [
      `${folder}: tenant ${note.tenant}, version ${note.incarnation}:${note.n}, digest ${note.digest}`,
      'It holds all records and the key of cursors: keep it where nobody else can read it.',
    ].join('\n'),
  );
  return exitCodes.ok;
};

/** Adds `backup`. */
export const addBackup = (program: Command, cli: Cli): void => {
  program
    .command('backup')
    .description(
      'Write a checkpoint and copy it with the key of cursors into a new folder, also while the server runs.',
    )
    .argument('<folder>', 'folder in which the backup gets a folder of its own')
    .action(action(cli, backup));
};
