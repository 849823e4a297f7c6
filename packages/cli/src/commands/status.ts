import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { timeText } from '../output.js';
import { checkpointAge } from '../server/checkpoint-age.js';
import type { DeskStatus } from '../server/desk.js';
import { withDesk } from '../server/open-desk.js';

const lines = (status: DeskStatus): readonly string[] => {
  const { checkpoint, counts, failure } = status;
  return [
    `tenant ${status.tenant}: ${status.running ? 'a server is running' : 'no server is running'}`,
    `version ${status.incarnation}:${status.n}, customization ${status.customizationVersion}, last input ${timeText(status.now)}`,
    `${counts['operations'] ?? 0} operations in ${counts['transactions'] ?? 0} transactions`,
    `open sync errors: ${status.openErrors}${status.moreErrors ? ' or more' : ''}`,
    checkpoint === null
      ? 'no checkpoint yet: devices keep their whole logs'
      : `newest checkpoint ${checkpoint.incarnation}:${checkpoint.n}, ${checkpointAge(status, checkpoint)}`,
    failure === null
      ? 'the fold works'
      : `the fold has stopped: ${failure.code}: ${failure.message}`,
    `digest ${status.digest}`,
  ];
};

const status = async (call: Call): Promise<ExitCode> => {
  const found = await withDesk(await call.settings(), { look: true }, (desk) => desk.status());
  call.output.result(found, () => lines(found).join('\n'));
  return found.failure === null ? exitCodes.ok : exitCodes.failed;
};

/** Adds `status`. */
export const addStatus = (program: Command, cli: Cli): void => {
  program
    .command('status')
    .description(
      'Show version, counts, open sync errors, newest checkpoint and health of the server.',
    )
    .action(action(cli, status));
};
