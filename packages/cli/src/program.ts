import { Command } from 'commander';
import type { Cli } from './call.js';
import { addBackup } from './commands/backup.js';
import { addConfig } from './commands/config.js';
import { addDev } from './commands/dev.js';
import { addDevice } from './commands/device.js';
import { addDoctor } from './commands/doctor.js';
import { addEnroll } from './commands/enroll.js';
import { addErrors } from './commands/errors.js';
import { addExplain } from './commands/explain.js';
import { addExport } from './commands/export.js';
import { addIdentity } from './commands/identity.js';
import { addImport } from './commands/import.js';
import { addInit } from './commands/init.js';
import { addKey } from './commands/key.js';
import { addLogs } from './commands/logs.js';
import { addPublish } from './commands/publish.js';
import { addRestore } from './commands/restore.js';
import { addRevoke } from './commands/revoke.js';
import { addServe } from './commands/serve.js';
import { addStatus } from './commands/status.js';
import { addTenant } from './commands/tenant.js';
import { addValidate } from './commands/validate.js';
import { settings } from './config/settings.js';
import { exitCodes } from './exit-code.js';

const exitText = `
Exit codes: ${exitCodes.ok} done, ${exitCodes.failed} failed, ${exitCodes.usage} wrong command line, ${exitCodes.partly} done in part, ${exitCodes.lost} serve lost NATS, ${exitCodes.interrupted} interrupted.
Settings come from tidemark.config.json (or .mjs), then TIDEMARK_* variables, then flags; flags win.
Commands that read or change a server ask the one that runs on the folder; when none does, they open the
folder themselves. While another process holds it without answering, they fail with folder-in-use.`;

/** Builds the parser with all commands. */
export const buildProgram = (cli: Cli): Command => {
  const program = new Command('tidemark')
    .description('Set up, serve, fill, look into and repair Tidemark.')
    .option(
      '--json',
      'results as JSON on the standard output, everything else on the standard error',
    )
    .option('--config <file>', 'configuration in place of tidemark.config.json of this folder');
  for (const setting of settings)
    if ('flag' in setting) {
      const fallback = 'fallback' in setting ? ` (${setting.fallback} when not set)` : '';
      program.option(setting.flag, `${setting.meaning}${fallback}`);
    }
  program
    .addHelpText('after', exitText)
    .helpCommand('help [command]', 'help of a command')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => cli.output.help(text),
      writeErr: () => undefined,
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  for (const add of [
    addInit,
    addValidate,
    addConfig,
    addKey,
    addServe,
    addDev,
    addTenant,
    addPublish,
    addImport,
    addExport,
    addDevice,
    addErrors,
    addExplain,
    addStatus,
    addLogs,
    addIdentity,
    addEnroll,
    addRevoke,
    addBackup,
    addRestore,
    addDoctor,
  ])
    add(program, cli);
  const settle = (command: Command): void => {
    // Subcommands take these over only when they are made by the parent.
    command.exitOverride().copyInheritedSettings(program);
    command.commands.forEach(settle);
  };
  program.commands.forEach(settle);
  return program;
};
