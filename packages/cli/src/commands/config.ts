import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { cellText, layTable } from '../output.js';

const config = async (call: Call): Promise<ExitCode> => {
  const { settings, file } = await call.loaded();
  const shown = settings.shown();
  call.output.result({ file: file ?? null, settings: shown }, () =>
    [
      file === undefined ? 'no configuration file' : `configuration ${file}`,
      layTable({
        head: ['setting', 'value', 'from', 'variable'],
        rows: shown.map((one) => [one.name, cellText(one.value), one.source ?? '-', one.variable]),
      }),
    ].join('\n'),
  );
  return exitCodes.ok;
};

/** Adds `config`. */
export const addConfig = (program: Command, cli: Cli): void => {
  program
    .command('config')
    .description('Show the settings in force and where each came from; secrets are never shown.')
    .option('--show', 'what it does anyway')
    .action(action(cli, config));
};
