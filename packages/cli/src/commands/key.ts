import path from 'node:path';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { writeCursorKeyFile } from '../server/cursor-key-file.js';

const key = async (call: Call): Promise<ExitCode> => {
  const file = path.resolve(call.cli.cwd, call.arg(0));
  await writeCursorKeyFile(file);
  call.output.result({ written: file }, () =>
    [
      `wrote ${file}`,
      'Copy it to every server of the same tenants and name it there: cursorKey, or TIDEMARK_CURSOR_KEY.',
    ].join('\n'),
  );
  return exitCodes.ok;
};

/** Adds `key`. */
export const addKey = (program: Command, cli: Cli): void => {
  program
    .command('key')
    .description(
      'Write a new key of cursors, which all servers of a tenant share: a device may then go on with any of them.',
    )
    .argument('<file>', 'file to write; only its user may read it')
    .action(action(cli, key));
};
